/** Flags that the demonstration and the test cluster share. */
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { RingfenceError } from '../src/base/errors.ts'
import { exitCodeOf } from '../src/cli/output.ts'
import { existingNodes } from './parts/lock.ts'
import { defaultStateDir } from './parts/setup.ts'

/** What a node needs beside its heap of 700 MB, and what everything else together needs; measured. */
const nodeMb = 1_300
const restMb = 1_200

export const sharedFlags = {
  nodes: { type: 'string' },
  'state-dir': { type: 'string' },
  'port-offset': { type: 'string' },
  'jvm-flags': { type: 'string' },
  reset: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Parses flags and ends the process for `--help`. Throws USAGE. */
export function readFlags<T extends NonNullable<Parameters<typeof parseArgs>[0]>['options']>(
  options: T,
  usage: string,
) {
  try {
    const { values } = parseArgs({ options: options ?? {}, strict: true, allowPositionals: false })
    if ((values as { help?: boolean }).help === true) {
      console.log(usage)
      process.exit(0)
    }
    return values as ReturnType<typeof parseArgs<{ options: T & object; strict: true }>>['values']
  } catch (cause) {
    throw new RingfenceError('USAGE', cause instanceof Error ? cause.message.toLowerCase() : String(cause), {
      hint: usage,
    })
  }
}

export function stateDirOf(flag: string | undefined, name = ''): string {
  return flag === undefined ? resolve(defaultStateDir, name) : resolve(process.env.INIT_CWD ?? process.cwd(), flag)
}

export function wholeNumber(
  flag: string,
  text: string | undefined,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = text === undefined ? fallback : Number(text)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new RingfenceError('USAGE', `--${flag} is a whole number from ${min} to ${max}`)
}

/** As many nodes as asked for, as there are already, or as fit into memory; `note` says why there are fewer than three. */
export function chooseNodes(
  asked: string | undefined,
  cassandraDir: string,
  reset: boolean,
): { nodes: number; note: string | undefined } {
  if (asked !== undefined) return { nodes: wholeNumber('nodes', asked, 3, 1, 9), note: undefined }
  const existing = reset ? undefined : existingNodes(cassandraDir)
  const availableMb = Math.floor(process.availableMemory() / 1024 / 1024)
  const fitting = Math.max(1, Math.min(3, Math.floor((availableMb - restMb) / nodeMb)))
  const nodes = existing ?? fitting
  if (nodes >= 3) return { nodes, note: undefined }
  const why = existing === undefined ? `memory is short (${availableMb} MB are free)` : 'there is data of as many'
  return {
    nodes,
    note: `${nodes} Cassandra ${nodes === 1 ? 'node' : 'nodes'} instead of 3, for ${why}; --nodes 3 insists`,
  }
}

export function cores(): number {
  return availableParallelism()
}

/** `90s`, `5m`, `1h` or a bare number of seconds; milliseconds. Throws USAGE. */
export function durationMs(text: string): number {
  const [, count, unit = 's'] = /^(\d+)(ms|s|m|h)?$/.exec(text) ?? []
  if (count === undefined) throw new RingfenceError('USAGE', `not a duration: ${text}`, { hint: 'such as 60s or 5m' })
  const factors = new Map([
    ['ms', 1],
    ['s', 1000],
    ['m', 60_000],
    ['h', 3_600_000],
  ])
  return Number(count) * factors.get(unit)!
}

/** Aborted by the first signal that asks us to stop; later ones change nothing, for stopping is under way. */
export function stopOnSignal(): AbortController {
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())
  return stopping
}

/** Resolves when it is aborted, or after the time. */
export async function untilStopped(stopping: AbortController, duration: number | undefined): Promise<void> {
  const { signal } = stopping
  if (signal.aborted) return
  const timer = duration === undefined ? undefined : setTimeout(() => stopping.abort(), duration)
  await once(signal, 'abort')
  clearTimeout(timer)
}

/** Prints an expected failure as people like it, and gives the exit code; anything else is our own fault and is thrown. */
export function reportFailure(reason: unknown): number {
  if (!(reason instanceof RingfenceError)) throw reason
  console.error(`× ${reason.message}${reason.hint === undefined ? '' : `\n  ${reason.hint}`}`)
  return exitCodeOf(reason)
}
