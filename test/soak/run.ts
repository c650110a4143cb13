/**
 * `npm run soak`: what an operator fears, on the real mesh under real drivers. Prints one table and a JSON summary; ends with 1 where a request failed because
 * of it, or something was lost or done twice. It takes some GB.
 *
 *     npm run soak -- --rotate [--minutes 22] [--increments 1000000] [--quick]     certificates of a minute, issuing keys, roots
 *     npm run soak -- --renewals [--minutes 10] [--increments …]                   certificates of half a minute, and nothing else
 *     npm run soak -- --drains [--rounds 3]                                        gateways and sidecars that stop, certificates that end
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reportFailure } from '../../demo/options.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import { ownProgram } from '../e2e/drivers/own-program.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import * as drain from './drains.ts'
import { type SoakOptions, soak } from './soak.ts'
import type { LoadOptions } from './stage.ts'
import { tableOf } from './summary.ts'

const say = (line: string): boolean => process.stdout.write(`${line}\n`)

/** A root takes four minutes, and the next one begins when that is over. */
const rootFirst = 0.5
const rootEvery = 5.5
const rootTakes = 4.5
const sources = { folder: join(import.meta.dirname, 'applications'), javaClass: 'None' }
/** Where they are not what is counted. */
const usualPerSecond = 200
const fewClients = 6

interface Outcome {
  readonly table: string
  readonly said: Readonly<Record<string, number>>
  readonly faults: readonly string[]
  readonly summary: unknown
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rotate: { type: 'boolean' },
      renewals: { type: 'boolean' },
      drains: { type: 'boolean' },
      minutes: { type: 'string' },
      increments: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean' },
    },
  })
  const { rotate, renewals, drains } = values
  if ([rotate, renewals, drains].filter((one) => one === true).length !== 1)
    throw new RingfenceError('USAGE', 'what is to be soaked: one of --rotate, --renewals, --drains')
  const quick = values.quick === true
  const builds = mkdtempSync(join(tmpdir(), 'ringfence-soak-programs-'))
  try {
    const programs = { node: await programOf('node', builds), python: await programOf('python', builds) }
    const few = { clients: fewClients, incrementsPerSecond: usualPerSecond, programs, say }
    const { table, said, faults, summary } =
      drains === true
        ? await drainsOutcome(few, numberOf('rounds', values.rounds ?? (quick ? '1' : '3'), 1, 50))
        : await soakOutcome(timesOf(rotate === true, quick, values), programs)
    for (const [text, count] of Object.entries(said)) say(`${count} times ${text}`)
    say(`\n${table}`)
    for (const fault of faults) say(`× ${fault}`)
    say(faults.length === 0 ? 'all is as it should be' : `${faults.length} are not as they should be`)
    say(JSON.stringify(summary))
    return faults.length === 0 ? 0 : 1
  } finally {
    rmSync(builds, { recursive: true, force: true })
  }
}

type Times = Pick<SoakOptions, 'minutes' | 'lives' | 'roots' | 'issuing' | 'clients' | 'incrementsPerSecond'>

/** The next issuing key signs after 5/6 of its life, counted from a minute before it was made: five minutes of six. */
function timesOf(rotate: boolean, quick: boolean, values: { minutes?: string; increments?: string }): Times {
  const usual = rotate ? 22 : 10
  const minutes = numberOf('minutes', values.minutes ?? String(quick ? 3 : usual), 1, 600)
  const increments = numberOf('increments', values.increments ?? String(Math.round((minutes / 22) * 1e6)), 1_000, 1e9)
  const common = { minutes, clients: quick ? fewClients : 14, incrementsPerSecond: increments / (minutes * 60) }
  if (!rotate) return { ...common, lives: { svidTtl: '30s' }, roots: [], issuing: [] }
  const lives = { svidTtl: '60s', issuingTtl: '6m' }
  if (quick) return { ...common, lives, roots: [0.1], issuing: [1.5] }
  const roots: number[] = []
  for (let at = rootFirst; at + rootTakes <= minutes; at += rootEvery) roots.push(at)
  return { ...common, lives, roots, issuing: [] }
}

async function soakOutcome(times: Times, programs: LoadOptions['programs']): Promise<Outcome> {
  const summary = await soak({ ...times, programs, say })
  return { table: tableOf(summary), said: summary.said, faults: summary.faults, summary }
}

async function drainsOutcome(few: LoadOptions, rounds: number): Promise<Outcome> {
  const rows = await drain.drains({ ...few, rounds, endsMs: 60_000 * Math.min(rounds, 10) })
  const faults = drain.faultsOf(rows)
  return { table: drain.tableOf(rows), said: {}, faults, summary: { rows, faults } }
}

function numberOf(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!(value >= min && value <= max)) throw new RingfenceError('USAGE', `--${name} is a number from ${min} to ${max}`)
  return value
}

async function programOf(driver: 'node' | 'python', dir: string): Promise<Program> {
  const made = await ownProgram(driver, sources, dir)
  if ('absent' in made) throw new RingfenceError('UNAVAILABLE', made.absent)
  return made.program
}

// What was started goes with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
process.exit(await main().catch(reportFailure))
