/**
 * How sessions end, at both doors: by the end of a certificate, by that of a token, because the proxy stops. Each request that a client has sent is answered
 * once, by the node or by a refusal that drivers take to another host; then the connection ends.
 */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { optionsEnvelope } from '../../src/cql/encode.fixture.ts'
import { queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, headerStream, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readSupported } from '../../src/cql/responses.fixture.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { describe, type RawClient } from './client.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const key = makeKey('k1')
const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: ${issuer}, audiences: [ringfence], userName: claimed }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all }
spec:
  subjects: [{ spiffeId: "spiffe://demo.local/user/corp/*" }, { spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: [shop, "held*"]
  operations: [ALL]
`
const select = 'SELECT * FROM shop.items'
const largeText = `${select} WHERE k = 'large'`
/** It does not become less by LZ4. */
const largeAnswer = randomBytes(768 * 1024).toString('base64')
const refusal = /^0x1002 nothing was done, for this connection ends: /
const lifeMs = 9000

interface Place {
  readonly sidecar: RunningSidecar
  readonly gateway: RunningGateway | undefined
  readonly port: number
  /** What the node has not answered, by a word in its text. */
  readonly held: ReadonlyMap<string, NodeRequest>
  release(word: string): void
}

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

const doors = ['a sidecar', 'a gateway'] as const

async function place(door: (typeof doors)[number]): Promise<Place> {
  const authentication = [...listenerModes.either!]
  const sidecar = await world.sidecar({ name: `node${++places}`, policy: policyText, authentication })
  const gateway =
    door === 'a sidecar' ? undefined : await world.gateway([sidecar], { name: `gateway${places}`, authentication })
  gateway?.feed.apply(policyText)
  const keys = [{ provider: 'corp', issuer, keys: [key.jwk], fetchedAtMs: Date.now() }]
  for (const { feed } of [sidecar, ...(gateway === undefined ? [] : [gateway])])
    feed.value(pushedKinds.keySets).set(keys)
  const held = new Map<string, NodeRequest>()
  const released = new Set<string>()
  // Of a USE the sidecar makes two: it opens a connection in that keyspace first.
  const release = (word: string): void => {
    released.add(word)
    held.get(word)?.answer()
  }
  sidecar.node.intercept = (request) => {
    if (request.text === largeText) request.reply(echo(request.connection.version, 0, largeAnswer))
    const [word] = /held_\w+/.exec(request.text) ?? []
    const isHeld = word !== undefined && !released.has(word)
    if (isHeld) held.set(word, request)
    return isHeld || request.text === largeText
  }
  return { sidecar, gateway, port: (gateway ?? sidecar).port, held, release }
}
let places = 0

interface Shape {
  readonly version: ProtocolVersion
  readonly compression?: 'lz4'
}
const shapes: readonly Shape[] = [
  { version: 4 },
  { version: 4, compression: 'lz4' },
  { version: 5 },
  { version: 5, compression: 'lz4' },
]

/** Clients of one cell. */
interface Cell {
  readonly clients: readonly RawClient[]
  /** Called when they have asked; when they are drained for certain. What ends by a clock ends at that time anyway. */
  readonly end: () => number
}

type Ending = (at: Place, shape: Shape, count: number) => Promise<Cell>

const endings: Record<string, Ending> = {
  'the end of a certificate': async (at, shape, count) => {
    const credentials = await world.freshCredentials('svc/alice', lifeMs)
    const open = () => world.client(at.port, 'alice', { ...shape, credentials })
    return { clients: await Promise.all(Array.from({ length: count }, open)), end: () => credentials.notAfterMs }
  },
  'the end of a token': async (at, shape, count) => {
    const now = Math.floor(Date.now() / 1000)
    const exp = now + lifeMs / 1000
    const token = signed(key, { iss: issuer, aud: 'ringfence', sub: 'alice', iat: now - 5, exp })
    const open = async (): Promise<RawClient> => {
      const client = await world.connect(at.port, undefined, {
        ...shape,
        credentials: { bundlePem: world.ca.bundlePem },
      })
      assert.equal(headerOpcode(await client.startup(), 0), Opcode.AUTHENTICATE)
      const answer = await client.logIn('alice', token)
      assert.equal(headerOpcode(answer, 0), Opcode.AUTH_SUCCESS, describe(answer))
      return client
    }
    return { clients: await Promise.all(Array.from({ length: count }, open)), end: () => exp * 1000 }
  },
  'a stop in order': async (at, shape, count) => {
    const open = () => world.client(at.port, 'alice', shape)
    const clients = await Promise.all(Array.from({ length: count }, open))
    const end = (): number => {
      void (at.gateway?.gateway ?? at.sidecar.sidecar).stop()
      return Date.now() + 1200
    }
    return { clients, end }
  },
}

/** Asks on stream after stream; what comes must be one answer to each. */
class Asker {
  readonly client: RawClient
  readonly name: string
  #stream = 0

  constructor(client: RawClient, name: string) {
    this.client = client
    this.name = name
  }

  ask(text: string): Promise<string> {
    const { version } = this.client
    const stream = ++this.#stream
    return this.client.ask(queryEnvelope(version, stream, text), 60_000).then(describe, (reason: unknown) => {
      throw new Error(`${this.name}, stream ${stream}, ${text}: ${String(reason)}`)
    })
  }

  /** It has closed in time, and nothing was answered twice. */
  async ended(): Promise<void> {
    await until('it closes', () => this.client.isClosed, 8000)
    assert.deepEqual(this.client.unasked.map(describe), [])
  }
}

let cells = 0
for (const door of doors) {
  suite(`at ${door}`, { concurrency: 6 }, () => {
    let shared: Place
    before(async () => {
      shared = await place(door)
    })

    for (const [name, ending] of Object.entries(endings)) {
      for (const shape of shapes) {
        const { version, compression = 'none' } = shape
        it(`${name}, v${version}, compression ${compression}: one answer to each request, then the end`, async () => {
          const at = name === 'a stop in order' ? await place(door) : shared
          const { clients, end } = await ending(at, shape, 5)
          const asker = (i: number, who: string): Asker => new Asker(clients[i]!, who)
          const [atNode, waiting, slow] = [asker(0, 'at the node'), asker(1, 'waits'), asker(2, 'slow')]
          const [idle, told] = [asker(3, 'idle'), asker(4, 'told')]
          const word = `held_${++cells}`
          const isHeld = (what: string) => until(`${what} is at the node`, () => at.held.has(what))

          // A request that the node does not answer yet; one that waits behind a USE; answers that are not read; who asked to be told.
          const inFlight = atNode.ask(`${select} WHERE k = '${word}_a'`)
          const use = waiting.ask(`USE ${word}_b`)
          const behind = waiting.ask(select)
          slow.client.socket.pause()
          const unread = Array.from({ length: 8 }, () => slow.ask(largeText))
          const registered = await told.client.ask(registerEnvelope(version, 9, ['graceful_disconnect']))
          assert.equal(headerOpcode(registered, 0), Opcode.READY, describe(registered))
          await isHeld(`${word}_a`)
          await isHeld(`${word}_b`)
          await sleep(300)
          for (let i = 0; i < 4; i++) unread.push(slow.ask(largeText))
          const drainedAtMs = end()

          const event = await told.client.next(drainedAtMs - Date.now() + 2000)
          assert.equal(headerOpcode(event, 0), Opcode.EVENT)
          assert.equal(event.toString('latin1', 11), 'GRACEFUL_DISCONNECT')
          told.client.close()

          // Timers of a busy machine are late.
          await sleep(Math.max(0, drainedAtMs - Date.now()) + 500)
          await until('who asks nothing has ended', () => idle.client.isClosed, 4000)
          const late = [atNode, atNode, atNode, waiting, waiting].map((asker) => asker.ask(select))
          for (const answer of await Promise.all(late)) assert.match(answer, refusal)

          // Longer than a sidecar waits for its gateway to end a session.
          await sleep(1300)
          const gone = [atNode, waiting, slow].filter(({ client }) => client.isClosed).map((asker) => asker.name)
          assert.deepEqual(gone, [], 'who has requests in flight is kept')
          at.release(`${word}_a`)
          at.release(`${word}_b`)
          slow.client.socket.resume()
          assert.equal(await inFlight, `echo: ${select} WHERE k = '${word}_a'`)
          assert.deepEqual(await Promise.all([use, behind]), ['result 3', `echo: ${select}`])
          const read = await Promise.all(unread)
          for (const answer of read.slice(0, 8)) assert.ok(answer === `echo: ${largeAnswer}`)
          for (const answer of read.slice(8))
            if (answer !== `echo: ${largeAnswer}`) assert.match(answer.slice(0, 100), refusal)
          await Promise.all([atNode, waiting, slow, idle].map((asker) => asker.ended()))
        })
      }
    }

    it('ends 50 connections of one certificate over the last tenth of its life', async () => {
      const credentials = await world.freshCredentials('svc/alice', 14_000)
      const open = () => world.client(shared.port, 'alice', { credentials })
      const openedAtMs = Date.now()
      const clients = await Promise.all(Array.from({ length: 50 }, open))
      const ends = await Promise.all(clients.map((client) => client.closed.then(() => Date.now())))
      ends.sort((one, other) => one - other)
      const leftMs = credentials.notAfterMs - openedAtMs
      // A host that is alone has no turns (host-turns.test.ts), which would begin earlier.
      assert.ok(ends[0]! >= openedAtMs + leftMs * 0.9 - 50, 'none ends before the last tenth')
      assert.ok(ends.at(-1)! <= credentials.notAfterMs + 500, 'none outlives its certificate')
      assert.ok(ends.at(-1)! - ends[0]! >= leftMs * 0.05, `they ended within ${ends.at(-1)! - ends[0]!} ms`)
    })
  })
}

suite('a sidecar that stops behind a gateway', { concurrency: true }, () => {
  // Five seconds is what a gateway looks for another sidecar.
  for (const others of [0, 1]) {
    it(`has what is in flight there answered, with ${others} others to go on with`, async () => {
      const at = await place('a sidecar')
      const more = await Promise.all(Array.from({ length: others }, () => place('a sidecar')))
      const gateway = await world.gateway([at.sidecar, ...more.map(({ sidecar }) => sidecar)], {
        name: `gateway${++places}`,
      })
      const open = () => world.client(gateway.port, 'alice')
      const word = `held_${++cells}`
      // One of them has its session there.
      const clients = await Promise.all(Array.from({ length: 4 }, open))
      const askers = clients.map((client, i) => new Asker(client, `client ${i}`))
      const texts = askers.map((_, i) => `${select} WHERE k = '${word}_${i}'`)
      const inFlight = askers.map((asker, i) => asker.ask(texts[i]!))
      const all = [at, ...more]
      const isThere = (_: unknown, i: number) => all.some(({ held }) => held.has(`${word}_${i}`))
      await until('all are at the nodes', () => askers.every(isThere))
      assert.ok(askers.some((_, i) => at.held.has(`${word}_${i}`)))
      const stopped = at.sidecar.sidecar.stop()
      await sleep(6500)
      for (const { release } of all) for (const i of askers.keys()) release(`${word}_${i}`)
      assert.deepEqual(
        await Promise.all(inFlight),
        texts.map((text) => `echo: ${text}`),
      )
      await stopped
      if (others === 0) await Promise.all(askers.map((asker) => asker.ended()))
      else for (const asker of askers) assert.equal(await asker.ask(select), `echo: ${select}`)
    })
  }
})

suite('a request that comes in two parts, one before the drain and one in it', () => {
  for (const bytes of [200, 1024 * 1024]) {
    it(`of ${bytes} bytes is refused, once, and then the connection ends`, async () => {
      const at = await place('a sidecar')
      const client = await world.client(at.port, 'alice')
      const asker = new Asker(client, 'two parts')
      const inFlight = asker.ask(`${select} WHERE k = 'held_${++cells}'`)
      await until('it is at the node', () => at.held.size === 1)
      const request = queryEnvelope(4, 9, `${select} WHERE k = '${'x'.repeat(bytes)}'`)
      client.socket.write(request.subarray(0, bytes / 2))
      await sleep(100)
      const stopped = at.sidecar.sidecar.stop()
      await sleep(1300)
      client.socket.write(request.subarray(bytes / 2))
      const answer = await client.next()
      assert.match(describe(answer), refusal)
      assert.equal(headerStream(answer, 0), 9)
      assert.equal(client.isClosed, false)
      at.release(`held_${cells}`)
      assert.match(await inFlight, /^echo: /)
      await asker.ended()
      await stopped
    })
  }
})

suite('GRACEFUL_DISCONNECT', () => {
  it('is one of the options, and may be asked for together with other events, at each version', async () => {
    const { port, sidecar } = await place('a gateway')
    for (const version of [3, 4, 5] as const) {
      const client = await world.client(port, 'alice', { version })
      const answer = await client.ask(optionsEnvelope(version, 3))
      assert.deepEqual(readSupported(wholeEnvelope(answer)).get('GRACEFUL_DISCONNECT'), ['true'])
      const types = ['SCHEMA_CHANGE', 'GRACEFUL_DISCONNECT', 'STATUS_CHANGE']
      assert.equal(headerOpcode(await client.ask(registerEnvelope(version, 4, types)), 0), Opcode.READY)
      assert.equal(headerOpcode(await client.ask(registerEnvelope(version, 4, types.slice(1, 2))), 0), Opcode.READY)
      assert.equal(describe(await client.ask(queryEnvelope(version, 5, select))), `echo: ${select}`)
      const refused = await client.ask(registerEnvelope(version, 6, [...types, 'NO_SUCH']))
      assert.equal(describe(refused), '0x000a unknown event type')
      assert.equal(headerStream(refused, 0), 6)
    }
    assert.equal(sidecar.records().filter(({ operation }) => operation === 'REGISTER').length, 3)
  })

  it('is unknown at a listener that does not offer it', async () => {
    const sidecar = await world.sidecar({ gracefulDisconnect: false })
    const client = await world.client(sidecar.port, 'alice')
    const answer = await client.ask(optionsEnvelope(4, 3))
    assert.equal(readSupported(wholeEnvelope(answer)).has('GRACEFUL_DISCONNECT'), false)
    const refused = await client.ask(registerEnvelope(4, 4, ['GRACEFUL_DISCONNECT']))
    assert.equal(describe(refused), '0x000a unknown event type')
  })
})
