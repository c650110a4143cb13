/**
 * Every part is killed and comes back under the traffic of an unmodified driver that writes unique values and reads them back: traffic
 * comes back by itself, what was acknowledged is there, and nothing is answered to the wrong request.
 */
import assert from 'node:assert/strict'
import { randomUUID, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { readLeaf } from '../../src/identity/certificate.ts'
import { type DoorName, type MeshFixture, useMesh } from './fixture.ts'
import { doorNames, driverAt, freshKeyspace } from './people.ts'
import { keepSchema } from './schema.ts'

const keyspace = 'e2e_faults'
const workers = 4
const awayMs = 1500
/** From the moment that the part is back until traffic flows without an error. */
const recoveryMsMax = 45_000
/** Traffic has come back when nothing failed for this long. */
const quietMs = 3000
/** Enough to begin with: the test before has waited for `quietMs`. */
const startQuietMs = 500

let mesh: MeshFixture
let admin: Client

before(async () => {
  mesh = await useMesh()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await freshKeyspace(admin, mesh, keyspace, 'values (k text PRIMARY KEY, v text)')
  await admin.shutdown()
  await keepSchema(mesh)
})
after(async () => {
  const last = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await last.execute(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  await last.shutdown()
  // A driver that is shut down while it reconnects may leave that connection open for ever, and this process with it.
  setTimeout(() => process.exit(), 2000).unref()
})

/** One driver at one door, and what became of its requests. */
class Traffic {
  readonly door: DoorName
  readonly #client: Client
  #stopped = false
  #loops: Promise<void>[] = []
  answered = 0
  failed = 0
  firstFailureMs = 0
  lastFailureMs = 0
  readonly failures = new Map<string, number>()
  /** An answer that belongs to another request, or a write that was acknowledged and is not there. Must stay empty. */
  readonly wrong: string[] = []

  private constructor(door: DoorName, client: Client) {
    this.door = door
    this.#client = client
  }

  static async start(door: DoorName, quietFor: number): Promise<Traffic> {
    const client = await connected(door)
    const traffic = new Traffic(door, client)
    traffic.#loops = Array.from({ length: workers }, () => traffic.#work())
    await traffic.flows('traffic at the start', quietFor)
    traffic.forget()
    return traffic
  }

  async #work(): Promise<void> {
    const insert = `INSERT INTO ${keyspace}.values (k, v) VALUES (?, ?)`
    const select = `SELECT k, v FROM ${keyspace}.values WHERE k = ?`
    while (!this.#stopped) {
      const key = randomUUID()
      const value = `value of ${key}`
      try {
        await this.#client.execute(insert, [key, value], { prepare: true })
        this.answered++
        const { rows } = await this.#client.execute(select, [key], { prepare: true })
        this.answered++
        if (rows.length !== 1 || rows[0]?.k !== key || rows[0]?.v !== value) {
          this.wrong.push(`asked for ${key}, got ${JSON.stringify(rows)}`)
        }
      } catch (reason) {
        this.#fail(reason)
        await sleep(50)
      }
    }
  }

  #fail(reason: unknown): void {
    const now = performance.now()
    if (this.failed++ === 0) this.firstFailureMs = now
    this.lastFailureMs = now
    const text = String(reason).slice(0, 90)
    this.failures.set(text, (this.failures.get(text) ?? 0) + 1)
  }

  forget(): void {
    this.answered = this.failed = this.firstFailureMs = this.lastFailureMs = 0
    this.failures.clear()
  }

  /** Resolves when requests are answered and none has failed for so long. */
  async flows(what: string, quietFor = quietMs): Promise<void> {
    const started = performance.now()
    let answeredBefore = this.answered
    let quietSince = started
    while (performance.now() - quietSince < quietFor || this.answered - answeredBefore < workers) {
      await sleep(50)
      if (this.lastFailureMs > quietSince) {
        quietSince = performance.now()
        answeredBefore = this.answered
      }
      assert.ok(
        performance.now() - started < recoveryMsMax,
        `${what}: ${this.door} does not come back: ${this.figures()}`,
      )
    }
  }

  figures(): string {
    const window = this.failed === 0 ? 0 : Math.round(this.lastFailureMs - this.firstFailureMs)
    const kinds = [...this.failures].map(([text, count]) => `${count} × ${text}`).join('; ')
    return `${this.answered} answered, ${this.failed} failed within ${window} ms${kinds === '' ? '' : ` (${kinds})`}`
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#loops)
    await this.#client.shutdown()
  }
}

