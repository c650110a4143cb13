/**
 * The whole path on this host: control plane, locked Cassandra nodes, a sidecar at each, a gateway, NGINX in front. Everything is
 * started through the program `ringfence` with configuration files that are written here, as an operator would.
 *
 * Each part can be stopped, killed and started again by its name; tests of faults do.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { makeSecrets } from '../providers/secrets.ts'
import {
  type IdentityFiles,
  nodeCertificateMs,
  writeIdentity,
  writeNodeCertificates,
  writeSiteCertificate,
} from './certificates.ts'
import { controlPart } from './control.ts'
import { type HostPort, type Layout, layoutOf, requireFree } from './layout.ts'
import type { Making, MeshOptions } from './mesh-options.ts'
import { nginxPart } from './nginx.ts'
import { startNodes } from './nodes.ts'
import type { MeshPart } from './part.ts'
import { peopleAddresses, providersPart } from './people.ts'
import { Processes } from './processes.ts'
import { createProgress, type Progress } from './progress.ts'
import { gatewayPart, sidecarPart, spareGatewayPart } from './proxies.ts'
import { setUpParts } from './setup.ts'

export interface Mesh {
  readonly layout: Layout
  readonly admin: AdminClient
  readonly processes: Processes
  /** `control`, `cassandra-N`, `sidecar-N`, `gateway`, `nginx`; `gateway-2` and `providers` where they were asked for. */
  readonly parts: ReadonlyMap<string, MeshPart>
  part(name: string): MeshPart
  /** What Cassandra node N itself says it ran: its FileAuditLogger's file. */
  cassandraAuditLog(index: number): string
  /** The sidecar's folder of audit records. */
  sidecarAuditDir(index: number): string
  /** Key, certificate and roots as files below `<stateDir>/identities`, good for `ttlMs`. */
  identity(spiffeId: string, ttlMs?: number): Promise<IdentityFiles>
  /** Stops everything that was started, and waits for it. */
  close(): Promise<void>
}

/** Starts everything and resolves when a driver can connect. Throws CONFIG, USAGE or UNAVAILABLE; nothing is left running then. */
export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const progress = options.progress ?? createProgress()
  const layout = layoutOf(options.stateDir, options.nodes, options.portOffset ?? 0)
  const programs = await setUpParts({ stateDir: options.stateDir, progress })
  const processes = await Processes.open(options.stateDir, (line) => progress.note(line))
  const abandon = (): void => void processes.close()
  options.signal?.addEventListener('abort', abandon)
  try {
    if (options.signal?.aborted === true) throw new RingfenceError('UNAVAILABLE', 'stopped before anything was started')
    if (options.reset === true) forget(layout)
    const admin = new AdminClient(layout.dirs.control)
    return await new Starter({ options, layout, programs, processes, admin }, progress).start()
  } catch (reason) {
    await processes.close()
    throw reason
  } finally {
    options.signal?.removeEventListener('abort', abandon)
  }
}

class Starter {
  readonly #making: Making
  readonly #progress: Progress
  readonly #parts = new Map<string, MeshPart>()
  #certificates: NodeJS.Timeout | undefined

  constructor(making: Making, progress: Progress) {
    this.#making = making
    this.#progress = progress
  }

