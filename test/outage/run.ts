/**
 * `npm run outage`: a real identity provider is away for ten minutes under the load of real drivers on the real mesh, and its keys rotate. Prints
 * what became of sessions and log-ins, and after how long each driver was back; ends with 1 where one is not as it should be. Takes 5 GB.
 *
 *     npm run outage -- [--minutes 10] [--drivers node,python,java,go] [--nodes 3]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { reportFailure } from '../../demo/options.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import { outageOnMesh } from './mesh.ts'
import { faultsOf, type OutageOutcome, seconds } from './outage.ts'
import { drivers, programOf } from './programs.ts'

const say = (line: string): boolean => process.stdout.write(`${line}\n`)

function shown({ applications, logIns, newKeyKnownMs }: OutageOutcome): void {
  say(`\na new key was known after ${seconds(newKeyKnownMs)}`)
  say(`log-ins while the provider was away: ${logIns.in} in, ${logIns.refused.length} refused`)
  for (const { name, kind, answered, failed, failedInSession, endedEarlyMs, backMs } of applications) {
    const inSession = failedInSession === undefined ? '' : `, ${failedInSession} of them while it was away`
    const early = endedEarlyMs === undefined ? '' : `, last answer ${seconds(endedEarlyMs)} before its end`
    const back = backMs === undefined ? 'not back' : `back after ${seconds(backMs)}`
    say(`${name}, ${kind}: ${answered} answered, ${failed} failed${inSession}${early}, ${back}`)
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      drivers: { type: 'string', default: drivers.join(',') },
      nodes: { type: 'string', default: '3' },
    },
  })
  const [minutes, nodes] = [Number(values.minutes), Number(values.nodes)]
  if (!(minutes > 0 && minutes <= 120)) throw new RingfenceError('USAGE', '--minutes is a number above 0, at most 120')
  if (![1, 2, 3].includes(nodes)) throw new RingfenceError('USAGE', '--nodes is 1, 2 or 3')
  const builds = mkdtempSync(join(tmpdir(), 'ringfence-outage-programs-'))
  try {
    const programs: Record<string, Program> = {}
    for (const name of values.drivers.split(',')) {
      const driver = drivers.find((one) => one === name)
      if (driver === undefined)
        throw new RingfenceError('USAGE', `no driver "${name}"; there are ${drivers.join(', ')}`)
      const program = await programOf(driver, builds)
      if ('absent' in program) say(`${driver} is left out: ${program.absent}`)
      else programs[driver] = program
    }
    const outcome = await outageOnMesh({ nodes, programs, minutes, say })
    shown(outcome)
    const faults = faultsOf(outcome)
    for (const fault of faults) say(`× ${fault}`)
    say(faults.length === 0 ? 'all is as it should be' : `${faults.length} are not as they should be`)
    return faults.length === 0 ? 0 : 1
  } finally {
    rmSync(builds, { recursive: true, force: true })
  }
}

// What was started goes with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
process.exit(await main().catch(reportFailure))
