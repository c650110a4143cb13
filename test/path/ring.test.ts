/** The ring as a sidecar learns it from its node and tells it to gateways, and the partition keys that go with it. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, before, beforeEach, describe, it, mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { RingfenceError } from '../../src/base/errors.ts'
import { errorEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode } from '../../src/cql/protocol.ts'
import { QueryView, readQuery } from '../../src/cql/requests.ts'
import { native, setOf } from '../../src/cql/types.ts'
import { decodeValue, encodeValue } from '../../src/cql/values.ts'
import { Control, controlEnvelope, type Ring, readControl, ringSchema } from '../../src/link/protocol.ts'
import { makeRingAnswer, noRing, type RingAnswer, replicationOf } from '../../src/sidecar/ring/answer.ts'
import { readNodes } from '../../src/sidecar/ring/nodes.ts'
import { RingWatch } from '../../src/sidecar/ring/watch.ts'
import { type Ask, loadSchema } from '../../src/sidecar/schema/load.ts'
import { emptySchema, type SchemaModel } from '../../src/sidecar/schema/model.ts'
import type { SchemaPeer, SchemaWatch } from '../../src/sidecar/schema/watch.ts'
import { FakeSchema, type FakeTable } from './fake-schema.ts'
import { evenTokens, type FakePlace, FakeTopology } from './fake-topology.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const log = pino({ level: 'silent' })
const twoAndOne = { class: 'org.apache.cassandra.locator.NetworkTopologyStrategy', dc1: '2', dc2: '1' }

const place = (n: number, more: Partial<FakePlace> = {}): FakePlace => ({
  hostId: `00000000-0000-4000-8000-00000000000${n}`,
  dataCenter: n === 3 ? 'dc2' : 'dc1',
  rack: `rack${n}`,
  tokens: evenTokens(n - 1, 3, 4),
  ...more,
})
const [one, two, three] = [place(1), place(2), place(3)]

/** As the node at `self` sees it. */
function topologyOf(self: FakePlace, ...peers: FakePlace[]): FakeTopology {
  const topology = new FakeTopology(self)
  topology.peers = peers
  return topology
}

const textOf = (envelope: Buffer): string => {
  const query = new QueryView()
  readQuery(query, wholeEnvelope(envelope), 4)
  return query.text
}

const askOf =
  (topology: FakeTopology): Ask =>
  async (envelope) =>
    topology.answer(4, 0, textOf(envelope)) ?? assert.fail(textOf(envelope))

async function schemaOf(replication: Readonly<Record<string, string>> = twoAndOne): Promise<SchemaModel> {
  const schema = new FakeSchema()
  schema.replication.set('shop', new Map(Object.entries(replication)))
  const ask: Ask = async (envelope) =>
    schema.answer(4, 0, textOf(envelope), undefined, { size: undefined, state: undefined }) ?? assert.fail()
  return emptySchema.with(await loadSchema(ask))
}

async function answerOf(topology: FakeTopology, schema?: SchemaModel): Promise<RingAnswer> {
  return await makeRingAnswer(await readNodes(askOf(topology)), replicationOf(schema ?? (await schemaOf())))
}

function read(answer: RingAnswer, id = 1): Ring {
  const envelope = answer.envelope(id)
  return readControl(ringSchema, envelope)
}

const hostIds = (ring: Ring): string[] => ring.nodes.map(({ hostId }) => hostId)

