/**
 * A root takes the place of another under traffic: a control plane, agents, a sidecar and a gateway as they are, a node and clients that learn of roots as
 * they would. No connection is refused and no request is lost, from the first that has heard of the new root to the last that has a certificate of the old.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { limits } from '../../src/base/limits.ts'
import { thiefOf } from '../../src/control/authorities/thief.fixture.ts'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { readLeaf } from '../../src/identity/certificate.ts'
import { certificatesOf } from '../../src/identity/chain.ts'
import { type Credentials, credentialsOf } from '../../src/mesh/credentials.ts'
import { Sidecar } from '../../src/sidecar/sidecar.ts'
import { freePort } from '../free-port.ts'
import { describe, RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { usualPolicy } from './world.ts'

const select = 'SELECT * FROM shop.items'
const echo = `echo: ${select}`
const log = pino({ level: 'silent' })
const id = (path: string): string => `spiffe://demo.local/${path}`
/** Nothing is put off at random. */
const atOnce = { random: () => 0 }
/** More than agents need to ask and renew. */
const leaveMs = 20_000
/** Of the control plane: what it taints was tainted nearly `taintedLeafMsMax` ago, so that a test need not wait so long. */
const late: Clock = {
  ...systemClock,
  now: () => Date.now() - (limits.taintedLeafMsMax - leaveMs),
  monotonic: () => systemClock.monotonic(),
}

/** Asks all the time, by a connection that is open for long and by a new one each time; what went wrong is noted. */
class Traffic {
  readonly wrong: string[] = []
  answered = 0
  opened = 0
  /** Connections that were open for long and have ended, by us or by the other end. */
  ended = 0
  credentials: Credentials
  readonly #port: number
  readonly #running: Promise<void>[]
  #stopped = false

  constructor(port: number, credentials: Credentials) {
    this.#port = port
    this.credentials = credentials
    this.#running = [this.#steady(), this.#anew()]
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  async #open(): Promise<RawClient | undefined> {
    try {
      const client = await RawClient.open({ port: this.#port, credentials: this.credentials })
      this.opened++
      return client
    } catch (reason) {
      this.wrong.push(`not let in: ${reason}`)
      return undefined
    }
  }

  /** Several requests are in flight at each moment, so that it ends by being told so, and not between two of them. */
  async #steady(): Promise<void> {
    while (!this.#stopped) {
      const client = await this.#open()
      if (client !== undefined) {
        const told = { leaves: false }
        await Promise.all([1, 2, 3].map((stream) => this.#askOn(client, stream, told)))
        client.close()
        this.ended++
      }
      await sleep(10)
    }
  }

  async #askOn(client: RawClient, stream: number, told: { leaves: boolean }): Promise<void> {
    while (!this.#stopped && !told.leaves) {
      const answer = await client.ask(queryEnvelope(4, stream, select), 30_000).then(describe, String)
      // What comes while it leaves is told to be asked elsewhere (IS_BOOTSTRAPPING); then it ends.
      if (answer.startsWith('0x1002')) {
        told.leaves = true
        return
      }
      this.#note(answer)
      if (answer !== echo) return
    }
  }

  async #anew(): Promise<void> {
    while (!this.#stopped) {
      const client = await this.#open()
      if (client !== undefined) {
        this.#note(await client.ask(queryEnvelope(4, 1, select), 30_000).then(describe, String))
        client.close()
      }
      await sleep(60)
    }
  }

  #note(answer: string): void {
    if (answer === echo) this.answered++
    else this.wrong.push(answer)
  }
}

