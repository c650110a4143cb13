/**
 * Cores of their own: the first half to the ends (load maker, stub or Cassandra), the second to the hops between them. So the ends never
 * take the time of what is measured, every system and the direct path leave the ends the same, and figures of two runs are alike.
 */
import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { RingfenceError } from '../src/base/errors.ts'
import { familyOf } from './processes.ts'

/** Lists of cores as `taskset` reads them. */
export interface Cores {
  readonly ends: string
  readonly hops: string
}

/** @throws RingfenceError USAGE where there is only one core */
export function halves(cores: number = availableParallelism()): Cores {
  if (cores < 2) throw new RingfenceError('USAGE', 'one core cannot be divided: --shared-cores measures without')
  const half = endsOf(cores)
  return { ends: listOf(0, half), hops: listOf(half, cores) }
}

/** How many cores the ends have: the first half, or all that are shared. */
export function coresOfEnds(shared: boolean, cores: number = availableParallelism()): number {
  return shared ? cores : endsOf(cores)
}

const endsOf = (cores: number): number => cores >> 1

export function wordsFor(cores: Cores | undefined): string {
  return cores === undefined ? 'all on all cores' : `ends on core ${cores.ends}, hops on core ${cores.hops}`
}

const listOf = (from: number, end: number): string => (end - from === 1 ? String(from) : `${from}-${end - 1}`)

/**
 * Moves this process and all that it has started, with the threads and processes that these will start: to the hops' cores what belongs
 * to `hops`, to the ends' everything else.
 *
 * @throws RingfenceError UNAVAILABLE where there is no `taskset`, or the system does not let it
 */
export function divide(hops: readonly number[], cores: Cores): void {
  const between = new Set(familyOf(hops))
  for (const pid of familyOf([process.pid])) moveTo(between.has(pid) ? cores.hops : cores.ends, pid)
}

/** This process, and what it starts from now on, on all of them again. */
export function rejoin({ ends, hops }: Cores): void {
  moveTo(`${ends},${hops}`, process.pid)
}

function moveTo(list: string, pid: number): void {
  const { status, error, stderr } = spawnSync('taskset', ['-a', '-c', '-p', list, String(pid)], { encoding: 'utf8' })
  if (status === 0) return
  const why = error?.message ?? stderr.trim()
  throw new RingfenceError(
    'UNAVAILABLE',
    `cannot give process ${pid} core ${list} (${why}); --shared-cores measures without`,
  )
}
