/**
 * The whole path on this host: control plane, locked Cassandra nodes, a sidecar at each, a gateway, NGINX in front. Everything is
 * started through the program `ringfence` with configuration files that are written here, as an operator would.
 *
 * Each part can be stopped, killed and started again by its name; tests of faults do.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { RingfenceError } from '../../src/base/errors.ts'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { makeSecrets } from '../providers/secrets.ts'
import { type CassandraNode, isOpen, type RunningCassandra, startCassandra } from './cassandra.ts'
import {
  dataCenter,
  type HostPort,
  type Layout,
  layoutOf,
  type NodeLayout,
  rack,
  requireFree,
  spiffeIds,
  trustDomain,
} from './layout.ts'
import { createCluster, type LockedCluster, startTogether } from './lock.ts'
import { startNginx } from './nginx.ts'
import { gatewayHttp, nginxHttpOf, peopleAddresses, providerSettings, siteFiles } from './people.ts'
import { type Child, littleToDo, Processes } from './processes.ts'
import { createProgress, type Progress } from './progress.ts'
import { type Parts, repoRoot, setUpParts } from './setup.ts'

export interface MeshOptions {
  readonly stateDir: string
  readonly nodes: number
  readonly portOffset?: number
  /** A policy file that is applied at the start where it differs from the one in force. */
  readonly policyFile: string
  /** Life of the mesh's certificates. Default 1 h. */
  readonly svidTtl?: string
  /** Give every sidecar a listener without TLS on its main port, for this identity. */
  readonly plainIdentity?: string
  /** What the listeners with TLS take of drivers; a certificate where it is left out. */
  readonly authentication?: string
  /** Start identity providers of the demonstration's own too, and have NGINX and the gateway stand before its web application. */
  readonly people?: boolean
  /** Start a gateway with this many workers, and NGINX with as many in front. 0 starts neither. */
  readonly gatewayWorkers: number
  /** Make the part `gateway-2` too, which is not started: a second gateway, with one worker, that drivers reach without NGINX. */
  readonly spareGateway?: boolean
  /**
   * For measurements of the same cluster with the mesh and without: Cassandra lets this identity in beside the sidecars and tells drivers of
   * the nodes themselves, keeps no record of its own, and the gateway listens without NGINX too.
   */
  readonly measuredAs?: string
  readonly clusterName?: string
  readonly jvmFlags?: readonly string[]
  readonly heapMb?: number
  /** Of each Cassandra node, see there. */
  readonly poolThreads?: number
  /** Forget everything in the state folder except what was downloaded. */
  readonly reset?: boolean
  readonly progress?: Progress
  /** Ends a start that is under way: what was started is stopped and `startMesh` throws. */
  readonly signal?: AbortSignal
}

/** A process of the mesh that can go and come back. */
export interface MeshPart {
  readonly name: string
  readonly running: boolean
  readonly pid: number | undefined
  /** Resolves when it answers. */
  start(): Promise<void>
  stop(): Promise<void>
  kill(): Promise<void>
}

export interface IdentityFiles {
  readonly spiffeId: string
  readonly certFile: string
  readonly keyFile: string
  readonly caFile: string
}

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

/** A second or two are usual; two busy cores take many more. */
const startTimeoutMs = 90_000
const nodeCertificateMs = 24 * 60 * 60 * 1000

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
    return await new Starter(options, layout, programs, processes, progress).start()
  } catch (reason) {
    await processes.close()
    throw reason
  } finally {
    options.signal?.removeEventListener('abort', abandon)
  }
}

class Starter {
  readonly #options: MeshOptions
  readonly #layout: Layout
  readonly #programs: Parts
  readonly #processes: Processes
  readonly #progress: Progress
  readonly #admin: AdminClient
  readonly #parts = new Map<string, MeshPart>()
  readonly #cluster: LockedCluster
  #certificates: NodeJS.Timeout | undefined

