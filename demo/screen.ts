/** The table while it lives: redrawn in place each second on a terminal, printed every five seconds elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Screen } from '../src/cli/screen.ts'
import { trafficTable } from '../src/cli/traffic-table.ts'
import type { TrafficLine } from '../src/control/traffic.ts'
import type { Mesh } from './parts/mesh.ts'
import { type Failures, failuresText, readFailures } from './workloads/failures.ts'

const windowSeconds = 10
/** Beside the lines of traffic: title, heading, how many are left out, and two lines of what is wrong. */
const otherLines = 5

/** What is shown at one moment. */
export interface Picture {
  /** Undefined where the control plane does not answer. */
  readonly lines: readonly TrafficLine[] | undefined
  readonly policyRevision: number | undefined
  readonly down: readonly string[]
  readonly failures: readonly Failures[]
  readonly at: Date
}

/** Shows traffic until the signal is aborted. */
export async function showTraffic(mesh: Mesh, signal: AbortSignal, json: boolean): Promise<void> {
  const out = process.stdout
  const live = out.isTTY && !json
  const color = live && process.env.NO_COLOR === undefined
  const screen = new Screen(out)
  while (!signal.aborted) {
    const [traffic, status] = await Promise.all([
      mesh.admin.traffic(windowSeconds).catch(() => undefined),
      mesh.admin.status().catch(() => undefined),
    ])
    const down = [...mesh.parts.values()].filter(({ running }) => !running).map(({ name }) => name)
    const failures = readFailures(mesh.layout.dirs.workloads)
    if (json) console.log(JSON.stringify({ kind: 'traffic', lines: traffic?.lines ?? [], down, failures }))
    else {
      const { lines } = traffic ?? {}
      const picture = { lines, policyRevision: status?.policyRevision, down, failures, at: new Date() }
      if (live) screen.draw(drawn(picture, screen.columns, screen.linesMax, color))
      else out.write(`${drawn(picture, 200, 40 + otherLines, color).join('\n')}\n\n`)
    }
    await sleep(live ? 1000 : 5000, undefined, { signal }).catch(() => {})
  }
}

/** Lines of traffic give way where there is no room for all; what is wrong does not. */
export function drawn(picture: Picture, columns: number, linesMax: number, color: boolean): string[] {
  const { lines, policyRevision = '?', down, failures, at } = picture
  return [
    `Who talks to Cassandra, last ${windowSeconds} s · policy revision ${policyRevision} · ${at.toTimeString().slice(0, 8)} · Ctrl-C stops`,
    ...trafficTable(lines ?? [], { color, widthMax: columns, linesMax: Math.max(3, linesMax - otherLines) }),
    ...(lines === undefined ? ['(the control plane does not answer; traffic goes on without it)'] : []),
    ...(down.length === 0 ? [] : [`not running: ${down.join(', ')}`]),
    failuresText(failures),
  ]
}
