/** The table while it lives: redrawn in place each second on a terminal, printed every five seconds elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Screen } from '../src/cli/screen.ts'
import { trafficTable } from '../src/cli/traffic-table.ts'
import type { Mesh } from './parts/mesh.ts'
import { failuresText, readFailures } from './workloads/failures.ts'

const windowSeconds = 10
/** Beside the lines of traffic: title, heading, how many are left out, and two lines of what is wrong. */
const otherLines = 5

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
      const lines = [
        `Who talks to Cassandra, last ${windowSeconds} s · policy revision ${status?.policyRevision ?? '?'} · ${new Date().toTimeString().slice(0, 8)} · Ctrl-C stops all`,
        ...trafficTable(traffic?.lines ?? [], {
          color,
          widthMax: live ? screen.columns : 200,
          linesMax: live ? Math.max(3, screen.linesMax - otherLines) : 40,
        }),
        ...(traffic === undefined ? ['(the control plane does not answer; traffic goes on without it)'] : []),
        ...(down.length === 0 ? [] : [`not running: ${down.join(', ')}`]),
        failuresText(failures),
      ]
      if (live) screen.draw(lines)
      else out.write(`${lines.join('\n')}\n\n`)
    }
    await sleep(live ? 1000 : 5000, undefined, { signal }).catch(() => {})
  }
}
