/** What a revocation meets beside the ordinary: a control plane that dies, proxies that were away or cut off, and proxies that are thrown out themselves. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Mesh } from '../../demo/parts/mesh.ts'
import { Asking } from './asking.ts'
import { comesIn, type Sample, until } from './drill.ts'
import type { Door, Kind, Pair } from './kinds.ts'
import type { Relay } from './relay.ts'

const backMsMax = 90_000
const watchMs = 3_000
const everyMs = 20

export interface Stage {
  readonly mesh: Mesh
  readonly doors: readonly Door[]
  /** The one through which `doorOf(…)` of the cut-off proxy hears the control plane. */
  readonly relay: Relay
}

function doorOf({ doors }: Stage, name: string): Door {
  return doors.find((door) => door.name === name)!
}

/** They are killed, the revocation is made, they start: whoever is meant tries to come in all the while. */
export async function proxiesAway(stage: Stage, kind: Kind, round: number): Promise<Sample[]> {
  const { mesh } = stage
  const names = ['sidecar-2', 'gateway-2']
  const pair = await kind.pair(round)
  for (const name of names) await mesh.part(name).kill()
  const { revocation } = await mesh.admin.revoke({ ...pair.order, reason: 'drill' })
  const samples = names.map(async (name) => {
    const door = doorOf(stage, name)
    const starting = { over: false }
    const tries = tryUntil(pair, door, () => starting.over)
    await mesh.part(name).start()
    const neighbour = await begun(pair, door)
    // It serves: whoever is meant goes on to try for a while.
    await sleep(watchMs)
    starting.over = true
    const letIn = await tries
    const sample = sampleOf('a proxy that was away', door, neighbour)
    await neighbour.stop()
    return { ...sample, faults: [...sample.faults, ...(letIn > 0 ? [`it was let in ${letIn} times`] : [])] }
  })
  const done = await Promise.all(samples)
  await mesh.admin.restore({ id: revocation.id })
  return done
}

/** The neighbour, as soon as a proxy that was started a moment ago serves anybody. */
async function begun({ neighbour }: Pair, door: Door): Promise<Asking> {
  const untilMs = performance.now() + backMsMax
  for (;;) {
    try {
      return await Asking.begin(await neighbour(door))
    } catch (reason) {
      if (performance.now() > untilMs) throw reason
    }
    await sleep(100)
  }
}

async function tryUntil(pair: Pair, door: Door, isOver: () => boolean): Promise<number> {
  let letIn = 0
  while (!isOver()) {
    if (await comesIn(pair, door)) letIn++
    await sleep(everyMs)
  }
  return letIn
}

/** It runs on without the control plane, and is timed from the moment on in which it can hear it again. */
export async function proxyCutOff(stage: Stage, kind: Kind, round: number): Promise<Sample[]> {
  const { mesh, relay } = stage
  const door = doorOf(stage, 'sidecar-2')
  const pair = await kind.pair(round)
  const [meant, neighbour] = [
    await Asking.begin(await pair.meant(door)),
    await Asking.begin(await pair.neighbour(door)),
  ]
  relay.cut()
  await sleep(everyMs)
  const { revocation } = await mesh.admin.revoke({ ...pair.order, reason: 'drill' })
  await sleep(watchMs)
  const wasServed = !meant.isClosed
  relay.heal()
  const healedMs = performance.now()
  await until(backMsMax, () => meant.isClosed)
  const cameAgain = await comesIn(pair, door)
  const sample = sampleOf('a proxy that was cut off', door, neighbour)
  await Promise.all([meant.stop(), neighbour.stop()])
  await mesh.admin.restore({ id: revocation.id })
  return [
    {
      ...sample,
      servedMs: Math.max(0, meant.lastServedMs - healedMs),
      refusedMs: (meant.firstRefusedMs ?? meant.closedMs ?? Number.NaN) - healedMs,
      closedMs: meant.closedMs === undefined ? undefined : meant.closedMs - healedMs,
      faults: [
        ...sample.faults,
        ...(wasServed ? [] : ['it was not served while the proxy was cut off']),
        ...(cameAgain ? ['it came in again'] : []),
      ],
    },
  ]
}