suite('a root that takes the place of another', () => {
  it('under traffic, direct and through a gateway: no connection is refused, no request is lost', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rf-root-'))
    try {
      await withMesh({ clock: late }, async (mesh) => {
        await mesh.admin.applyPolicy(usualPolicy, 'p.yaml', false)
        const ends: (() => unknown)[] = []
        try {
          await rotated(mesh, folder, ends)
        } finally {
          for (const end of ends.reverse()) await end()
        }
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

async function rotated(mesh: Mesh, folder: string, ends: (() => unknown)[]): Promise<void> {
  const enrolled = async (path: string, role: 'sidecar' | 'gateway' | 'node' | 'workload') =>
    mesh.agent(path.replaceAll('/', '-'), await mesh.token(id(path), role), { role, ...atOnce })
  const n1 = await enrolled('ringfence/sidecar/c1/dc1/n1', 'sidecar')
  const g1 = await enrolled('ringfence/gateway/g1', 'gateway')
  // As `cert-sync` does for Cassandra, and `agent` for an application.
  const files = await enrolled('cassandra/node1', 'node')
  const alice = await enrolled('svc/alice', 'workload')
  const node = new FakeNode(files.credentials.current)
  // Some take long, so that there is no moment in which nothing is in flight, however slow the machine is.
  let asked = 0
  node.intercept = (request) => {
    setTimeout(() => request.answer(), [10, 60, 400][asked++ % 3])
    return true
  }
  await node.start()
  ends.push(() => node.stop())
  files.credentials.observe((now) => node.renew(now))

  const sidecar = new Sidecar({
    config: {
      name: 'n1',
      control: { url: mesh.control.url },
      dataCenter: 'dc1',
      rack: 'rack1',
      upstream: { address: '127.0.0.1', port: node.port, connections: 2, share: 'mesh' },
      listeners: [{ address: '127.0.0.1', port: 0, tls: true } as never],
      audit: { directory: 'unused' },
    },
    feed: n1,
    log,
    auditDirectory: join(folder, 'audit'),
  })
  await sidecar.start()
  ends.push(() => sidecar.stop(0))
  const port = await freePort()
  const gateway = new Gateway({
    config: {
      name: 'g1',
      control: { url: mesh.control.url },
      workers: 1,
      listeners: [{ address: '127.0.0.1', port, tls: true }],
      advertise: [{ address: '127.0.0.1', port }],
      locality: {},
    },
    feed: g1,
    log,
  })
  await gateway.start()
  ends.push(() => gateway.stop(0))
  const ports = [sidecar.ports[0]!, port]
  const isServed = (to: number, credentials: Credentials): Promise<boolean> =>
    RawClient.open({ port: to, credentials }).then(
      async (client) => {
        const answer = await client.ask(queryEnvelope(4, 1, select)).then(describe, String)
        client.close()
        return answer === echo
      },
      () => false,
    )
  for (const one of ports) await eventually('it serves', () => isServed(one, alice.credentials.current))

  const traffics = ports.map((one) => new Traffic(one, alice.credentials.current))
  ends.push(() => Promise.all(traffics.map((one) => one.stop())))
  alice.credentials.observe((now) => {
    for (const one of traffics) one.credentials = now
  })
  const noneRefused = (when: string): void => {
    for (const [door, { wrong }] of traffics.entries()) assert.deepEqual(wrong, [], `${when}, door ${door}`)
  }
  const authorities = async (kind: string, state: string) =>
    (await mesh.admin.authorities()).authorities.filter((one) => one.kind === kind && one.state === state)
  const agents = [n1, g1, files, alice]
  const rootsOf = ({ bundlePem }: Credentials): number => certificatesOf(bundlePem).length
  const authorityOf = ({ leafDer }: Credentials): string | undefined => readLeaf(leafDer).authority

  // Everybody is told of the next one, each in its way, and nobody's certificate changes.
  const thief = await thiefOf(mesh.stateDir, join(folder, 'stolen'), id('svc/alice'), late)
  const asThief = (): Credentials => ({ ...thief, bundlePem: alice.credentials.current.bundlePem })
  const before = agents.map(({ credentials }) => credentials.current.certificatePem)
  const tokens = [await mesh.token(id('svc/bob'), 'workload')]
  await mesh.admin.prepareAuthority({ kind: 'root' })
  tokens.push(await mesh.token(id('svc/carol'), 'workload'))
  await eventually('all trust both', () => agents.every(({ credentials }) => rootsOf(credentials.current) === 2))
  await eventually('proxies say so', async () => (await mesh.admin.authorities()).behind.length === 0)
  assert.deepEqual(
    agents.map(({ credentials }) => credentials.current.certificatePem),
    before,
  )
  noneRefused('prepared')

  // It signs. Who has it in no certificate yet meets who has.
  const bob = await mesh.agent('bob', tokens[0], { role: 'workload' })
  const oldRoot = (await authorities('root', 'active'))[0]!
  await mesh.admin.activateAuthority({ kind: 'root', force: true })
  const carol = await mesh.agent('carol', tokens[1], { role: 'workload' })
  assert.notEqual(authorityOf(carol.credentials.current), authorityOf(bob.credentials.current))
  const newcomer = async (): Promise<Credentials> => {
    const { certificatePem, keyPem, bundlePem } = await mesh.admin.mint({ spiffeId: id('svc/alice') })
    return credentialsOf(certificatePem, keyPem, bundlePem)
  }
  for (const one of ports) assert.ok(await isServed(one, await newcomer()), 'a certificate of the new root')
  await sleep(1_000)
  noneRefused('active')

  // All renew, and what was built on the old ones ends in order.
  const [left, right] = traffics.map(({ ended }) => ended)
  const stolen = alice.credentials.current
  // Whoever read the old root's key has an issuing key of his own, which nobody can name; so he is let in until the root is revoked.
  const thieves = await Promise.all(ports.map((one) => RawClient.open({ port: one, credentials: asThief() })))
  await mesh.admin.taintAuthority({ id: oldRoot.id })
  const [issuing] = await authorities('issuing', 'active')
  await eventually('all have certificates of the new root', () =>
    agents.every(({ credentials }) => authorityOf(credentials.current) === issuing!.id),
  )
  await sleep(leaveMs)
  // Each takes up to `taintedSpreadMsMax`.
  await eventually('the connection of before at the sidecar has ended', () => traffics[0]!.ended > left!)
  await eventually('the connection of before at the gateway has ended', () => traffics[1]!.ended > right!)
  noneRefused('tainted')

  // Nobody trusts it any more: who has not renewed is refused at both doors, all others go on.
  await mesh.admin.revokeAuthority({ id: oldRoot.id, force: true })
  await eventually('it is known', () => agents.every(({ credentials }) => rootsOf(credentials.current) === 1))
  await eventually('who has its key is out', () => thieves.every(({ isClosed }) => isClosed))
  for (const one of ports) {
    assert.ok(!(await isServed(one, asThief())), 'a certificate that the thief made')
    assert.ok(!(await isServed(one, stolen)), 'a certificate of the old root')
    assert.ok(await isServed(one, await newcomer()))
  }
  await sleep(500)
  noneRefused('revoked')
  for (const { answered, opened } of traffics) {
    assert.ok(answered > 100, `${answered} requests`)
    assert.ok(opened > 20, `${opened} connections`)
  }
}
