/**
 * `npm run production`: docs/production.md on three nodes, from open to locked and back, under the load of two drivers. Takes several minutes and
 * 5 GB. `--nodes 1` is quicker, and its failed requests do not count: one node cannot restart without any.
 */
import { parseArgs } from 'node:util'
import { rehearse } from './rehearsal.ts'

const { values } = parseArgs({ options: { nodes: { type: 'string', default: '3' } } })
const nodes = Number(values.nodes)
// What was started goes with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
const began = performance.now()
const say = (line: string): boolean => process.stdout.write(`${line}\n`)
const { steps, restarts, totals, left } = await rehearse({ nodes, say })
const minutes = ((performance.now() - began) / 60_000).toFixed(1)
say(`${steps} blocks, ${restarts} restarts of ${nodes} nodes, ${minutes} minutes`)
for (const { driver, answered, failed, errors } of totals) {
  say(`${driver}: ${answered} requests, ${failed} failed`)
  for (const error of errors) say(`  ${error}`)
}
if (left.length > 0) say(`left running: ${left.join(', ')}`)
process.exit(left.length > 0 || (nodes > 1 && totals.some(({ failed }) => failed > 0)) ? 1 : 0)
