/**
 * One revocation on the real mesh: at each door one who is meant and one who stands nearest to him ask all the while. It is timed when the last request was
 * sent that was still served, and when the connection was closed, from the moment in which the command asked the control plane.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AdminClient } from '../../src/cli/admin-client.ts'
import { Asking } from './asking.ts'
import type { Door, Kind, Pair } from './kinds.ts'

/** What must hold: no request that was sent later is served, no connection is open later. */
export const servedMsMax = 1_000
export const closedMsMax = 2_000
const watchedMsMax = 10_000
const restoredMsMax = 10_000
const asksMsMin = 300

export interface Sample {
  readonly kind: string
  readonly door: string
  /** When the last request that was served was sent; 0 where none was after the command. */
  readonly servedMs: number
  readonly refusedMs: number | undefined
  readonly closedMs: number | undefined
  readonly restoredMs: number | undefined
  readonly neighbourAnswered: number
  readonly faults: readonly string[]
}

export interface RoundOptions {
  readonly admin: AdminClient
  readonly doors: readonly Door[]
  /** Right after the command has returned. */
  readonly afterwards?: () => Promise<void>
  /** Before it is taken back. */
  readonly beforeRestore?: () => Promise<void>
}

export async function drillOnce(kind: Kind, round: number, options: RoundOptions): Promise<Sample[]> {
  const { admin, doors } = options
  const pair = await kind.pair(round)
  const all = await Promise.all(
    doors.map(async (door) => ({
      door,
      meant: await Asking.begin(await pair.meant(door)),
      neighbour: await Asking.begin(await pair.neighbour(door)),
    })),
  )
  await sleep(asksMsMin)
  const before = all.map(({ neighbour }) => neighbour.answered)
  const askedMs = performance.now()
  const { revocation } = await admin.revoke({ ...pair.order, reason: 'drill' })
  await options.afterwards?.()
  await until(watchedMsMax, () => all.every(({ meant }) => meant.isClosed))
  const cameAgain = await Promise.all(doors.map((door) => comesIn(pair, door)))
  const neighbours = all.map(({ neighbour }, i) => ({ answered: neighbour.answered - before[i]!, neighbour }))
  await until(watchedMsMax, () => all.every(({ neighbour }, i) => neighbour.answered > before[i]!))
  const faults = all.map(({ meant, neighbour }, i) => [
    ...(cameAgain[i] ? ['it came in again'] : []),
    ...(neighbour.isClosed ? ['the neighbour was cut off'] : []),
    ...neighbour.faults.map((said) => `the neighbour was told: ${said}`),
    ...meant.faults.map((said) => `it was told: ${said}`),
  ])
  await options.beforeRestore?.()
  await Promise.all(all.flatMap(({ meant, neighbour }) => [meant.stop(), neighbour.stop()]))
  await admin.restore({ id: revocation.id })
  const restoredMs = await Promise.all(doors.map((door) => letInAfter(pair, door)))
  return all.map(({ door, meant }, i) => ({
    kind: kind.name,
    door: door.name,
    servedMs: Math.max(0, meant.lastServedMs - askedMs),
    refusedMs: since(askedMs, meant.firstRefusedMs ?? meant.closedMs),
    closedMs: since(askedMs, meant.closedMs),
    restoredMs: restoredMs[i],
    neighbourAnswered: neighbours[i]!.answered,
    faults: faults[i]!,
  }))
}

export async function comesIn({ meant }: Pick<Pair, 'meant'>, door: Door): Promise<boolean> {
  try {
    const asking = await Asking.begin(await meant(door))
    await asking.stop()
    return true
  } catch {
    return false
  }
}

async function letInAfter(pair: Pair, door: Door): Promise<number | undefined> {
  const beganMs = performance.now()
  while (performance.now() - beganMs < restoredMsMax) {
    if (await comesIn(pair, door)) return performance.now() - beganMs
    await sleep(20)
  }
  return undefined
}

export async function until(msMax: number, holds: () => boolean): Promise<void> {
  const untilMs = performance.now() + msMax
  while (!holds() && performance.now() < untilMs) await sleep(5)
}

function since(beganMs: number, atMs: number | undefined): number | undefined {
  return atMs === undefined ? undefined : atMs - beganMs
}

/** What is not as it should be, a sentence each. */
export function faultsOf({ kind, door, servedMs, closedMs, restoredMs, neighbourAnswered, faults }: Sample): string[] {
  const found = [...faults]
  if (servedMs > servedMsMax) found.push(`a request that was sent after ${seconds(servedMs)} was served`)
  if (closedMs === undefined || closedMs > closedMsMax) found.push(`closed after ${seconds(closedMs)}`)
  if (restoredMs === undefined) found.push('not let in again')
  if (neighbourAnswered === 0) found.push('the neighbour had no answer')
  return found.map((fault) => `${kind}, ${door}: ${fault}`)
}

export function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(ms / 1_000).toFixed(3)} s`
}