describe('reading the ring', () => {
  it('knows each node with its place and tokens, the node itself included, and replication of what is stored', async () => {
    const { nodes, keyspaces } = read(await answerOf(topologyOf(two, three, one)))
    assert.deepEqual(
      nodes,
      [one, two, three].map((each) => ({ ...each, tokens: [...each.tokens].sort() })),
    )
    const names = keyspaces.map(({ name }) => name)
    assert.deepEqual(names, ['play', 'shop', 'system', 'system_schema'])
    const [play, shop] = keyspaces
    assert.deepEqual(play, { name: 'play', strategy: 'SimpleStrategy', options: [['replication_factor', '1']] })
    const options = [
      ['dc1', '2'],
      ['dc2', '1'],
    ]
    assert.deepEqual(shop, { name: 'shop', strategy: 'NetworkTopologyStrategy', options })
  })

  it('leaves out who has not joined, be it the node itself', async () => {
    const unjoined = [{ tokens: [] }, { rack: '' }, { dataCenter: '' }, { hostId: '' }]
    for (const more of unjoined) {
      assert.deepEqual(hostIds(read(await answerOf(topologyOf(one, place(2, more), three)))), [
        one.hostId,
        three.hostId,
      ])
      assert.deepEqual(hostIds(read(await answerOf(topologyOf(place(2, more), one)))), [one.hostId])
      assert.equal(await answerOf(topologyOf(place(2, more))), noRing)
    }
  })

  it('has a node once, as it says of itself, where it is its own peer too', async () => {
    const { nodes } = read(await answerOf(topologyOf(one, place(1, { rack: 'old' }), two)))
    assert.deepEqual(
      nodes.map(({ rack }) => rack),
      ['rack1', 'rack2'],
    )
  })

  it('asks a node before 4.0 for its older table, and takes no other error for that', async () => {
    const topology = topologyOf(one, two)
    const { digest } = await answerOf(topology)
    topology.hasPeersV2 = false
    assert.equal((await answerOf(topology)).digest, digest)
    const refusing: Ask = async (envelope) =>
      textOf(envelope).includes('peers_v2')
        ? errorEnvelope(4, 0, CqlErrorCode.UNAUTHORIZED, 'no SELECT on system.peers_v2')
        : askOf(topology)(envelope)
    // Of a node's own words nothing is kept that is not known to be harmless.
    await assert.rejects(readNodes(refusing), {
      code: 'UPSTREAM',
      message: 'UNAUTHORIZED: a text of 28 bytes, which is not kept',
    })
  })

  it('tells nothing that a gateway would take for a broken link', async () => {
    const schema = await schemaOf()
    for (const self of [
      // Of RandomPartitioner and ByteOrderedPartitioner.
      place(1, { tokens: ['85070591730234615865843651857942052864'] }),
      place(1, { tokens: ['ab'] }),
      place(1, { dataCenter: 'x'.repeat(129) }),
      place(1, { tokens: Array.from({ length: 4097 }, (_, i) => String(i)) }),
    ]) {
      await assert.rejects(answerOf(topologyOf(self, two), schema), { code: 'UPSTREAM', message: /cannot tell/ })
    }
    const many = (count: number): FakePlace[] =>
      Array.from({ length: count }, (_, i) => {
        const hostId = `00000000-0000-4000-8001-${String(i).padStart(12, '0')}`
        return { ...two, hostId, tokens: [String(i)] }
      })
    assert.equal(read(await answerOf(topologyOf(one, ...many(4095)), schema)).nodes.length, 4096)
    await assert.rejects(answerOf(topologyOf(one, ...many(4096)), schema), { message: /more than 4096 nodes/ })
    const rows = await readNodes(askOf(topologyOf(one, two)))
    const { nodes, keyspaces } = read(await makeRingAnswer(rows, []))
    const contentBytes = JSON.stringify({ nodes, keyspaces }).length - 2
    assert.equal(read(await makeRingAnswer(rows, [], contentBytes)).nodes.length, 2)
    await assert.rejects(makeRingAnswer(rows, [], contentBytes - 1), { message: /more than \d+ bytes/ })
    const wide = await schemaOf({ class: 'org.example.Own', [`x${'y'.repeat(256)}`]: '1' })
    await assert.rejects(answerOf(topologyOf(one), wide), { message: /the keyspaces/ })
  })
})

