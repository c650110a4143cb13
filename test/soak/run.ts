/**
 * `npm run soak -- --rotate`: certificates of a minute, issuing keys of five, and roots that take turns, under real drivers on the real mesh. Prints one
 * table and a JSON summary; ends with 1 where a request failed because of a rotation, or an increment was lost or done twice. It takes some GB.
 *
 *     npm run soak -- --rotate [--minutes 22] [--increments 1000000] [--quick]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reportFailure } from '../../demo/options.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import { ownProgram } from '../e2e/drivers/own-program.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import { soak } from './soak.ts'
import { tableOf } from './summary.ts'

const say = (line: string): boolean => process.stdout.write(`${line}\n`)

/** A root takes four minutes, and the next one begins when that is over. */
const rootFirst = 0.5
const rootEvery = 5.5
const rootTakes = 4.5
const sources = { folder: join(import.meta.dirname, 'applications'), javaClass: 'None' }

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rotate: { type: 'boolean' },
      minutes: { type: 'string' },
      increments: { type: 'string' },
      quick: { type: 'boolean' },
    },
  })
  if (values.rotate !== true) throw new RingfenceError('USAGE', 'what is to be soaked: --rotate')
  const quick = values.quick === true
  const minutes = Number(values.minutes ?? (quick ? 3 : 22))
  if (!(minutes >= 1 && minutes <= 600)) throw new RingfenceError('USAGE', '--minutes is a number from 1 to 600')
  const increments = Number(values.increments ?? Math.round((minutes / 22) * 1_000_000))
  if (!(increments >= 1_000 && increments <= 1e9)) throw new RingfenceError('USAGE', '--increments is 1000 to 1e9')
  const roots: number[] = []
  for (let at = rootFirst; at + rootTakes <= minutes; at += rootEvery) roots.push(at)
  const builds = mkdtempSync(join(tmpdir(), 'ringfence-soak-programs-'))
  try {
    const summary = await soak({
      minutes,
      incrementsPerSecond: increments / (minutes * 60),
      clients: quick ? 6 : 14,
      roots: quick ? [0.1] : roots,
      issuing: quick ? [1.5] : [],
      programs: { node: await programOf('node', builds), python: await programOf('python', builds) },
      say,
    })
    for (const [text, count] of Object.entries(summary.said)) say(`${count} times ${text}`)
    say(`\n${tableOf(summary)}`)
    for (const fault of summary.faults) say(`× ${fault}`)
    say(summary.faults.length === 0 ? 'all is as it should be' : `${summary.faults.length} are not as they should be`)
    say(JSON.stringify(summary))
    return summary.faults.length === 0 ? 0 : 1
  } finally {
    rmSync(builds, { recursive: true, force: true })
  }
}

async function programOf(driver: 'node' | 'python', dir: string): Promise<Program> {
  const made = await ownProgram(driver, sources, dir)
  if ('absent' in made) throw new RingfenceError('UNAVAILABLE', made.absent)
  return made.program
}

// What was started goes with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
process.exit(await main().catch(reportFailure))