  constructor(options: MeshOptions, layout: Layout, programs: Parts, processes: Processes, progress: Progress) {
    this.#options = options
    this.#layout = layout
    this.#programs = programs
    this.#processes = processes
    this.#progress = progress
    this.#admin = new AdminClient(layout.dirs.control)
    const name = this.#clusterName
    this.#cluster = {
      dir: layout.dirs.cassandra,
      nodes: layout.nodes.map((node) => this.#cassandraNode(node)),
      identities: [
        ...layout.nodes.map(({ index }) => spiffeIds.sidecar(name, index)),
        ...(options.measuredAs === undefined ? [] : [options.measuredAs]),
      ],
    }
  }

  async start(): Promise<Mesh> {
    const { nodes } = this.#layout
    const proxied = this.#options.gatewayWorkers > 0
    await requireFree([
      this.#layout.control,
      ...nodes.flatMap(({ index, sidecar, cql }) => [
        sidecar,
        cql,
        { address: `127.0.0.${index}`, port: this.#layout.storagePort },
      ]),
      ...(this.#options.plainIdentity === undefined ? [] : nodes.map(({ sidecarTls }) => sidecarTls)),
      ...(proxied ? [this.#layout.gateway, this.#layout.nginx] : []),
      ...(this.#options.people === true ? peopleAddresses(this.#layout) : []),
      ...(this.#options.spareGateway === true ? [this.#layout.gateway2] : []),
      ...(this.#options.measuredAs === undefined ? [] : [this.#layout.gatewayDirect]),
    ])
    mkdirSync(this.#layout.dirs.conf, { recursive: true })

    if (this.#options.people === true) {
      makeSecrets(this.#layout.dirs.providers)
      await this.#begin('Control plane and identity providers', this.#providersPart(), this.#controlPart())
    } else await this.#begin('Control plane', this.#controlPart())
    await this.#startCassandra()
    const sidecars = nodes.map((node) => this.#sidecarPart(node))
    await this.#begin(sidecars.length === 1 ? 'Sidecar' : `${sidecars.length} sidecars`, ...sidecars)
    if (proxied) {
      const workers = this.#options.gatewayWorkers
      await this.#begin(`Gateway with ${workers} ${workers === 1 ? 'worker' : 'workers'}`, this.#gatewayPart())
      await this.#begin('NGINX', this.#nginxPart())
    }
    if (this.#options.spareGateway === true) this.#parts.set('gateway-2', this.#spareGatewayPart())
    return this.#mesh()
  }

  #mesh(): Mesh {
    const parts = this.#parts
    return {
      layout: this.#layout,
      admin: this.#admin,
      processes: this.#processes,
      parts,
      part(name) {
        const part = parts.get(name)
        if (part === undefined)
          throw new RingfenceError('USAGE', `no part "${name}"; there are ${[...parts.keys()].join(', ')}`)
        return part
      },
      cassandraAuditLog: (index) => join(this.#layout.nodes[index - 1]!.cassandraDir, 'log', 'audit.log'),
      sidecarAuditDir: (index) => join(this.#layout.nodes[index - 1]!.sidecarDir, 'audit'),
      identity: (spiffeId, ttlMs) => this.#identity(spiffeId, ttlMs),
      close: async () => {
        clearInterval(this.#certificates)
        // Workloads first, then from the door inwards, so that nobody logs errors about a neighbour that left.
        const workloads = this.#processes.children.filter(({ name }) => !parts.has(name))
        await Promise.all(workloads.map((child) => child.stop()))
        const inwards = ['nginx', 'gateway', 'sidecar', 'cassandra', 'control', 'providers']
        for (const kind of inwards) {
          await Promise.all(
            [...parts.values()].filter(({ name }) => name.split('-')[0] === kind).map((part) => part.stop()),
          )
        }
        await this.#processes.close()
      },
    }
  }

  async #begin(title: string, ...parts: readonly MeshPart[]): Promise<void> {
    for (const part of parts) this.#parts.set(part.name, part)
    await this.#progress.step(title, () => Promise.all(parts.map((part) => part.start())))
  }

  #controlPart(): MeshPart {
    const { control, dirs } = this.#layout
    const { svidTtl = '1h', policyFile } = this.#options
    const args = ['control', '--state-dir', dirs.control, '--listen', `${control.address}:${control.port}`]
    args.push('--trust-domain', trustDomain, '--svid-ttl', svidTtl, '--policy', policyFile, '--name', '1')
    return this.#part('control', async () => {
      const child = await this.#ringfence('control', args)
      await this.#until(child, async () => (await this.#admin.status().catch(() => undefined)) !== undefined)
      return child
    })
  }

  #providersPart(): MeshPart {
    const { corp, cloud } = this.#layout
    const program = join(repoRoot, 'demo', 'providers', 'main.ts')
    return this.#part('providers', async () => {
      const env = { ...littleToDo.env, ...providerSettings(this.#layout) }
      const args = [...littleToDo.flags, program]
      const child = await this.#processes.spawn('providers', process.execPath, args, { env })
      for (const { address, port } of [corp, cloud]) await this.#until(child, () => isOpen(address, port))
      return child
    })
  }

  #sidecarPart(node: NodeLayout): MeshPart {
    const { sidecar, sidecarTls, cql, sidecarDir, index } = node
    const { plainIdentity } = this.#options
    const config = {
      apiVersion: 'ringfence.dev/v1alpha1',
      kind: 'Sidecar',
      metadata: { name: `node${index}` },
      spec: {
        control: { url: this.#controlUrl },
        dataCenter,
        rack,
        upstream: { ...cql, spiffeId: spiffeIds.cassandra(index) },
        listeners:
          plainIdentity === undefined
            ? [{ ...sidecar, tls: true, ...this.#asked }]
            : [
                { ...sidecarTls, tls: true, ...this.#asked },
                { ...sidecar, tls: false, identity: plainIdentity },
              ],
        audit: { directory: 'audit' },
      },
    }
    const id = spiffeIds.sidecar(this.#clusterName, index)
    return this.#proxyPart(`sidecar-${index}`, 'sidecar', config, sidecarDir, id, sidecar, sidecar)
  }

  get #asked(): { readonly authentication?: string } {
    const { authentication } = this.#options
    return authentication === undefined ? {} : { authentication }
  }

  #gatewayPart(): MeshPart {
    const { gateway, gatewayDirect, nginx, dirs } = this.#layout
    const config = this.#gatewayConfig('gateway1', {
      workers: this.#options.gatewayWorkers,
      listeners: [
        { ...gateway, ...this.#asked, proxyProtocol: { from: ['127.0.0.1/32'] } },
        ...(this.#options.measuredAs === undefined ? [] : [{ ...gatewayDirect, tls: true }]),
      ],
      advertise: [nginx],
      ...(this.#options.people === true ? { http: gatewayHttp(this.#layout) } : {}),
    })
    return this.#proxyPart('gateway', 'gateway', config, dirs.gateway, spiffeIds.gateway, gateway, nginx)
  }

  #spareGatewayPart(): MeshPart {
    const { gateway2, dirs } = this.#layout
    const config = this.#gatewayConfig('gateway2', { workers: 1, listeners: [gateway2], advertise: [gateway2] })
    return this.#proxyPart('gateway-2', 'gateway', config, dirs.gateway2, spiffeIds.gateway2, gateway2, gateway2)
  }

  #gatewayConfig(name: string, spec: object): object {
    return {
      apiVersion: 'ringfence.dev/v1alpha1',
      kind: 'Gateway',
      metadata: { name },
      spec: { control: { url: this.#controlUrl }, ...spec },
    }
  }

  /** A sidecar or gateway: configuration file, join token for the address that drivers dial, and the wait for its listener. */
  #proxyPart(
    name: string,
    role: 'sidecar' | 'gateway',
    config: unknown,
    stateDir: string,
    spiffeId: string,
    listener: HostPort,
    dialled: HostPort,
  ): MeshPart {
    const configFile = join(this.#layout.dirs.conf, `${name}.yaml`)
    writeFileSync(configFile, stringify(config))
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    // Drivers that check host names find the address that they connected to.
    const ipAddresses = [dialled.address]
    return this.#part(name, async () => {
      // An identity that is still good is kept and the token not used; without the control plane only such a one will do.
      const made = await this.#admin.makeToken({ spiffeId, role, ipAddresses }).catch((reason: unknown) => {
        if (reason instanceof RingfenceError && reason.code === 'UNAVAILABLE') return undefined
        throw reason
      })
      const env = made === undefined ? {} : { [`RINGFENCE_${role.toUpperCase()}_TOKEN`]: made.token }
      const child = await this.#ringfence(name, [role, '--config', configFile, '--state-dir', stateDir], env)
      await this.#until(child, () => isOpen(listener.address, listener.port))
      return child
    })
  }

  #nginxPart(): MeshPart {
    const { nginx, gateway, dirs } = this.#layout
    const workers = this.#options.gatewayWorkers
    return this.#part('nginx', async () => {
      const http = this.#options.people === true ? nginxHttpOf(this.#layout) : undefined
      if (http !== undefined) await this.#writeSiteCertificate()
      const child = await startNginx(
        { listen: [nginx], gateways: [gateway], dir: dirs.nginx, program: this.#programs.nginx, workers, http },
        this.#processes,
      )
      await this.#until(child, () => isOpen(nginx.address, nginx.port))
      return child
    })
  }

  async #startCassandra(): Promise<void> {
    const { nodes } = this.#cluster
    await this.#writeNodeCertificates()
    // Cassandra reads its PEM files again every ten minutes; NGINX has to be told.
    this.#certificates = setInterval(() => {
      Promise.all([this.#writeNodeCertificates(), this.#renewSiteCertificate()]).catch((reason: unknown) =>
        this.#progress.note(`× new certificates for Cassandra and NGINX: ${String(reason)}`),
      )
    }, nodeCertificateMs / 2)
    this.#certificates.unref()
    await createCluster(this.#cluster, this.#programs, this.#processes, this.#progress)
    const running = await this.#progress.step(
      nodes.length === 1 ? 'Cassandra, locked' : `${nodes.length} Cassandra nodes, locked`,
      () =>
        startTogether(
          nodes.map((node) => ({ ...node, access: 'locked' })),
          this.#programs,
          this.#processes,
        ),
    )
    for (const [i, node] of nodes.entries()) {
      const start = (): Promise<RunningCassandra> =>
        startCassandra({ ...node, access: 'locked' }, this.#programs, this.#processes)
      const part = this.#part(`cassandra-${node.index}`, async () => (await start()).child, running[i]?.child)
      this.#parts.set(part.name, part)
    }
  }

  async #writeNodeCertificates(): Promise<void> {
    for (const { index, cql, cassandraDir } of this.#layout.nodes) {
      const ipAddresses = [cql.address, `127.0.0.${index}`]
      const minted = await this.#admin.mint({
        spiffeId: spiffeIds.cassandra(index),
        ttlMs: nodeCertificateMs,
        ipAddresses,
      })
      const dir = join(cassandraDir, 'tls')
      mkdirSync(dir, { recursive: true, mode: 0o700 })
      writeFileSync(join(dir, 'node.pem'), minted.keyPem + minted.certificatePem + minted.bundlePem, { mode: 0o600 })
      writeFileSync(join(dir, 'ca.pem'), minted.bundlePem)
    }
  }

  async #renewSiteCertificate(): Promise<void> {
    const pid = this.#parts.get('nginx')?.pid
    if (this.#options.people !== true || pid === undefined) return
    await this.#writeSiteCertificate()
    process.kill(pid, 'SIGHUP')
  }

  /** Of the web application's pages, by the mesh's authority; a browser is told of it, or warns. */
  async #writeSiteCertificate(): Promise<void> {
    const { site } = this.#layout
    const order = { spiffeId: spiffeIds.service('pages'), ttlMs: nodeCertificateMs, ipAddresses: [site.address] }
    const minted = await this.#admin.mint(order)
    const { certFile, keyFile, caFile } = siteFiles(this.#layout)
    mkdirSync(this.#layout.dirs.nginx, { recursive: true })
    writeFileSync(keyFile, minted.keyPem, { mode: 0o600 })
    writeFileSync(certFile, minted.certificatePem)
    writeFileSync(caFile, minted.bundlePem)
  }

  #cassandraNode({ index, cql, sidecar, cassandraDir }: NodeLayout): Omit<CassandraNode, 'access'> {
    const tlsDir = join(cassandraDir, 'tls')
    const measured = this.#options.measuredAs !== undefined
    return {
      index,
      clusterName: this.#clusterName,
      addresses: {
        listen: `127.0.0.${index}`,
        rpc: cql.address,
        broadcastRpc: measured ? cql.address : sidecar.address,
      },
      nativePort: cql.port,
      storagePort: this.#layout.storagePort,
      seeds: this.#layout.nodes.map((node) => `127.0.0.${node.index}`),
      dataDir: cassandraDir,
      heapMb: this.#options.heapMb ?? 700,
      tls: { nodePem: join(tlsDir, 'node.pem'), caPem: join(tlsDir, 'ca.pem') },
      peerIdentities: this.#layout.nodes.map((node) => spiffeIds.cassandra(node.index)),
      auditLog: !measured,
      jvmFlags: this.#options.jvmFlags ?? [],
      poolThreads: this.#options.poolThreads,
      features: { udf: true, mv: true, sasi: true },
      dataCenter,
      rack,
    }
  }

  async #identity(spiffeId: string, ttlMs = nodeCertificateMs): Promise<IdentityFiles> {
    const minted = await this.#admin.mint({ spiffeId, ttlMs })
    const dir = join(this.#layout.stateDir, 'identities', spiffeId.split('/').slice(3).join('-'))
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const files = { certFile: join(dir, 'svid.pem'), keyFile: join(dir, 'key.pem'), caFile: join(dir, 'bundle.pem') }
    writeFileSync(files.keyFile, minted.keyPem, { mode: 0o600 })
    writeFileSync(files.certFile, minted.certificatePem)
    writeFileSync(files.caFile, minted.bundlePem)
    return { spiffeId, ...files }
  }

  #ringfence(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Child> {
    const program = join(repoRoot, 'src', 'cli', 'main.ts')
    return this.#processes.spawn(name, process.execPath, [program, ...args], { env })
  }

  async #until(child: Child, isReady: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + startTimeoutMs
    while (!(await isReady())) {
      if (child.running && performance.now() < deadline) {
        await sleep(50)
        continue
      }
      const reason = child.running ? `does not answer after ${startTimeoutMs / 1000} s` : 'ended before it was ready'
      await child.kill()
      throw new RingfenceError('UNAVAILABLE', `${child.name} ${reason}`, {
        hint: `the end of ${child.logFile}:\n  ${lastLines(child.logFile, 8).join('\n  ')}`,
      })
    }
  }

  #part(name: string, launch: () => Promise<Child>, running?: Child): MeshPart {
    let child = running
    return {
      name,
      get running() {
        return child?.running ?? false
      },
      get pid() {
        return child?.running === true ? child.pid : undefined
      },
      start: async () => {
        if (child?.running !== true) child = await launch()
      },
      stop: async () => child?.stop(),
      kill: async () => child?.kill(),
    }
  }

  get #clusterName(): string {
    return this.#options.clusterName ?? 'demo'
  }

  get #controlUrl(): string {
    return `https://${this.#layout.control.address}:${this.#layout.control.port}`
  }
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

export function lastLines(file: string, count: number): string[] {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-count)
  } catch {
    return []
  }
}