describe('the digest of the ring', () => {
  it('is the same at each node, in whatever order rows and options come', async () => {
    const answers = await Promise.all([
      answerOf(topologyOf(one, two, three)),
      answerOf(topologyOf(two, three, one)),
      answerOf(topologyOf(three, two, one), await schemaOf(Object.fromEntries(Object.entries(twoAndOne).reverse()))),
    ])
    const tokensType = setOf(native('text'))
    const backwards = (await readNodes(askOf(topologyOf(one, two, three)))).reverse().map(([id, dc, rack, tokens]) => {
      const reversed = (decodeValue(tokensType, tokens ?? null) as string[]).reverse()
      return [id!, dc!, rack!, encodeValue(tokensType, reversed)]
    })
    answers.push(await makeRingAnswer(backwards, replicationOf(await schemaOf())))
    assert.equal(new Set(answers.map(({ digest }) => digest)).size, 1)
  })

  it('is another for each thing that routing looks at', async () => {
    const base = await answerOf(topologyOf(one, two, three))
    const others = {
      'a token': answerOf(topologyOf(one, two, { ...three, tokens: three.tokens.slice(1) })),
      'a rack': answerOf(topologyOf(one, two, { ...three, rack: 'rack9' })),
      'a data centre': answerOf(topologyOf(one, two, { ...three, dataCenter: 'dc3' })),
      'a node less': answerOf(topologyOf(one, two)),
      'a node replaced': answerOf(topologyOf(one, two, { ...three, hostId: place(4).hostId })),
      'a factor': answerOf(topologyOf(one, two, three), await schemaOf({ ...twoAndOne, dc1: '1' })),
      'a strategy': answerOf(topologyOf(one, two, three), await schemaOf({ ...twoAndOne, class: 'Other' })),
    }
    const digests = new Set([base.digest])
    for (const [what, answer] of Object.entries(others)) {
      const { digest } = await answer
      assert.ok(!digests.has(digest), what)
      digests.add(digest)
    }
  })

  it('is the SHA-256 of what the answer says, whatever question it answers', async () => {
    const answer = await answerOf(topologyOf(one, two, three))
    for (const id of [0, 7, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      const { nodes, keyspaces, ...rest } = read(answer, id)
      const content = JSON.stringify({ nodes, keyspaces }).slice(1, -1)
      const digest = createHash('sha256').update(content).digest('base64url')
      assert.deepEqual(rest, { id, digest })
      assert.equal(answer.digest, digest)
    }
    assert.deepEqual(read(noRing, 3), { id: 3, digest: '', nodes: [], keyspaces: [] })
  })

  it('of a thousand nodes is made without holding anybody up, and its answer only once', async () => {
    const places = Array.from({ length: 1000 }, (_, turn) => {
      const hostId = `00000000-0000-4000-8000-${String(turn).padStart(12, '0')}`
      return { ...one, hostId, tokens: evenTokens(turn, 1000, 256) }
    })
    const [self, ...peers] = places
    const rows = await readNodes(askOf(topologyOf(self!, ...peers)))
    let turns = 0
    let isMade = false
    const count = (): void => {
      turns++
      if (!isMade) setImmediate(count)
    }
    setImmediate(count)
    const answer = await makeRingAnswer(rows, [])
    isMade = true
    assert.ok(turns >= 1000, `${turns} turns`)
    const envelope = answer.envelope(1)
    assert.ok(envelope.length > 5_000_000)
    assert.equal(answer.envelope(2), envelope)
    assert.equal(read(answer).nodes.length, 1000)
  })
})

/** A node that counts how often its ring is read; the test decides when it answers. */
class RingPeer implements SchemaPeer {
  readonly topology: FakeTopology
  usable = true
  /** Set: a reading waits for it. */
  held: Promise<void> | undefined
  reads = 0

  constructor(topology: FakeTopology) {
    this.topology = topology
  }

  ask = async (envelope: Buffer): Promise<Buffer> => {
    const text = textOf(envelope)
    if (text.includes('system.local')) this.reads++
    const answer = this.topology.answer(4, 0, text) ?? assert.fail(text)
    await this.held
    if (!this.usable) throw new RingfenceError('UPSTREAM', 'connection to the node lost')
    return answer
  }
}

/** A ring that is watched, with timers that stand still. */
class Watched {
  readonly peer: RingPeer
  readonly watch: RingWatch
  /** What was told, oldest first. */
  readonly digests: string[] = []
  readonly #callbacks = new Set<(epoch: number) => void>()
  readonly #schema: { view: SchemaModel; readonly onChange: SchemaWatch['onChange'] }

  constructor(view: SchemaModel, topology: FakeTopology) {
    this.peer = new RingPeer(topology)
    const callbacks = this.#callbacks
    this.#schema = {
      view,
      onChange: (callback) => {
        callbacks.add(callback)
        return () => callbacks.delete(callback)
      },
    }
    this.watch = new RingWatch({ log, schema: this.#schema, onChange: (digest) => this.digests.push(digest) })
    this.watch.start()
  }

  migrate(view: SchemaModel): void {
    this.#schema.view = view
    for (const callback of this.#callbacks) callback(view.epoch)
  }
}

/** Lets what was begun come to its end. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms)
  await settle()
}

describe('watching the ring', () => {
  let watched: Watched
  beforeEach(async () => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
    watched = new Watched(await schemaOf(), topologyOf(one, two))
    watched.watch.attach(watched.peer)
    await settle()
  })
  afterEach(() => {
    watched.watch.stop()
    mock.timers.reset()
  })

  it('tells of the ring when a node is attached, and again only when the content is another', async () => {
    const { watch, peer, digests } = watched
    assert.deepEqual(digests, [watch.answer.digest])
    watch.changed()
    await settle()
    assert.deepEqual([peer.reads, digests.length], [2, 1])
    peer.topology.peers = [two, three]
    watch.changed()
    await settle()
    assert.deepEqual(digests.slice(1), [watch.answer.digest])
    assert.equal(read(watch.answer).nodes.length, 3)
  })

  it('sees what a node writes after it told of it', async () => {
    const { watch, peer, digests } = watched
    watch.changed()
    await settle()
    peer.topology.peers = [two, three]
    await pass(999)
    assert.deepEqual([peer.reads, digests.length], [2, 1])
    await pass(1)
    assert.deepEqual([peer.reads, digests.length], [3, 2])
    peer.topology.peers = [three]
    await pass(3999)
    assert.deepEqual([peer.reads, digests.length], [3, 2])
    await pass(1)
    assert.deepEqual([peer.reads, digests.length], [4, 3])
    await pass(20_000)
    assert.equal(peer.reads, 4)
  })

  it('sees what nobody told of, half a minute later', async () => {
    const { peer, digests } = watched
    peer.topology.peers = [two, three]
    await pass(29_999)
    assert.deepEqual([peer.reads, digests.length], [1, 1])
    await pass(1)
    assert.deepEqual([peer.reads, digests.length], [2, 2])
  })

  it('has one reading in flight, one waiting and two to come, however often it is told', async () => {
    const { watch, peer } = watched
    const held = Promise.withResolvers<void>()
    peer.held = held.promise
    for (let i = 0; i < 100; i++) watch.changed()
    await settle()
    assert.equal(peer.reads, 2)
    held.resolve()
    await settle()
    assert.equal(peer.reads, 3)
    await pass(10_000)
    assert.equal(peer.reads, 5)
  })

  it('follows replication, and does not ask for a change of the schema that is none of it', async () => {
    const { peer, digests } = watched
    const base = await schemaOf()
    watched.migrate(base.withKeyspace('play', { ...base.keyspace('play')!, tables: new Map(), digest: 'other' }))
    await settle()
    assert.equal(peer.reads, 1)
    watched.migrate(await schemaOf({ ...twoAndOne, dc1: '1' }))
    await settle()
    assert.deepEqual([peer.reads, digests.length], [2, 2])
    assert.deepEqual(read(watched.watch.answer).keyspaces[1]?.options[0], ['dc1', '1'])
  })

  it('stays as it was while the node does not answer, or answers what cannot be told', async () => {
    const { watch, peer, digests } = watched
    peer.topology.peers = [two, three]
    peer.usable = false
    watch.changed()
    await settle()
    assert.deepEqual(digests, [watch.answer.digest])
    peer.usable = true
    peer.topology.peers = [place(2, { tokens: ['no token'] })]
    await pass(1000)
    assert.deepEqual(digests, [watch.answer.digest])
    assert.equal(read(watch.answer).nodes.length, 2)
    peer.topology.peers = [two, three]
    await pass(4000)
    assert.equal(read(watch.answer).nodes.length, 3)
  })

  it('asks nobody while no node is attached, and the new one of two', async () => {
    const { watch, peer, digests } = watched
    watch.detach(peer)
    watch.changed()
    await pass(30_000)
    assert.equal(peer.reads, 1)
    const held = Promise.withResolvers<void>()
    const [old, next] = [new RingPeer(topologyOf(one)), new RingPeer(topologyOf(one, two, three))]
    old.held = held.promise
    watch.attach(old)
    await settle()
    watch.attach(next)
    watch.detach(old)
    held.resolve()
    await settle()
    assert.deepEqual([old.reads, next.reads, digests.length], [1, 1, 2])
    assert.equal(read(watch.answer).nodes.length, 3)
  })

  it('leaves no timer when it is stopped', async () => {
    const { watch, peer } = watched
    watch.changed()
    await settle()
    watch.stop()
    const { reads } = peer
    watched.migrate(await schemaOf({ ...twoAndOne, dc1: '1' }))
    await pass(60_000)
    assert.equal(peer.reads, reads)
  })
})

describe('a gateway that asks sidecars', () => {
  const orders: FakeTable = {
    keyspace: 'shop',
    name: 'orders',
    // Not in the order of the alphabet, so that only the positions say which is first.
    partitionKey: { tenant: 'text', day: 'date' },
    clusteringKey: { line: 'int' },
  }
  const view: FakeTable = { keyspace: 'shop', name: 'by_day', partitionKey: { day: 'date' }, base: 'orders' }
  const wide: FakeTable = {
    keyspace: 'shop',
    name: 'wide',
    partitionKey: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'int'])),
  }
  let world: World
  let sidecars: RunningSidecar[]

  before(async () => {
    world = await World.make()
    sidecars = await world.ring(3, { dataCenters: ['dc1', 'dc2'], replication: { dc1: 2, dc2: 1 } })
  })
  after(() => world.close())

  const links: RawLink[] = []
  afterEach(() => {
    for (const { socket } of links.splice(0)) socket.destroy()
  })

  /** Its sidecar has told of a ring. */
  async function linkTo({ port }: RunningSidecar): Promise<RawLink> {
    const link = await RawLink.open(port, await world.credentials('ringfence/gateway/gateway1'))
    links.push(link)
    await until('the ring', () => (link.hello?.ring ?? '') !== '')
    return link
  }

  const topologyEvent = { type: 'TOPOLOGY_CHANGE', change: 'NEW_NODE', address: '127.0.0.1', port: 7000 } as const

  it('hears which node is which, and of one ring from all of them', async () => {
    const told = await Promise.all(sidecars.map(linkTo))
    for (const [i, { hello }] of told.entries()) {
      const { hostId, dataCenter } = sidecars[i]!.node.topology.place
      assert.deepEqual([hello?.ready, hello?.hostId, hello?.dataCenter], [true, hostId, dataCenter])
      assert.equal(hello?.schemaEpoch, 1)
    }
    const rings = await Promise.all(told.map((link) => link.ring(7)))
    for (const [i, ring] of rings.entries()) {
      assert.equal(ring.digest, told[i]?.hello?.ring)
      assert.deepEqual(ring, rings[0])
    }
    const [ring] = rings
    const owned = ring!.nodes.map(({ dataCenter, tokens }) => `${dataCenter} ${tokens.length}`)
    assert.deepEqual(owned, ['dc1 4', 'dc2 4', 'dc1 4'])
    assert.deepEqual(ring?.keyspaces.find(({ name }) => name === 'shop')?.options, [
      ['dc1', '2'],
      ['dc2', '1'],
    ])
  })

  it('is told the key of a table or view, and none of what is virtual or not there', async () => {
    const [, , running] = sidecars
    running!.node.migrate(orders, view, wide)
    const link = await linkTo(running!)
    await until('the tables', () => link.hello?.schemaEpoch === 2)
    const key = (keyspace: string, table: string) => link.partitionKey(keyspace, table)
    assert.deepEqual(await key('shop', 'orders'), ['tenant', 'day'])
    assert.deepEqual(await key('shop', 'by_day'), ['day'])
    assert.deepEqual(await key('system_schema', 'tables'), ['keyspace_name'])
    assert.deepEqual(await key('system_views', 'clients'), [])
    assert.deepEqual(await key('shop', 'nothing'), [])
    for (const name of ['__proto__', 'constructor', '']) {
      assert.deepEqual(await key(name, name), [])
      assert.deepEqual(await key('shop', name), [])
    }
    // One column more than the message holds.
    assert.deepEqual(await key('shop', 'wide'), [])
    assert.equal(link.closed, false)
  })

  it('hears on every link of a ring that changed, and of a node’s second thought', async () => {
    const running = sidecars[0]!
    const { topology } = running.node
    const [first, second] = [await linkTo(running), await linkTo(running)]
    const old = await first.ring()
    const { peers } = topology
    topology.peers = peers.slice(1)
    running.node.emit(topologyEvent)
    await until('the news', () => first.hello?.ring !== old.digest && second.hello?.ring !== old.digest)
    const { digest, nodes } = await second.ring()
    assert.equal(digest, first.hello?.ring)
    assert.equal(nodes.length, 2)
    // A status too is a reason to look, and what is written only after the event is seen without another one.
    running.node.emit({ ...topologyEvent, type: 'STATUS_CHANGE', change: 'UP' })
    await sleep(100)
    topology.peers = peers
    await until('the ring as it was', () => first.hello?.ring === old.digest, 3000)
    assert.deepEqual((await first.ring()).nodes, old.nodes)
  })

  it('hears of each change of the schema, and of another ring where replication changed', async () => {
    const running = sidecars[1]!
    const link = await linkTo(running)
    const { hello } = link
    running.node.migrate(orders)
    await until('the epoch', () => link.hello?.schemaEpoch === 2)
    assert.equal(link.hello?.ring, hello?.ring)
    running.node.schema.replication.set('shop', new Map(Object.entries({ ...twoAndOne, dc1: '1' })))
    const change = { change: 'UPDATED', target: 'KEYSPACE', keyspace: 'shop', name: '', argTypes: [] }
    running.node.emit({ type: 'SCHEMA_CHANGE', ...change })
    await until('the ring', () => link.hello?.ring !== hello?.ring)
    assert.equal(link.hello?.schemaEpoch, 3)
    assert.deepEqual((await link.ring()).keyspaces.find(({ name }) => name === 'shop')?.options[0], ['dc1', '1'])
  })

  const malformed: Record<string, [number, unknown]> = {
    'a TABLE_QUERY without a table': [Control.TABLE_QUERY, { id: 99, keyspace: 'shop' }],
    'a TABLE_QUERY with a name that is none': [Control.TABLE_QUERY, { id: 99, keyspace: 'shop', table: 7 }],
    'a TABLE_QUERY with a name too long': [Control.TABLE_QUERY, { id: 99, keyspace: 'shop', table: 'x'.repeat(257) }],
    'a TABLE_QUERY with a field nobody knows': [Control.TABLE_QUERY, { id: 99, keyspace: '', table: '', more: 1 }],
    'a RING_QUERY without an id': [Control.RING_QUERY, {}],
    'a RING_QUERY with an id that is no number': [Control.RING_QUERY, { id: '1' }],
  }
  for (const [what, [opcode, body]] of Object.entries(malformed)) {
    it(`is told nothing for ${what}, and keeps its link`, async () => {
      const running = sidecars[0]!
      const link = await linkTo(running)
      link.send(0, controlEnvelope(opcode, body))
      // What comes after it is answered, so it was passed by.
      assert.deepEqual(await link.partitionKey('shop', 'items'), ['k'])
      assert.equal(link.closed, false)
      assert.deepEqual([...link.bodies(Control.RING, ringSchema)], [])
    })
  }

  it('keeps the ring of a node that went away, and hears which one came back in its place', async () => {
    const running = await world.sidecar({ node: await world.node(one, [two]) })
    const { node } = running
    const link = await linkTo(running)
    const { hello } = link
    await node.stop()
    await until('the loss', () => link.hello?.ready === false)
    assert.deepEqual({ ...link.hello, ready: true }, hello)
    assert.equal((await link.ring()).nodes.length, 2)
    node.topology.place = { ...three, dataCenter: 'dc1' }
    await node.start()
    await until('the ring', () => link.hello?.ready === true && link.hello.ring !== hello?.ring)
    assert.equal(link.hello?.hostId, three.hostId)
    assert.deepEqual(hostIds(await link.ring()), [two.hostId, three.hostId])
  })

  it('is served by a node whose ring cannot be read, with an answer that says so', async () => {
    const node = await world.node(one)
    node.interceptOwn = ({ text, reply }) => {
      if (!text.includes('system.peers')) return false
      reply(errorEnvelope(4, 0, CqlErrorCode.UNAUTHORIZED, 'no'))
      return true
    }
    const { port } = await world.sidecar({ node })
    const link = await RawLink.open(port, await world.credentials('ringfence/gateway/gateway1'))
    links.push(link)
    await until('the node', () => link.hello?.ready === true)
    assert.deepEqual([link.hello?.hostId, link.hello?.ring], [one.hostId, ''])
    assert.deepEqual(await link.ring(5), { id: 5, digest: '', nodes: [], keyspaces: [] })
    assert.deepEqual(await link.partitionKey('shop', 'items'), ['k'])
  })
})
