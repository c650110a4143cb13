/**
 * `systemctl` for the hosts of one machine: reads the units that the page wrote and starts what they say as ordinary processes. Users,
 * order and restarts of a unit are systemd's own and are not looked at. The shim in `shims/` asks over a Unix socket.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import type { Child, Processes } from '../../demo/parts/processes.ts'
import type { Host, Hosts } from './hosts.ts'

export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Cassandra drains at its end, which takes its time. */
const graceMs = 60_000

export class Services {
  readonly #hosts: Hosts
  readonly #processes: Processes
  readonly #cassandra: (host: Host) => Launch
  readonly #running = new Map<string, Child>()
  #server: Server | undefined

  /** @param cassandra how a node is started: its unit is there before the page begins */
  constructor(hosts: Hosts, processes: Processes, cassandra: (host: Host) => Launch) {
    this.#hosts = hosts
    this.#processes = processes
    this.#cassandra = cassandra
  }

  async listen(socketPath: string): Promise<void> {
    const server = createServer(async (incoming, outgoing) => {
      let text = ''
      for await (const chunk of incoming.setEncoding('utf8')) text += chunk
      const { host, args } = JSON.parse(text) as { host: string; args: string[] }
      try {
        await this.systemctl(host, args)
        outgoing.end('ok')
      } catch (reason) {
        outgoing.writeHead(500).end(String(reason))
      }
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  }

  close(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
  }

  /** What is running on all hosts, as `host unit`. */
  get running(): string[] {
    return [...this.#running].filter(([, child]) => child.running).map(([name]) => name)
  }

  async systemctl(hostName: string, args: readonly string[]): Promise<void> {
    const host = [this.#hosts.edge, ...this.#hosts.nodes].find(({ name }) => name === hostName)
    if (host === undefined) throw new Error(`no host ${hostName}`)
    const [verb = '', ...rest] = args
    const units = rest.filter((word) => !word.startsWith('--'))
    const now = rest.includes('--now')
    if (verb === 'daemon-reload') return
    for (const unit of units) {
      if (verb === 'stop' || verb === 'restart' || (verb === 'disable' && now)) await this.#stop(host, unit)
      if (verb === 'start' || verb === 'restart' || (verb === 'enable' && now)) await this.#start(host, unit)
      if (!['start', 'stop', 'restart', 'enable', 'disable'].includes(verb))
        throw new Error(`systemctl ${verb} is not known here`)
    }
  }

  async #start(host: Host, unit: string): Promise<void> {
    const name = `${host.name}-${unit}`
    if (this.#running.get(name)?.running === true) return
    const { command, args, env = {} } = unit === 'cassandra' ? this.#cassandra(host) : this.#fromUnit(host, unit)
    this.#running.set(
      name,
      await this.#processes.spawn(name, command, args, { cwd: join(host.root, 'home'), env, graceMs }),
    )
  }

  async #stop(host: Host, unit: string): Promise<void> {
    await this.#running.get(`${host.name}-${unit}`)?.stop()
  }

  #fromUnit(host: Host, unit: string): Launch {
    const file = this.#hosts.path(`/etc/systemd/system/${unit}.service`, host)
    if (!existsSync(file)) throw new Error(`Unit ${unit}.service not found`)
    const text = readFileSync(file, 'utf8')
    const start = /^ExecStart=(.+)$/m.exec(text)?.[1]
    if (start === undefined) throw new Error(`${unit}.service has no ExecStart`)
    const env = Object.fromEntries(
      [...text.matchAll(/^Environment=(\w+)=(.*)$/gm)].map(([, key, value]) => [key!, value!]),
    )
    return { command: 'bash', args: ['-c', `exec ${start}`], env }
  }
}
