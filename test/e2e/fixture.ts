/**
 * The one mesh that the end-to-end suites share: real NGINX, gateway, sidecars and three Cassandra nodes, started by the first suite that
 * asks and stopped after the last one. With RINGFENCE_E2E_MESH=<state folder> a mesh that `hold.ts` keeps running is used instead: `run.ts` and `npm test` hold one for all files, `hold.ts` for one's own work.
 */
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { IdentityFiles } from '../../demo/parts/certificates.ts'
import { dataCenter, type Layout, layoutOf, spiffeIds } from '../../demo/parts/layout.ts'
import { controlOf, describedMesh, type Environment, e2eNodes, type MeshControl, startE2eMesh } from './held.ts'
import { linesWith } from './lines.ts'

/** `nginx`: through NGINX and the gateway. `sidecar`: straight to the first sidecar, over TLS. */
export type DoorName = 'nginx' | 'sidecar'

export interface Door {
  readonly host: string
  readonly port: number
  /** How many hosts a driver must find behind it at least. */
  readonly hosts: number
}

/** A part of the mesh by its name: `control`, `cassandra-N`, `sidecar-N`, `gateway`, `nginx`; and `gateway-2`, which does not run unless a suite starts it. */
export interface FixturePart {
  pid(): Promise<number | undefined>
  /** Resolves when it answers; does nothing when it runs. `env` is added to its environment. */
  start(env?: Environment): Promise<void>
  /** SIGTERM, and the wait for its end. */
  stop(): Promise<void>
  /** SIGKILL, as a crash would be. */
  kill(): Promise<void>
}

/** One line of a sidecar's audit (src/audit/record.ts has the fields). */
export type AuditRecord = Readonly<Record<string, unknown>>

export interface MeshFixture {
  readonly stateDir: string
  readonly layout: Layout
  readonly dataCenter: string
  /** Copies of each row that the suites ask for. */
  readonly replication: number
  /** The roots that every server's certificate is verified against. */
  readonly caFile: string
  readonly doors: Readonly<Record<DoorName, Door>>
  /** The people of policy.yaml, with certificates good for a day. */
  readonly identities: Readonly<Record<'admin' | 'owner' | 'reader' | 'nobody', IdentityFiles>>
  /** A certificate of any identity, made by the mesh's CA. */
  identity(spiffeId: string, ttlMs?: number): Promise<IdentityFiles>
  part(name: string): FixturePart
  /** All records of all sidecars whose line contains each of `words`. */
  auditRecords(...words: string[]): Promise<AuditRecord[]>
  /** Waits up to five seconds for one record; `what` is named when none comes. */
  auditRecord(what: string, words: readonly string[], wanted: (record: AuditRecord) => boolean): Promise<AuditRecord>
  /** The lines of all Cassandra nodes' own audit logs that contain each of `words`: the witness that is not ours. */
  cassandraLines(...words: string[]): Promise<string[]>
}

const recordWaitMs = 5_000

let shared: Promise<MeshFixture> | undefined

/** The shared mesh. Call it inside a test or hook: where none is held, the first call starts one, which takes about a minute. */
export function useMesh(): Promise<MeshFixture> {
  shared ??= open()
  return shared
}

// Registered at import, at the top level of the run: it comes after every suite of the process.
let close: (() => Promise<void>) | undefined
after(() => close?.())

async function open(): Promise<MeshFixture> {
  const stateDir = process.env.RINGFENCE_E2E_MESH
  if (stateDir !== undefined) {
    const held = describedMesh(stateDir)
    const layout = layoutOf(stateDir, e2eNodes, held.portOffset)
    // A suite of faults that failed half-way leaves something down; the next suite does not pay for it.
    for (const name of partNames(layout)) await held.act(name, 'start')
    return fixtureOf(held, layout)
  }
  const started = await startE2eMesh()
  close = started.close
  return fixtureOf(controlOf(started.mesh), started.mesh.layout)
}

function partNames({ nodes }: Layout): string[] {
  const each = (kind: string): string[] => nodes.map(({ index }) => `${kind}-${index}`)
  return ['control', ...each('cassandra'), ...each('sidecar'), 'gateway', 'nginx']
}

async function fixtureOf(control: MeshControl, layout: Layout): Promise<MeshFixture> {
  const identityOf = (name: string): Promise<IdentityFiles> => control.identity(spiffeIds.service(`e2e-${name}`))
  const [admin, owner] = [await identityOf('admin'), await identityOf('owner')]
  const [reader, nobody] = [await identityOf('reader'), await identityOf('nobody')]
  const first = layout.nodes[0]!.sidecar
  const auditDirs = layout.nodes.map(({ sidecarDir }) => join(sidecarDir, 'audit'))
  const cassandraLogs = layout.nodes.map(({ cassandraDir }) => join(cassandraDir, 'log', 'audit.log'))

  const auditRecords = async (...words: string[]): Promise<AuditRecord[]> => {
    const files = auditDirs.flatMap((dir) => filesIn(dir, ''))
    return (await linesWith(files, words)).map((line) => JSON.parse(line) as AuditRecord)
  }
  return {
    stateDir: layout.stateDir,
    layout,
    dataCenter,
    replication: Math.min(3, layout.nodes.length),
    caFile: admin.caFile,
    doors: {
      nginx: { host: layout.nginx.address, port: layout.nginx.port, hosts: 1 },
      sidecar: { host: first.address, port: first.port, hosts: layout.nodes.length },
    },
    identities: { admin, owner, reader, nobody },
    identity: (spiffeId, ttlMs) => control.identity(spiffeId, ttlMs),
    part: (name) => ({
      pid: () => control.pid(name),
      start: (env) => control.act(name, 'start', env),
      stop: () => control.act(name, 'stop'),
      kill: () => control.act(name, 'kill'),
    }),
    auditRecords,
    auditRecord: async (what, words, wanted) => {
      const deadline = performance.now() + recordWaitMs
      for (;;) {
        const found = (await auditRecords(...words)).find(wanted)
        if (found !== undefined) return found
        if (performance.now() > deadline) throw new Error(`the audit has no record of ${what}`)
        await sleep(100)
      }
    },
    cassandraLines: (...words) =>
      linesWith(
        cassandraLogs.flatMap((log) => filesIn(dirname(log), 'audit.log')),
        words,
      ),
  }
}

function filesIn(dir: string, prefix: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.startsWith(prefix))
    .map((name) => join(dir, name))
}
