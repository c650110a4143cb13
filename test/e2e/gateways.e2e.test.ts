/**
 * A second gateway comes to the running mesh, leaves in order and dies, under the reads of unmodified drivers that know the first one only:
 * their host lists grow and shrink within seconds, both gateways carry requests, and no read fails.
 */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { type HostPort, show, spiffeIds } from '../../demo/parts/layout.ts'
import { type Program, toolchainOf } from './drivers/toolchain.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { driverAt, freshKeyspace } from './people.ts'

const keyspace = 'e2e_gateways'
/** A report a second, a push, and a driver that waits two seconds before it looks. */
const seenMsMax = 12_000
/** The control plane lets go of a gateway that has not reported for fifteen seconds. */
const missedMsMax = 15_000 + seenMsMax
/** In each of the drivers' programs. */
const readersOfEach = 4
/** Each gateway's part of the reads where both are there. */
const shareMin = 0.2

/** What a driver program prints: all counts are since it started, `by` is by the host that answered. */
interface Watched {
  readonly hosts: readonly string[]
  readonly answered: number
  /** How many of them were lost with a connection and sent again; only the Node.js driver tells. */
  readonly retried?: number
  readonly errors: readonly string[]
  readonly by: Readonly<Record<string, number>>
}

let mesh: MeshFixture
let admin: Client

