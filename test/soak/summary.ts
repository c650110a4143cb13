/** What a soak has to show: counts by kind, and what is not as it should be. */
import type { ClientCounts, Said } from './application.ts'

export interface Sums {
  readonly rows: number
  /** Increments that were answered, and those of which the driver does not know. */
  readonly done: number
  readonly unknown: number
  readonly found: number
  readonly lost: number
  readonly doubled: number
}

export interface Observed {
  readonly seconds: number
  /** Who got another certificate, once for each. */
  readonly renewed: readonly string[]
  readonly turns: { readonly issuing: number; readonly root: number; readonly revoked: number }
  /** By application. */
  readonly said: ReadonlyMap<string, Said>
  /** By client. */
  readonly openedBefore: ReadonlyMap<string, number>
  readonly web: Pick<ClientCounts, 'requests' | 'failed' | 'said'>
  readonly sums: Sums
  readonly faults: readonly string[]
  /** What is not to rotate in this run. */
  readonly still?: readonly RotationKind[]
}

export interface Load {
  readonly name: string
  readonly clients: number
  readonly requests: number
  readonly failed: number
  /** Connections that were opened in the place of one that had ended. */
  readonly sessionsEnded: number
}

export interface Summary {
  readonly seconds: number
  readonly rotations: Readonly<Record<RotationKind | 'all', number>>
  readonly loads: readonly Load[]
  readonly requests: number
  readonly failed: number
  /** Of these: the node itself said that it was too slow. */
  readonly failedByNode: number
  /** All others count as of a rotation, whatever they say. */
  readonly failedByRotation: number
  /** How often each was said, by client; the commonest. */
  readonly said: Readonly<Record<string, number>>
  readonly pythonSessionsEnded: number
  readonly sums: Sums
  /** Of the Node.js driver in promises of its own (docs/drivers/node.md). */
  readonly driverFaults: number
  readonly faults: readonly string[]
}

export type RotationKind = (typeof kinds)[number][0] | 'issuing keys' | 'roots'

