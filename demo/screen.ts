/** The table while it lives: redrawn in place each second on a terminal, printed every five seconds elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Mesh } from './parts/mesh.ts'
import { trafficTable } from './table.ts'

const windowSeconds = 10

/** Shows traffic until the signal is aborted. */
export async function showTraffic(mesh: Mesh, signal: AbortSignal, json: boolean): Promise<void> {
  const out = process.stdout
  const live = out.isTTY && !json
  const color = live && process.env.NO_COLOR === undefined
  let drawn = 0
  while (!signal.aborted) {
    const [traffic, status] = await Promise.all([
      mesh.admin.traffic(windowSeconds).catch(() => undefined),
      mesh.admin.status().catch(() => undefined),
    ])
    const down = [...mesh.parts.values()].filter(({ running }) => !running).map(({ name }) => name)
    if (json) console.log(JSON.stringify({ kind: 'traffic', lines: traffic?.lines ?? [], down }))
    else {
      const lines = [
        `Who is talking to Cassandra, last ${windowSeconds} s · policy revision ${status?.policyRevision ?? '?'} · ${new Date().toTimeString().slice(0, 8)} · Ctrl-C stops everything`,
        ...trafficTable(traffic?.lines ?? [], {
          color,
          widthMax: live ? out.columns : 200,
          linesMax: live ? Math.max(3, out.rows - 5) : 40,
        }),
        ...(traffic === undefined ? ['(the control plane does not answer; traffic goes on without it)'] : []),
        ...(down.length === 0 ? [] : [`not running: ${down.join(', ')}`]),
      ]
      if (live) {
        out.write(
          `${drawn > 0 ? `\x1b[${drawn}A` : ''}\r\x1b[J${lines.map((line) => line.slice(0, out.columns + 16)).join('\n')}\n`,
        )
        drawn = lines.length
      } else out.write(`${lines.join('\n')}\n\n`)
    }
    await sleep(live ? 1000 : 5000, undefined, { signal }).catch(() => {})
  }
}
