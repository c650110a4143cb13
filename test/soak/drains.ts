/**
 * Drains, one kind after the other, under applications that ask all the while: gateways and sidecars are stopped in order and started again, and certificates
 * end. Counted by driver and door: what failed, what was lost, what was done twice.
 *
 * Rule: the next part is stopped when the drivers are back at the last one, as docs/operations.md says; else they have nobody to ask.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Minted } from './certificates.ts'
import { type LoadOptions, onStage, openedOf, type Stage } from './stage.ts'
import { isOfNode, loadsOf } from './summary.ts'
import { sumsOf } from './tables.ts'

export interface DrainsOptions extends LoadOptions {
  /** How often each part is stopped. */
  readonly rounds: number
  /** For how long certificates end. */
  readonly endsMs: number
}

export interface DrainRow {
  readonly drain: string
  readonly load: string
  readonly clients: number
  readonly requests: number
  readonly sessionsEnded: number
  /** Without those of which a node said that it was too slow. */
  readonly failed: number
  readonly failedByNode: number
  /** It was acknowledged, and is not there. */
  readonly lost: number
  /** Undefined of what may be done twice. */
  readonly doubled: number | undefined
  readonly said: Readonly<Record<string, number>>
}

/** Parts, and what they are called in `ringfence status`. */
const gateways = { gateway: 'gateway1', 'gateway-2': 'gateway2' }
const sidecars = { 'sidecar-1': 'node1', 'sidecar-2': 'node2', 'sidecar-3': 'node3' }

const hourMs = 3_600_000
/** The shortest with which hosts take turns that are longer than a driver is away. */
const shortMs = 30_000
/** A driver waits for up to ten seconds between two attempts, and a proxy tells of its connections now and then. */
const backMsMax = 60_000
const betweenMs = 2_000

export function drains(options: DrainsOptions): Promise<DrainRow[]> {
  const { rounds, endsMs } = options
  let minted: Minted | undefined
  const work = async (stage: Stage): Promise<DrainRow[]> => {
    const stopped = (parts: Readonly<Record<string, string>>) => () => stopEach(stage, parts, options)
    try {
      const rows = [
        ...(await drained(stage, `a gateway is stopped, ${2 * rounds} times`, stopped(gateways), options)),
        ...(await drained(stage, `a sidecar is stopped, ${3 * rounds} times`, stopped(sidecars), options)),
      ]
      await minted?.live(shortMs)
      return [...rows, ...(await drained(stage, 'certificates of 30 s end', () => sleep(endsMs), options))]
    } finally {
      minted?.stop()
    }
  }
  const keep: Parameters<typeof onStage>[0]['keep'] = async ({ admin, layout }, names) => {
    minted = new Minted(admin, layout.stateDir, names)
    await minted.live(hourMs)
    return minted
  }
  return onStage({ ...options, lives: {}, keep }, work, (rows) => faultsOf(rows).length === 0)
}

async function stopEach(
  { mesh, names }: Stage,
  parts: Readonly<Record<string, string>>,
  { rounds, say }: DrainsOptions,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const [part, proxy] of Object.entries(parts)) {
      await mesh.part(part).stop()
      await mesh.part(part).start()
      // Each of those who come by this door has one connection to it at least.
      const isBack = await until(async () => {
        const { proxies } = await mesh.admin.status()
        return proxies.some(({ name, connections }) => name === proxy && connections >= names.length / 2)
      })
      say(isBack ? `${part} was stopped, and its clients are back` : `× not all clients are back at ${part}`)
      await sleep(betweenMs)
    }
  }
}

async function until(holds: () => Promise<boolean>): Promise<boolean> {
  const untilMs = performance.now() + backMsMax
  while (performance.now() < untilMs) {
    if (await holds()) return true
    await sleep(200)
  }
  return false
}

async function drained(
  stage: Stage,
  drain: string,
  work: () => Promise<void>,
  { say }: DrainsOptions,
): Promise<DrainRow[]> {
  const prefix = `${drain}: `
  const applications = await stage.start(prefix)
  say(`${drain}: all are asking`)
  const before = openedOf(applications)
  await work()
  for (const { running, name, words } of applications) if (!running) throw new Error(`${name} ended: ${words}`)
  await Promise.all(applications.map((application) => application.stop()))
  const said = new Map(applications.map((application) => [application.name, application.said]))
  const rows: DrainRow[] = []
  for (const { isOf, name: load, clients, requests, failed, sessionsEnded } of loadsOf(said, before)) {
    const texts = [...said.values()].flatMap(({ clients: counts }) =>
      Object.entries(counts)
        .filter(([client]) => isOf(client))
        .flatMap(([, one]) => Object.entries(one.said)),
    )
    const count = (isMeant: (text: string) => boolean): number =>
      texts.filter(([text]) => isMeant(text)).reduce((sum, [, times]) => sum + times, 0)
    const sums = await sumsOf(stage.mesh, [...said.values()], (row) => isOf(row.slice(prefix.length).split(' ', 1)[0]!))
    const notRead = count((text) => text.includes('read another'))
    const failedByNode = count(isOfNode)
    rows.push({
      drain,
      load,
      clients,
      requests,
      sessionsEnded,
      failed: failed - failedByNode - notRead,
      failedByNode,
      lost: notRead + sums.lost,
      doubled: sums.rows === 0 ? undefined : sums.doubled,
      said: Object.fromEntries(texts),
    })
  }
  return rows
}

export function faultsOf(rows: readonly DrainRow[]): string[] {
  return rows.flatMap(({ drain, load, requests, sessionsEnded, failed, lost, doubled = 0, said }) => {
    const where = `${drain}, ${load}`
    const found: string[] = []
    if (failed + lost + doubled > 0)
      found.push(`${where}: ${failed} failed, ${lost} lost, ${doubled} done twice: ${JSON.stringify(said)}`)
    if (requests === 0) found.push(`${where}: no request`)
    // A gateway that stops ends nothing at the sidecars; and a sidecar nothing at the gateways, which take what comes to another one.
    const isElsewhere = drain.includes(load.endsWith('at sidecars') ? 'a gateway' : 'a sidecar')
    if (!isElsewhere && sessionsEnded === 0) found.push(`${where}: no session ended`)
    return found
  })
}

export function tableOf(rows: readonly DrainRow[]): string {
  return [
    '| drain | load | clients | requests | sessions that ended | failed | lost | doubled |',
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(
      ({ drain, load, clients, requests, sessionsEnded, failed, lost, doubled }) =>
        `| ${drain} | ${load} | ${clients} | ${requests} | ${sessionsEnded} | ${failed} | ${lost} | ${doubled ?? 'may be'} |`,
    ),
  ].join('\n')
}