/** The test before may have started a node again a moment ago; its first answers to a driver's first questions take their time. */
async function connected(door: DoorName): Promise<Client> {
  const until = performance.now() + recoveryMsMax
  for (;;) {
    const client = driverAt(mesh, door, mesh.identities.admin, 3000)
    try {
      await client.connect()
      return client
    } catch (reason) {
      await client.shutdown()
      if (performance.now() > until) throw reason
    }
  }
}

/** Runs `work` under traffic at both doors, waits until it flows again, and prints the figures. */
async function underTraffic(
  t: { diagnostic(text: string): void },
  what: string,
  work: () => Promise<void>,
  failuresMax = Number.POSITIVE_INFINITY,
): Promise<void> {
  const traffic: Traffic[] = []
  // Where nothing may fail, what the beginning itself brings has to be over.
  const quietFor = failuresMax === 0 ? quietMs : startQuietMs
  try {
    await Promise.all(doorNames.map(async (door) => traffic.push(await Traffic.start(door, quietFor))))
    await work()
    await Promise.all(traffic.map((each) => each.flows(what)))
  } finally {
    await Promise.all(traffic.map((each) => each.stop()))
  }
  for (const each of traffic) {
    t.diagnostic(`${what}, ${each.door}: ${each.figures()}`)
    assert.deepEqual(each.wrong, [])
    assert.ok(each.answered > 0)
    assert.ok(each.failed <= failuresMax, `${what}, ${each.door}: ${each.figures()}`)
  }
}

suite('faults under traffic', { concurrency: 1 }, () => {
  for (const part of ['cassandra-2', 'sidecar-2', 'cassandra-1', 'sidecar-1', 'gateway', 'nginx']) {
    it(`${part} is killed and comes back`, async (t) => {
      await underTraffic(t, `kill ${part}`, async () => {
        await mesh.part(part).kill()
        await sleep(awayMs)
        await mesh.part(part).start()
      })
    })
  }

  it('sidecar-1 is stopped in order and comes back', async (t) => {
    await underTraffic(t, 'stop sidecar-1', async () => {
      await mesh.part('sidecar-1').stop()
      await sleep(awayMs)
      await mesh.part('sidecar-1').start()
    })
  })

  it('the control plane is killed: no request fails while it is away, nor when it is back', async (t) => {
    await underTraffic(
      t,
      'kill control',
      async () => {
        await mesh.part('control').kill()
        await sleep(6000)
        await mesh.part('control').start()
        await sleep(3000)
      },
      0,
    )
  })

  it('certificates are renewed under traffic, and no request fails', async (t) => {
    const admins = new AdminClient(mesh.layout.dirs.control)
    const folders = new Map([
      ['sidecar-1', mesh.layout.nodes[0]!.sidecarDir],
      ['gateway', mesh.layout.dirs.gateway],
    ])
    const kept = new Map<string, string>()
    const identityOf = (folder: string): string => readFileSync(join(folder, 'identity.json'), 'utf8')
    // The parts come up with a certificate that has half a minute left, and renew it by themselves while traffic flows.
    for (const [part, folder] of folders) {
      await mesh.part(part).stop()
      const now = JSON.parse(identityOf(folder)) as { certificatePem: string }
      const { spiffeId } = readLeaf(new X509Certificate(now.certificatePem).raw)
      const { certificatePem, keyPem, bundlePem } = await admins.mint({
        spiffeId,
        ttlMs: 40_000,
        ipAddresses: ['127.0.0.1'],
      })
      writeFileSync(join(folder, 'identity.json'), JSON.stringify({ certificatePem, keyPem, bundlePem }), {
        mode: 0o600,
      })
      kept.set(part, identityOf(folder))
      await mesh.part(part).start()
    }
    await underTraffic(
      t,
      'renewal',
      async () => {
        const until = performance.now() + 45_000
        while ([...folders].some(([part, folder]) => identityOf(folder) === kept.get(part))) {
          assert.ok(performance.now() < until, 'the certificates are not renewed')
          await sleep(200)
        }
        await sleep(2000)
      },
      0,
    )
  })
})
