/**
 * Who has a certificate of the mesh and is no proxy of it: an agent for each application, `cert-sync` for NGINX, the sidecars for their nodes. Each is the
 * program `ringfence`, started as docs/rotate.md says.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { spiffeIds } from '../../demo/parts/layout.ts'
import type { Mesh } from '../../demo/parts/mesh.ts'
import { spawnRingfence } from '../../demo/parts/part.ts'
import { siteFiles } from '../../demo/parts/people.ts'
import { littleToDo } from '../../demo/parts/processes.ts'
import type { AdminClient } from '../../src/cli/admin-client.ts'
import { freePort } from '../free-port.ts'

const firstMsMax = 60_000
/** They start side by side, so many at a time. */
const agentsAtOnce = 4

interface Kept {
  readonly name: string
  readonly spiffeId: string
  readonly role: 'workload' | 'node'
  readonly folder: string
  readonly args: readonly string[]
  readonly ipAddresses?: readonly string[]
}

export const applicationId = (name: string): string => `spiffe://demo.local/soak/${name}`

/** An agent for each name; answers with the folders that have their files. */
export async function startAgents(mesh: Mesh, names: readonly string[]): Promise<Map<string, string>> {
  const folders = new Map<string, string>()
  for (let from = 0; from < names.length; from += agentsAtOnce) {
    const some = names.slice(from, from + agentsAtOnce).map(async (name) => {
      const folder = join(mesh.layout.stateDir, 'agents', name)
      await keep(mesh, { name, spiffeId: applicationId(name), role: 'workload', folder, args: ['agent'] })
      folders.set(name, folder)
    })
    await Promise.all(some)
  }
  return folders
}

/** Certificates without agents, each for as long as is wanted: the same files, which the control plane's socket gives. */
export class Minted {
  readonly folders: ReadonlyMap<string, string>
  readonly #admin: AdminClient
  #timer: NodeJS.Timeout | undefined

  constructor(admin: AdminClient, stateDir: string, names: readonly string[]) {
    this.#admin = admin
    this.folders = new Map(names.map((name) => [name, join(stateDir, 'minted', name)]))
    for (const folder of this.folders.values()) mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  /** From now on they live so long, and there are others after a third of that. */
  async live(ttlMs: number): Promise<void> {
    this.stop()
    await this.#make(ttlMs)
    this.#timer = setInterval(() => {
      this.#make(ttlMs).catch((reason: unknown) => process.stderr.write(`no certificate: ${String(reason)}\n`))
    }, ttlMs / 3)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #make(ttlMs: number): Promise<void> {
    for (const [name, folder] of this.folders) {
      const { keyPem, certificatePem, bundlePem } = await this.#admin.mint({ spiffeId: applicationId(name), ttlMs })
      const files = { 'bundle.pem': bundlePem, 'key.pem': keyPem, 'svid.pem': certificatePem }
      for (const [file, text] of Object.entries(files))
        writeFileSync(join(folder, `${file}.new`), text, { mode: 0o600 })
      for (const file of Object.keys(files)) renameSync(join(folder, `${file}.new`), join(folder, file))
    }
  }
}

/** NGINX's certificate for its HTTP door, in the file that both of its directives name. */
export async function keepNginx(mesh: Mesh): Promise<{ caFile: string }> {
  const { layout } = mesh
  const folder = join(layout.dirs.nginx, 'cert-sync')
  // As `nginx -s reload`, which would have to be told all of its folders.
  const args = ['cert-sync', '--exec', `kill -HUP ${mesh.part('nginx').pid}`]
  const ipAddresses = [layout.site.address]
  await keep(mesh, { name: 'nginx', spiffeId: spiffeIds.service('pages'), role: 'node', folder, args, ipAddresses })
  const { certFile, keyFile } = siteFiles(layout)
  for (const file of [certFile, keyFile]) pointTo(join(folder, 'combined.pem'), file)
  return { caFile: join(folder, 'bundle.pem') }
}

/** Each sidecar keeps key, chain and trust store of its node, for clients and between nodes, from now on. */
export async function keepNodes(mesh: Mesh, java: string): Promise<void> {
  const { layout, processes, admin } = mesh
  const port = await freePort()
  const flags = ['-Xmx48m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
  await processes.spawn('reload', java, [...flags, join(import.meta.dirname, 'ReloadCertificates.java'), String(port)])
  for (const { index, cql, cassandraDir } of layout.nodes) {
    const tls = join(cassandraDir, 'tls')
    const name = `sidecar-${index}`
    const { pid } = mesh.part(`cassandra-${index}`)
    const ipAddresses = [cql.address, `127.0.0.${index}`]
    const { token } = await admin.makeToken({ spiffeId: spiffeIds.cassandra(index), role: 'node', ipAddresses })
    const tokenFile = join(tls, 'token')
    writeFileSync(tokenFile, token, { mode: 0o600 })
    const said = `exec 3<>/dev/tcp/127.0.0.1/${port}; echo ${pid} >&3; read -r said <&3; echo $said; [ "$said" = ok ]`
    const configFile = join(layout.dirs.conf, `${name}.yaml`)
    const config = parse(readFileSync(configFile, 'utf8')) as { spec: object }
    const nodeCertificate = {
      keystore: join(tls, 'node.pem'),
      truststore: join(tls, 'ca.pem'),
      reload: `bash -c '${said}'`,
      tokenFile,
    }
    writeFileSync(configFile, stringify({ ...config, spec: { ...config.spec, nodeCertificate } }))
    await mesh.part(name).stop()
    await mesh.part(name).start()
  }
}

async function keep(mesh: Mesh, { name, spiffeId, role, folder, args, ipAddresses }: Kept): Promise<void> {
  const { admin, processes, layout } = mesh
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { token } = await admin.makeToken({ spiffeId, role, ipAddresses: [...(ipAddresses ?? [])] })
  const verb = args[0] === 'agent' ? 'AGENT' : 'CERT_SYNC'
  const url = `https://${layout.control.address}:${layout.control.port}`
  const child = await spawnRingfence(
    processes,
    `certificate-${name}`,
    [...args, '--name', name, '--control-url', url, '--out', folder],
    {
      ...littleToDo.env,
      NODE_OPTIONS: littleToDo.flags.join(' '),
      NODE_COMPILE_CACHE: join(layout.stateDir, 'compiled'),
      [`RINGFENCE_${verb}_TOKEN`]: token,
    },
  )
  // The last file but those that are made of it.
  const until = performance.now() + firstMsMax
  while (!existsSync(join(folder, 'bundle.pem'))) {
    if (!child.running || performance.now() > until) throw new Error(`no certificate for ${name}: see ${child.logFile}`)
    await sleep(100)
  }
}

function pointTo(target: string, file: string): void {
  rmSync(file, { force: true })
  symlinkSync(target, file)
}