/** Whose certificate it was, by its SPIFFE id. */
const kinds = [
  ['applications', /^spiffe:\/\/[^/]+\/soak\//],
  ['gateways and sidecars', /\/ringfence\/(gateway|sidecar)\//],
  ['nodes, for clients and between nodes', /\/cassandra\//],
  ['NGINX', /\/svc\/pages$/],
] as const

const saidMax = 40

/** What a node says where it is too slow: 0x1000, 0x1100, 0x1200 and their names. */
const nodeSays = /\b(ReadTimeout|WriteTimeout|Unavailable)\b|0x1[012]00\b|Server timeout during|Not enough replicas/

/** It is no failure of a rotation or a drain. */
export function isOfNode(text: string): boolean {
  return nodeSays.test(text)
}

export function summaryOf(seen: Observed): Summary {
  const { seconds, renewed, turns, said, openedBefore, web, sums } = seen
  const leaves = kinds.map(([name, pattern]) => [name, renewed.filter((id) => pattern.test(id)).length] as const)
  const ofAuthorities = { 'issuing keys': turns.issuing, roots: turns.root }
  const all = leaves.reduce((sum, [, count]) => sum + count, 0) + turns.issuing + turns.root
  const rotations = { ...Object.fromEntries(leaves), ...ofAuthorities, all } as Summary['rotations']
  const counted = [...said.values()].flatMap((one) => Object.entries(one.clients))
  const texts = [...counted, ['https', web] as const].flatMap(([client, counts]) =>
    Object.entries(counts.said).map(([text, count]) => ({ client, text, count })),
  )
  const loads = [...loadsOf(said, openedBefore), { name: 'HTTPS by NGINX', clients: 1, ...web, sessionsEnded: 0 }]
  const failed = loads.reduce((sum, load) => sum + load.failed, 0)
  const failedByNode = texts.filter(({ text }) => isOfNode(text)).reduce((sum, { count }) => sum + count, 0)
  const summary: Summary = {
    seconds,
    rotations,
    loads: loads.map(({ name, clients, requests, failed: some, sessionsEnded }) => ({
      name,
      clients,
      requests,
      failed: some,
      sessionsEnded,
    })),
    requests: loads.reduce((sum, { requests }) => sum + requests, 0),
    failed,
    failedByNode,
    failedByRotation: failed - failedByNode,
    said: commonest(texts.map(({ client, text, count }) => [`${client}: ${text}`, count])),
    pythonSessionsEnded: loads
      .filter(({ name }) => name.startsWith('Python'))
      .reduce((sum, { sessionsEnded }) => sum + sessionsEnded, 0),
    sums,
    driverFaults: [...said.values()].reduce((sum, { driverFaults = 0 }) => sum + driverFaults, 0),
    faults: [],
  }
  return { ...summary, faults: [...seen.faults, ...faultsOf(summary, seen.still ?? [])] }
}

function commonest(counts: readonly (readonly [text: string, count: number])[]): Record<string, number> {
  return Object.fromEntries(counts.toSorted(([, a], [, b]) => b - a).slice(0, saidMax))
}

/** By driver and door. */
export function loadsOf(
  said: ReadonlyMap<string, Said>,
  openedBefore: ReadonlyMap<string, number>,
): (Load & { readonly isOf: (client: string) => boolean })[] {
  const clients = [...said.values()].flatMap((one) => Object.entries(one.clients))
  const names = { node: 'Node.js', python: 'Python' }
  return Object.entries(names).flatMap(([driver, name]) =>
    [0, 1].map((odd) => {
      // As they were shared out: every other one by NGINX.
      const isOf = (client: string): boolean => {
        const [, own, number] = /^(\w+)-(\d+)$/.exec(client) ?? []
        return own === driver && (Number(number) - 1) % 2 === odd
      }
      const some = clients.filter(([client]) => isOf(client))
      const sum = (of: (counts: ClientCounts, client: string) => number): number =>
        some.reduce((total, [client, counts]) => total + of(counts, client), 0)
      return {
        isOf,
        name: `${name} ${odd === 0 ? 'by NGINX' : 'at sidecars'}`,
        clients: some.length,
        requests: sum(({ requests }) => requests),
        failed: sum(({ failed }) => failed),
        sessionsEnded: sum(({ opened, ended }, client) => ended ?? opened - (openedBefore.get(client) ?? 0)),
      }
    }),
  )
}

function faultsOf(
  { rotations, failedByRotation, sums, loads }: Summary,
  still: readonly (keyof Summary['rotations'])[],
): string[] {
  const faults: string[] = []
  if (failedByRotation > 0) faults.push(`${failedByRotation} requests failed, and no node said that it was slow`)
  if (sums.lost > 0 || sums.doubled > 0) faults.push(`${sums.lost} increments lost, ${sums.doubled} done twice`)
  const turning = Object.entries(rotations).filter(([kind]) => !still.some((one) => one === kind))
  for (const [kind, count] of turning) if (count === 0) faults.push(`no rotation: ${kind}`)
  for (const { name, requests } of loads) if (requests === 0) faults.push(`no request: ${name}`)
  return faults
}

export function tableOf(summary: Summary): string {
  const { seconds, rotations, loads, sums, failed, requests } = summary
  const lines = [
    `${Math.round(seconds / 6) / 10} minutes`,
    '',
    '| rotations of | count |',
    '|---|---|',
    ...Object.entries(rotations).map(([kind, count]) => `| ${kind} | ${count} |`),
    '',
    '| load | clients | requests | failed | sessions that ended |',
    '|---|---|---|---|---|',
    ...loads.map((load) => `| ${Object.values(load).join(' | ')} |`),
    `| all | | ${requests} | ${failed} | |`,
    '',
    `of ${failed} failed: ${summary.failedByRotation} of a rotation or of an unknown cause, ${summary.failedByNode} by a node that was too slow`,
    `increments by Python over ${summary.pythonSessionsEnded} session ends: ${sums.done} answered, ${sums.unknown} unknown, ${sums.found} found; lost ${sums.lost}, doubled ${sums.doubled}`,
  ]
  return lines.join('\n')
}