  async start(): Promise<Mesh> {
    const { layout, options } = this.#making
    await requireFree(addressesOf(layout, options))
    mkdirSync(layout.dirs.conf, { recursive: true })

    const control = controlPart(this.#making)
    if (options.people === true) {
      makeSecrets(layout.dirs.providers)
      await this.#begin('Control plane and identity providers', providersPart(this.#making), control)
    } else await this.#begin('Control plane', control)
    await this.#startCassandra()
    const sidecars = layout.nodes.map((node) => sidecarPart(this.#making, node))
    await this.#begin(sidecars.length === 1 ? 'Sidecar' : `${sidecars.length} sidecars`, ...sidecars)
    const workers = options.gatewayWorkers
    if (workers > 0) {
      await this.#begin(`Gateway with ${workers} ${workers === 1 ? 'worker' : 'workers'}`, gatewayPart(this.#making))
      await this.#begin('NGINX', nginxPart(this.#making))
    }
    if (options.spareGateway === true) this.#parts.set('gateway-2', spareGatewayPart(this.#making))
    return this.#mesh()
  }

  #mesh(): Mesh {
    const parts = this.#parts
    const { layout, admin, processes } = this.#making
    return {
      layout,
      admin,
      processes,
      parts,
      part(name) {
        const part = parts.get(name)
        if (part === undefined)
          throw new RingfenceError('USAGE', `no part "${name}"; there are ${[...parts.keys()].join(', ')}`)
        return part
      },
      cassandraAuditLog: (index) => join(layout.nodes[index - 1]!.cassandraDir, 'log', 'audit.log'),
      sidecarAuditDir: (index) => join(layout.nodes[index - 1]!.sidecarDir, 'audit'),
      identity: (spiffeId, ttlMs) => writeIdentity(admin, layout, spiffeId, ttlMs),
      close: () => this.#close(),
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#certificates)
    const { processes } = this.#making
    // Workloads first, then from the door inwards, so that nobody logs errors about a neighbour that left.
    const workloads = processes.children.filter(({ name }) => !this.#parts.has(name))
    await Promise.all(workloads.map((child) => child.stop()))
    for (const kind of ['nginx', 'gateway', 'sidecar', 'cassandra', 'control', 'providers']) {
      const parts = [...this.#parts.values()].filter(({ name }) => name.split('-')[0] === kind)
      await Promise.all(parts.map((part) => part.stop()))
    }
    await processes.close()
  }

  async #begin(title: string, ...parts: readonly MeshPart[]): Promise<void> {
    for (const part of parts) this.#parts.set(part.name, part)
    await this.#progress.step(title, () => Promise.all(parts.map((part) => part.start())))
  }

  async #startCassandra(): Promise<void> {
    const { admin, layout } = this.#making
    await writeNodeCertificates(admin, layout)
    // Cassandra reads its PEM files again every ten minutes; NGINX has to be told.
    this.#certificates = setInterval(() => {
      Promise.all([writeNodeCertificates(admin, layout), this.#renewSiteCertificate()]).catch((reason: unknown) =>
        this.#progress.note(`× new certificates for Cassandra and NGINX: ${String(reason)}`),
      )
    }, nodeCertificateMs / 2)
    this.#certificates.unref()
    for (const part of await startNodes(this.#making, this.#progress)) this.#parts.set(part.name, part)
  }

  async #renewSiteCertificate(): Promise<void> {
    const { admin, layout, options } = this.#making
    if (options.people !== true) return
    await writeSiteCertificate(admin, layout)
    const pid = this.#parts.get('nginx')?.pid
    if (pid !== undefined) process.kill(pid, 'SIGHUP')
  }
}

/** All that are listened at. */
function addressesOf(layout: Layout, options: MeshOptions): HostPort[] {
  const { control, nodes, storagePort, gateway, nginx, gateway2, gatewayDirect, admin } = layout
  return [
    control,
    admin.control,
    ...nodes.flatMap(({ index, sidecar, sidecarAdmin, cql }) => [
      sidecar,
      sidecarAdmin,
      cql,
      { address: `127.0.0.${index}`, port: storagePort },
    ]),
    ...(options.jmx === true ? nodes.map(({ jmxPort }) => ({ address: '127.0.0.1', port: jmxPort })) : []),
    ...(options.plainIdentity === undefined ? [] : nodes.map(({ sidecarTls }) => sidecarTls)),
    ...(options.gatewayWorkers > 0 ? [gateway, admin.gateway, nginx] : []),
    ...(options.people === true ? peopleAddresses(layout) : []),
    ...(options.spareGateway === true ? [gateway2, admin.gateway2] : []),
    ...(options.measuredAs === undefined ? [] : [gatewayDirect]),
  ]
}

/** Everything of a state folder except the downloads and the records of running processes. */
function forget({ stateDir }: Layout): void {
  for (const name of [
    'control',
    'cassandra',
    'sidecar',
    'gateway',
    'gateway2',
    'nginx',
    'conf',
    'workloads',
    'providers',
    'identities',
    'log',
    'cqlsh',
  ]) {
    rmSync(join(stateDir, name), { recursive: true, force: true })
  }
}