before(async () => {
  mesh = await useMesh()
  await mesh.part('gateway-2').stop()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await freshKeyspace(admin, mesh, keyspace, 'rows (k int PRIMARY KEY, v text)')
  for (let k = 0; k < 20; k++) await admin.execute(`INSERT INTO ${keyspace}.rows (k, v) VALUES (${k}, 'value ${k}')`)
})
after(async () => {
  await mesh.part('gateway-2').stop()
  await admin.execute(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  await admin.shutdown()
})

/** A driver in a process of its own, and what it said last. */
class Reader {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  #said: Watched | undefined
  #stderr = ''

  private constructor(child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.#child = child
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#said = JSON.parse(line) as Watched
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000)
    })
  }

  static async start({ command, args, env }: Program, protocol: number): Promise<Reader> {
    const { certFile, keyFile } = mesh.identities.admin
    const child = spawn(command, args, {
      env: {
        ...process.env,
        ...env,
        RF_CONTACTS: show(mesh.layout.nginx),
        RF_DC: mesh.dataCenter,
        RF_KEYSPACE: keyspace,
        RF_PROTOCOL: String(protocol),
        RF_CA: mesh.caFile,
        RF_CERT: certFile,
        RF_KEY: keyFile,
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const reader = new Reader(child)
    await reader.until('reads', 60_000, ({ answered }) => answered > 50)
    return reader
  }

  get said(): Watched {
    assert.ok(this.#said !== undefined, `nothing was said\n${this.#stderr}`)
    return this.#said
  }

  /** Milliseconds that it took. */
  async until(what: string, msMax: number, wanted: (said: Watched) => boolean): Promise<number> {
    const startedMs = performance.now()
    while (this.#said === undefined || !wanted(this.#said)) {
      assert.equal(this.#child.exitCode, null, `the program ended\n${this.#stderr}`)
      const tookMs = performance.now() - startedMs
      assert.ok(tookMs < msMax, `not within ${msMax} ms: ${what}; ${JSON.stringify(this.#said)}\n${this.#stderr}`)
      await sleep(20)
    }
    return performance.now() - startedMs
  }

  knows(msMax: number, ...hosts: HostPort[]): Promise<number> {
    const wanted = hosts.map(show).sort().join()
    return this.until(`knows ${wanted}`, msMax, (said) => said.hosts.join() === wanted)
  }

  /** How many reads each host answered in the next `ms`. */
  async shares(ms: number): Promise<Map<string, number>> {
    const before = this.said.by
    await sleep(ms)
    return new Map(Object.entries(this.said.by).map(([host, count]) => [host, count - (before[host] ?? 0)]))
  }

  async goesOn(): Promise<void> {
    const { answered } = this.said
    await this.until('goes on', 20_000, (said) => said.answered > answered + 100)
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.stdin.end()
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(killer)
  }
}

async function programOf(driver: 'node' | 'python'): Promise<Program | { readonly absent: string }> {
  const toolchain = await toolchainOf(driver)
  if ('absent' in toolchain) return toolchain
  const file = join(import.meta.dirname, 'drivers', driver, driver === 'node' ? 'gateways.ts' : 'gateways.py')
  return { ...toolchain.program, args: [file] }
}

/** What the sidecars wrote down of the reads that came by a gateway. */
async function readsBy(gateway: string): Promise<number> {
  const records = await mesh.auditRecords(keyspace, gateway, 'SELECT')
  return records.filter((record) => record.gateway === gateway && record.verdict === 'allow').length
}

/**
 * What is the driver's own: its plan went to the host that leaves and to no other, for `TokenAwarePolicy(shuffle_replicas=True)` shuffles a list
 * in place that the plans of other threads walk (cassandra/policies.py), so a plan may have one host twice. A read that is lost with its
 * connection is then asked nowhere else. What is ours is that hardly a read is lost so: REMOVED_NODE, at which the driver drops its
 * connections with all that is in flight there, comes when the gateway has ended them.
 */
function isDriversOwn(error: string, leaving: HostPort): boolean {
  const asked = [...error.matchAll(/<Host: (\S+)/g)].map(([, host]) => host)
  return error.startsWith('NoHostAvailable') && asked.length > 0 && asked.every((host) => host === show(leaving))
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

/** With the highest protocol that each has. */
const drivers = [
  ['node', 4],
  ['python', 5],
] as const
type Driver = (typeof drivers)[number][0]

/** A gateway comes, leaves and dies once, and all drivers see it at the same time. */
suite('a second gateway', { concurrency: 1 }, () => {
  const readers = new Map<Driver, Reader>()
  const absent: string[] = []

  before(async () => {
    for (const [driver, protocol] of drivers) {
      const program = await programOf(driver)
      if ('absent' in program) {
        if (process.env.CI === 'true') throw new Error(`${program.absent}, and CI=true requires every driver`)
        absent.push(program.absent)
        continue
      }
      readers.set(driver, await Reader.start(program, protocol))
    }
    await all(({ reader }) => reader.knows(missedMsMax, mesh.layout.nginx))
  })
  after(() => all(({ reader }) => reader.stop()))

  /** Resolves when it has for each of the drivers that are here; what it gave, by driver. */
  async function all<T>(work: (of: { driver: Driver; reader: Reader }) => Promise<T>): Promise<Map<Driver, T>> {
    const done = [...readers].map(async ([driver, reader]) => [driver, await work({ driver, reader })] as const)
    return new Map(await Promise.all(done))
  }
  const inWords = (tookMs: Map<Driver, number>): string =>
    [...tookMs].map(([driver, ms]) => `${driver} ${seconds(ms)}`).join(', ')

  it('comes: it is found within seconds, and both carry reads', async (t) => {
    if (readers.size === 0) return t.skip(absent.join('; '))
    for (const why of absent) t.diagnostic(why)
    const { nginx, gateway2 } = mesh.layout
    const before = await readsBy(spiffeIds.gateway2)
    await mesh.part('gateway-2').start()
    const found = await all(({ reader }) => reader.knows(seenMsMax, nginx, gateway2))
    t.diagnostic(`found after it listened: ${inWords(found)}`)
    await all(({ reader }) => reader.until('a read by it', seenMsMax, ({ by }) => (by[show(gateway2)] ?? 0) > 0))
    const shares = await all(({ reader }) => reader.shares(3000))
    const witnessed = (await readsBy(spiffeIds.gateway2)) - before
    let answered = 0
    for (const [driver, own] of shares) {
      t.diagnostic(`${driver}, reads in 3 s: ${JSON.stringify(Object.fromEntries(own))}`)
      const sum = [...own.values()].reduce((total, count) => total + count, 0)
      for (const place of [nginx, gateway2]) {
        assert.ok((own.get(show(place)) ?? 0) > sum * shareMin, `${driver}: ${show(place)} of ${sum}`)
      }
      answered += own.get(show(gateway2)) ?? 0
    }
    assert.ok(witnessed >= answered, `the sidecars know of ${witnessed}, the drivers of ${answered}`)
    for (const [driver, reader] of readers) assert.deepEqual(reader.said.errors, [], driver)
  })

  it('leaves in order: it is gone from the list within seconds, and no read fails', async (t) => {
    if (readers.size === 0) return t.skip(absent.join('; '))
    const before = new Map([...readers].map(([driver, { said }]) => [driver, said]))
    const startedMs = performance.now()
    const stopped = mesh.part('gateway-2').stop()
    const gone = await all(({ reader }) => reader.knows(seenMsMax, mesh.layout.nginx))
    await stopped
    t.diagnostic(`gone after ${inWords(gone)}; it had ended after ${seconds(performance.now() - startedMs)}`)
    await all(({ reader }) => reader.goesOn())
    for (const [driver, { said }] of readers) {
      const { retried, errors } = before.get(driver)!
      if (retried !== undefined) t.diagnostic(`reads sent again meanwhile: ${(said.retried ?? 0) - retried}`)
      const failed = said.errors.slice(errors.length)
      const own = failed.filter((error) => isDriversOwn(error, mesh.layout.gateway2))
      t.diagnostic(`${driver}, reads that it asked for at this gateway only, and lost: ${own.length}`)
      assert.deepEqual(
        failed.filter((error) => !own.includes(error)),
        [],
        driver,
      )
      // Far fewer than are in flight: each reader has one.
      assert.ok(own.length < readersOfEach / 2, own.join('; '))
    }
  })

  it('dies: what it was asked right then may fail, nothing else; when it was silent for fifteen seconds it is gone from the list', async (t) => {
    if (readers.size === 0) return t.skip(absent.join('; '))
    const { nginx, gateway2 } = mesh.layout
    await mesh.part('gateway-2').start()
    await all(({ reader }) => reader.knows(seenMsMax, nginx, gateway2))
    await all(({ reader }) => {
      const by = reader.said.by[show(gateway2)] ?? 0
      return reader.until('a read by it', seenMsMax, (said) => (said.by[show(gateway2)] ?? 0) > by)
    })
    const before = new Map([...readers].map(([driver, { said }]) => [driver, said.errors.length]))
    const startedMs = performance.now()
    await mesh.part('gateway-2').kill()
    const gone = await all(async ({ reader }) => {
      await reader.goesOn()
      await reader.knows(missedMsMax, nginx)
      return performance.now() - startedMs
    })
    t.diagnostic(`gone after ${inWords(gone)}`)
    await all(({ reader }) => reader.goesOn())
    for (const [driver, { said }] of readers) {
      const errors = said.errors.slice(before.get(driver)!)
      t.diagnostic(`${driver}: ${errors.length} reads failed`)
      // Each of the driver's readers has one read under way.
      assert.ok(errors.length <= readersOfEach, `${driver}: ${errors.join('; ')}`)
    }
  })
})