/** By its name: its clients are refused, others' are not, and it serves again when it is taken back. */
export async function gatewayThrownOut(stage: Stage, kind: Kind, round: number): Promise<Sample[]> {
  const { mesh, doors } = stage
  const door = doorOf(stage, 'gateway-2')
  const pair = await kind.pair(round)
  const meant = await Asking.begin(await pair.meant(door))
  const others = doors.filter((one) => one !== door)
  const neighbours = await Promise.all(others.map(async (one) => Asking.begin(await pair.neighbour(one))))
  await sleep(watchMs / 10)
  const askedMs = performance.now()
  const { revocation } = await mesh.admin.revoke({ kind: 'proxy', value: 'gateway2', reason: 'drill' })
  await until(watchMs, () => meant.isClosed)
  const cameAgain = await comesIn(pair, door)
  const answered = neighbours.map((one) => one.answered)
  await until(watchMs, () => neighbours.every((one, i) => one.answered > answered[i]!))
  const faults = neighbours.flatMap((one, i) => [
    ...(one.isClosed ? [`the neighbour at ${others[i]!.name} was cut off`] : []),
    ...one.faults.map((said) => `the neighbour at ${others[i]!.name} was told: ${said}`),
  ])
  await Promise.all([meant, ...neighbours].map((one) => one.stop()))
  await mesh.admin.restore({ id: revocation.id })
  const restoredMs = await backAfter(() => comesIn(pair, door))
  return [
    {
      kind: 'a gateway',
      door: door.name,
      servedMs: Math.max(0, meant.lastServedMs - askedMs),
      refusedMs: (meant.firstRefusedMs ?? meant.closedMs ?? Number.NaN) - askedMs,
      closedMs: meant.closedMs === undefined ? undefined : meant.closedMs - askedMs,
      restoredMs,
      neighbourAnswered: neighbours.reduce((sum, one) => sum + one.answered, 0),
      faults: [...faults, ...(cameAgain ? ['it came in again'] : [])],
    },
  ]
}

/**
 * By its name: no gateway asks it any more, by the gateways' own logs. A client at a gateway may have to come again where its request was under way there
 * (docs/breach.md); one at another sidecar may not.
 */
export async function sidecarThrownOut(stage: Stage, kind: Kind, round: number): Promise<Sample[]> {
  const { mesh, doors } = stage
  const pair = await kind.pair(round)
  const others = doors.filter((one) => one.name !== 'sidecar-3')
  const neighbours = await Promise.all(others.map(async (one) => Asking.begin(await pair.neighbour(one))))
  await sleep(watchMs / 10)
  const usual = await linksOf(mesh)
  const askedAtMs = Date.now()
  const { revocation } = await mesh.admin.revoke({ kind: 'proxy', value: 'node3', reason: 'drill' })
  await sleep(watchMs)
  const lost = ['gateway', 'gateway-2'].map((name) => linkLostAt(mesh, name, 'node3', askedAtMs))
  const isBack = await Promise.all(others.map((door) => comesIn({ meant: pair.neighbour }, door)))
  const faults = others.flatMap(({ name }, i) => [
    ...(neighbours[i]!.isClosed && name.startsWith('sidecar') ? [`the neighbour at ${name} was cut off`] : []),
    ...(isBack[i] ? [] : [`the neighbour at ${name} does not come in`]),
  ])
  await Promise.all(neighbours.map((one) => one.stop()))
  await mesh.admin.restore({ id: revocation.id })
  const restoredMs = await backAfter(async () => (await linksOf(mesh)) >= usual)
  return lost.map((atMs, i) => ({
    kind: 'a sidecar',
    door: i === 0 ? 'NGINX' : 'gateway-2',
    servedMs: atMs === undefined ? Number.POSITIVE_INFINITY : atMs - askedAtMs,
    refusedMs: atMs === undefined ? undefined : atMs - askedAtMs,
    closedMs: atMs === undefined ? undefined : atMs - askedAtMs,
    restoredMs,
    neighbourAnswered: neighbours.reduce((sum, one) => sum + one.answered, 0),
    faults,
  }))
}

async function linksOf(mesh: Mesh): Promise<number> {
  const { proxies } = await mesh.admin.status()
  const gateways = proxies.filter(({ spiffeId, connected }) => connected && spiffeId.includes('/ringfence/gateway/'))
  return gateways.reduce((sum, { upstreamConnections = 0 }) => sum + upstreamConnections, 0)
}

/** The last one of its workers. */
function linkLostAt({ layout }: Mesh, part: string, sidecar: string, fromMs: number): number | undefined {
  const lines = readFileSync(`${layout.stateDir}/log/${part}.log`, 'utf8').split('\n')
  const times = lines
    .filter((line) => line.includes('mesh link lost') && line.includes(`"${sidecar}"`))
    .map((line) => timeOf(line))
    .filter((atMs) => atMs >= fromMs)
  return times.length === 0 ? undefined : Math.max(...times)
}

function timeOf(line: string): number {
  const { time } = JSON.parse(line) as { time: number | string }
  return typeof time === 'number' ? time : Date.parse(time)
}

async function backAfter(isBack: () => Promise<boolean>): Promise<number | undefined> {
  const beganMs = performance.now()
  while (performance.now() - beganMs < backMsMax) {
    if (await isBack()) return performance.now() - beganMs
    await sleep(100)
  }
  return undefined
}

function sampleOf(kind: string, { name }: Door, neighbour: Asking): Sample {
  const faults = neighbour.faults.map((said) => `the neighbour was told: ${said}`)
  if (neighbour.isClosed) faults.push('the neighbour was cut off')
  const { answered: neighbourAnswered } = neighbour
  return { kind, door: name, servedMs: 0, refusedMs: 0, closedMs: 0, restoredMs: 0, neighbourAnswered, faults }
}
