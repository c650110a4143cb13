/**
 * `npm run drill`: everybody whom one can revoke is revoked on the real mesh, with three sidecars and two gateways, and timed. Prints one table and a JSON
 * summary; ends with 1 where somebody was served a second after the command, was open two seconds after it, or a neighbour noticed. Takes 5 GB.
 *
 *     npm run drill -- [--rounds 7] [--quick]
 */
import { parseArgs } from 'node:util'
import { reportFailure } from '../../demo/options.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import { faultsOf, type Sample, seconds } from './drill.ts'
import { drillOnMesh } from './on-mesh.ts'

const say = (line: string): boolean => process.stdout.write(`${line}\n`)

interface Row {
  readonly samples: number
  readonly servedMs: readonly [p50: number, p99: number, max: number]
  readonly closedMs: readonly [p50: number, p99: number, max: number]
  readonly restoredMsMax: number
  readonly neighbourAnswered: number
}

function rowOf(samples: readonly Sample[]): Row {
  const of = (values: readonly number[]): [number, number, number] => {
    const sorted = values.toSorted((a, b) => a - b)
    const at = (share: number): number => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN)
    return [at(0.5), at(0.99), at(1)]
  }
  return {
    samples: samples.length,
    servedMs: of(samples.map(({ servedMs }) => servedMs)),
    closedMs: of(samples.map(({ closedMs = Number.POSITIVE_INFINITY }) => closedMs)),
    restoredMsMax: of(samples.map(({ restoredMs = Number.POSITIVE_INFINITY }) => restoredMs))[2],
    neighbourAnswered: samples.reduce((sum, { neighbourAnswered }) => sum + neighbourAnswered, 0),
  }
}

function tableOf(rows: ReadonlyMap<string, Row>): string {
  const three = (values: readonly number[]): string => values.map(seconds).join(' / ')
  return [
    '| revoked | samples | served until: p50 / p99 / most | closed: p50 / p99 / most | let in again, most | neighbours answered |',
    '|---|---|---|---|---|---|',
    ...[...rows].map(
      ([kind, row]) =>
        `| ${kind} | ${row.samples} | ${three(row.servedMs)} | ${three(row.closedMs)} | ${seconds(row.restoredMsMax)} | ${row.neighbourAnswered} |`,
    ),
  ].join('\n')
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { rounds: { type: 'string' }, quick: { type: 'boolean' } } })
  const rounds = Number(values.rounds ?? (values.quick === true ? 1 : 7))
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100))
    throw new RingfenceError('USAGE', '--rounds is a whole number from 1 to 100')
  const samples = await drillOnMesh(rounds, say)
  const kinds = Map.groupBy(samples, ({ kind }) => kind)
  const rows = new Map([...kinds].map(([kind, some]) => [kind, rowOf(some)] as const))
  rows.set('all', rowOf(samples))
  say(`\n${tableOf(rows)}`)
  const faults = samples.flatMap(faultsOf)
  for (const fault of faults) say(`× ${fault}`)
  say(faults.length === 0 ? 'all is as it should be' : `${faults.length} are not as they should be`)
  say(JSON.stringify({ rounds, rows: Object.fromEntries(rows), faults }))
  return faults.length === 0 ? 0 : 1
}

// What was started goes with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
process.exit(await main().catch(reportFailure))
