import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { pino } from 'pino'
import { RingfenceError } from '../../src/base/errors.ts'
import { errorEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode } from '../../src/cql/protocol.ts'
import { QueryView, readQuery } from '../../src/cql/requests.ts'
import { native } from '../../src/cql/types.ts'
import { Turn } from '../../src/session/turn.ts'
import { NodeMonitor } from '../../src/sidecar/node.ts'
import { type Ask, loadKeyspace, loadSchema } from '../../src/sidecar/schema/load.ts'
import { emptySchema } from '../../src/sidecar/schema/model.ts'
import { type SchemaPeer, SchemaWatch } from '../../src/sidecar/schema/watch.ts'
import type { FakeNode } from './fake-node.ts'
import { FakeSchema, type FakeTable } from './fake-schema.ts'
import { Turns } from './turns.ts'
import { until, World } from './world.ts'

const log = pino({ level: 'silent' })

const orders: FakeTable = {
  keyspace: 'shop',
  name: 'orders',
  // Not in the order of the alphabet, so that only the positions say which is first.
  partitionKey: { tenant: 'text', day: 'date' },
  clusteringKey: { placed: 'timeuuid', line: 'int' },
  statics: { owner: 'text' },
  regulars: { total: 'decimal', labels: 'frozen<map<text, int>>', __proto__x: 'blob', constructor: 'text' },
  defaultTtlSeconds: 86_400,
  indexes: ['orders_by_total', '__proto__'],
}
const view: FakeTable = {
  keyspace: 'shop',
  name: 'orders_by_day',
  partitionKey: { day: 'date' },
  clusteringKey: { tenant: 'text' },
  base: 'orders',
}

/** Answers as a node would, at once. */
function askOf(schema: FakeSchema, pages?: string[]): Ask {
  return async (envelope) => {
    const { params, text } = read(envelope)
    pages?.push(text)
    const value = params.valueCount > 0 && params.valueAt(0) >= 0 ? params : undefined
    const bound = value && envelope.toString('utf8', value.valueStart, value.valueEnd)
    const state =
      params.pagingStateStart < 0 ? undefined : envelope.subarray(params.pagingStateStart, params.pagingStateEnd)
    return schema.answer(4, 0, text, bound, { size: params.pageSize, state }) ?? assert.fail(text)
  }
}

function read(envelope: Buffer): QueryView {
  const query = new QueryView()
  readQuery(query, wholeEnvelope(envelope), 4)
  return query
}

describe('loading the schema', () => {
  it('knows keys in their order, kinds, types, views, indexes, time to live and replication', async () => {
    const schema = new FakeSchema()
    schema.add(orders, view)
    const options = { class: 'org.apache.cassandra.locator.NetworkTopologyStrategy', dc1: '3', dc2: '2' }
    schema.replication.set('shop', new Map(Object.entries(options)))
    const model = emptySchema.with(await loadSchema(askOf(schema)))
    const table = model.table('shop', 'orders') ?? assert.fail()
    assert.deepEqual(table.partitionKey, ['tenant', 'day'])
    assert.deepEqual(table.clusteringKey, ['placed', 'line'])
    const others = ['owner', '__proto__x', 'constructor', 'labels', 'total']
    assert.deepEqual(table.columns, ['tenant', 'day', 'placed', 'line', ...others])
    assert.deepEqual([...table.definitions.keys()], table.columns)
    assert.deepEqual(table.definitions.get('labels'), {
      name: 'labels',
      kind: 'regular',
      position: -1,
      type: 'frozen<map<text, int>>',
    })
    assert.deepEqual(table.definitions.get('day'), { name: 'day', kind: 'partition_key', position: 1, type: 'date' })
    assert.equal(table.definitions.get('owner')?.kind, 'static')
    assert.equal(table.defaultTtlSeconds, 86_400)
    assert.equal(table.base, undefined)
    assert.equal(model.table('shop', 'items')?.defaultTtlSeconds, 0)
    assert.equal(model.table('shop', 'orders_by_day')?.base, 'orders')
    assert.equal(model.indexedTable('shop', 'orders_by_total'), 'orders')
    assert.equal(model.indexedTable('shop', '__proto__'), 'orders')
    const { replication } = model.keyspace('shop') ?? assert.fail()
    assert.equal(replication?.strategy, 'NetworkTopologyStrategy')
    assert.deepEqual(
      [...(replication?.options ?? [])],
      [
        ['dc1', '3'],
        ['dc2', '2'],
      ],
    )
  })

  it('knows virtual tables, which have no replication', async () => {
    const model = emptySchema.with(await loadSchema(askOf(new FakeSchema())))
    assert.equal(model.table('system_views', 'clients')?.isVirtual, true)
    assert.deepEqual(model.table('system_views', 'clients')?.clusteringKey, ['port'])
    assert.equal(model.keyspace('system_views')?.replication, undefined)
    assert.equal(model.table('shop', 'items')?.isVirtual, false)
  })

  it('knows nothing under names that every object has', async () => {
    const model = emptySchema.with(await loadSchema(askOf(new FakeSchema())))
    for (const name of ['__proto__', 'constructor', 'toString']) {
      assert.equal(model.table(name, name), undefined)
      assert.equal(model.table('shop', name), undefined)
      assert.equal(model.indexedTable('shop', name), undefined)
      assert.equal(model.keyspace(name), undefined)
    }
  })

  it('is the same however the node cuts its pages, and one keyspace is as it is among all', async () => {
    const schema = new FakeSchema()
    schema.add(orders, view)
    const whole = await loadSchema(askOf(schema))
    for (const rows of [1, 2, 7]) {
      schema.pageRowsMax = rows
      const pages: string[] = []
      assert.deepEqual(await loadSchema(askOf(schema, pages)), whole)
      assert.ok(pages.length > 8)
      assert.deepEqual(await loadKeyspace(askOf(schema), 'shop'), whole.get('shop'))
    }
    assert.equal(await loadKeyspace(askOf(schema), 'absent'), undefined)
    assert.equal(await loadKeyspace(askOf(schema), 'system_views'), undefined)
  })

  it('leaves out a table that is seen by halves', async () => {
    const schema = new FakeSchema()
    schema.add(orders)
    const whole = askOf(schema)
    const ask: Ask = async (envelope) => {
      if (!read(envelope).text.includes('system_schema.columns')) return whole(envelope)
      const halves = new FakeSchema()
      halves.add(orders)
      halves.remove('shop', 'items')
      return askOf(halves)(envelope)
    }
    const model = emptySchema.with(await loadSchema(ask))
    assert.equal(model.table('shop', 'items'), undefined)
    assert.ok(model.table('shop', 'orders'))
  })

  it('takes no long turn of the loop, however many tables a keyspace has', async () => {
    const schema = new FakeSchema()
    const regulars = Object.fromEntries(Array.from({ length: 18 }, (_, at) => [`column${at}`, 'text']))
    schema.add(
      ...Array.from({ length: 600 }, (_, at) => ({
        ...orders,
        keyspace: 'large',
        name: `t${at}`,
        statics: {},
        regulars,
      })),
    )
    const known = new Map<string, Promise<Buffer>>()
    const answer = askOf(schema)
    const ask: Ask = async (envelope) => {
      const key = envelope.toString('latin1')
      const made = known.get(key) ?? answer(envelope)
      known.set(key, made)
      await turns()
      return await made
    }
    const whole = await loadSchema(ask)
    assert.equal(whole.get('large')?.tables.size, 600)
    const measured = new Turns()
    const longestMs: number[] = []
    for (let load = 0; load < 4; load++) {
      await turns()
      measured.takeMs()
      await loadSchema(ask)
      await loadKeyspace(ask, 'large')
      await turns()
      longestMs.push(measured.takeMs())
    }
    measured.stop()
    // Ten, and what this machine's clock of CPU does not tell apart. In one go it was 50 to 80.
    assert.ok(Math.min(...longestMs.slice(1)) <= 30, `turns of ${longestMs.join(', ')} ms`)
  })

  it('takes no long turn where a node gives all rows in one page', async () => {
    const schema = new FakeSchema()
    const regulars = Object.fromEntries(Array.from({ length: 18 }, (_, at) => [`column${at}`, 'text']))
    const many = Array.from({ length: 2_000 }, (_, at) => ({ ...orders, keyspace: 'large', name: `t${at}`, regulars }))
    schema.add(...many.map((table) => ({ ...table, indexes: [], statics: {} })))
    const known = new Map<string, Buffer>()
    const ask: Ask = async (envelope) => {
      const { params, text } = read(envelope)
      const isBound = params.valueCount > 0 && params.valueAt(0) >= 0
      const bound = isBound ? envelope.toString('utf8', params.valueStart, params.valueEnd) : undefined
      const key = `${text} ${bound}`
      const answer = known.get(key) ?? schema.answer(4, 0, text, bound, { size: undefined, state: undefined })
      assert.ok(answer)
      known.set(key, answer)
      await turns()
      return answer
    }
    assert.equal((await loadKeyspace(ask, 'large'))?.tables.size, 2_000)
    const measured = new Turns()
    const longestMs: number[] = []
    for (let load = 0; load < 4; load++) {
      await turns()
      measured.takeMs()
      await loadKeyspace(ask, 'large')
      await turns()
      longestMs.push(measured.takeMs())
    }
    measured.stop()
    // Ten, and what this machine's clock of CPU does not tell apart. Read in one go it was 150 and more.
    assert.ok(Math.min(...longestMs) <= 30, `turns of ${longestMs.join(', ')} ms`)
  })

  it('refuses rows that end too early', async () => {
    const schema = new FakeSchema()
    const whole = askOf(schema)
    for (const cut of [1, 3, 5, 20]) {
      const ask: Ask = async (envelope) => {
        const answer = await whole(envelope)
        return read(envelope).text.includes('schema.columns') ? answer.subarray(0, answer.length - cut) : answer
      }
      await assert.rejects(loadKeyspace(ask, 'shop'), { code: 'PROTOCOL' })
    }
  })

  it('stops when a node pages for ever', async () => {
    const schema = new FakeSchema()
    schema.pageRowsMax = 0
    await assert.rejects(loadSchema(askOf(schema)), { code: 'UPSTREAM', message: /more than 1000 pages/ })
  })

  it('says what the node said, in known words', async () => {
    const ask: Ask = async () =>
      errorEnvelope(4, 0, CqlErrorCode.UNAUTHORIZED, 'User x has no SELECT permission on <table t>')
    await assert.rejects(loadSchema(ask), {
      code: 'UPSTREAM',
      message: 'the node refuses this to the mesh, whose role there has no ? permission on',
    })
  })
})

describe('the epoch', () => {
  it('grows with content only, and keyspaces that did not change stay the same objects', async () => {
    const schema = new FakeSchema()
    const one = emptySchema.with(await loadSchema(askOf(schema)))
    assert.equal(one.epoch, 1)
    assert.equal(one.with(await loadSchema(askOf(schema))), one)
    assert.equal(one.withKeyspace('shop', await loadKeyspace(askOf(schema), 'shop')), one)
    schema.add(orders)
    const two = one.withKeyspace('shop', await loadKeyspace(askOf(schema), 'shop'))
    assert.equal(two.epoch, 2)
    assert.equal(two.keyspace('play'), one.keyspace('play'))
    assert.equal(one.table('shop', 'orders'), undefined)
    assert.equal(two.with(await loadSchema(askOf(schema))), two)
    assert.equal(two.withKeyspace('absent', undefined), two)
    const three = two.withKeyspace('play', undefined)
    assert.deepEqual([three.epoch, three.keyspace('play')], [3, undefined])
  })

  it('grows for each thing that a decision may look at', async () => {
    const changes: [string, (schema: FakeSchema) => void][] = [
      ['a column', (schema) => schema.add({ ...orders, regulars: { ...orders.regulars, more: 'text' } })],
      ['a type', (schema) => schema.add({ ...orders, regulars: { ...orders.regulars, total: 'int' } })],
      ['a time to live', (schema) => schema.add({ ...orders, defaultTtlSeconds: 1 })],
      ['an index', (schema) => schema.add({ ...orders, indexes: [] })],
      ['a base', (schema) => schema.add({ ...orders, base: 'items' })],
      ['the key’s order', (schema) => schema.add({ ...orders, partitionKey: { day: 'date', tenant: 'text' } })],
      [
        'replication',
        (schema) => {
          schema.add(orders)
          schema.replication.set('shop', new Map([['class', 'LocalStrategy']]))
        },
      ],
    ]
    const before = new FakeSchema()
    before.add(orders)
    const model = emptySchema.with(await loadSchema(askOf(before)))
    for (const [what, change] of changes) {
      const after = new FakeSchema()
      change(after)
      assert.equal(model.with(await loadSchema(askOf(after))).epoch, 2, what)
    }
  })
})

/** A connection to a node that has `schema`; the test decides when it answers. */
class Peer implements SchemaPeer {
  readonly schema = new FakeSchema()
  usable = true
  version = 1
  asked: string[] = []
  /** What may not be answered yet. */
  hold: RegExp | undefined
  #held: (() => void)[] = []

  ask = async (envelope: Buffer): Promise<Buffer> => {
    const { text } = read(envelope)
    this.asked.push(text)
    const answer = text.includes('schema_version') ? this.#versionRow() : await askOf(this.schema)(envelope)
    if (this.hold?.test(text)) await new Promise<void>((resolve) => this.#held.push(resolve))
    if (!this.usable) throw new RingfenceError('UPSTREAM', 'connection to the node lost')
    return answer
  }

  release(): void {
    this.hold = undefined
    for (const go of this.#held.splice(0)) go()
  }

  migrate(...tables: FakeTable[]): void {
    this.schema.add(...tables)
    this.version++
  }

  /** How often a table of the schema was read, from its beginning. */
  reads(table: string): number {
    return this.asked.filter((text) => text.includes(`system_schema.${table}`)).length
  }

  #versionRow(): Buffer {
    const columns = [{ name: 'schema_version', type: native('uuid') }]
    return rowsEnvelope(4, 0, { keyspace: 'system', table: 'local', columns }, [[Buffer.alloc(16, this.version)]])
  }
}

async function watched(): Promise<{ watch: SchemaWatch; peer: Peer }> {
  const peer = new Peer()
  const watch = new SchemaWatch(log)
  await watch.attach(peer)
  peer.asked = []
  return { watch, peer }
}

const turns = () => new Promise((resolve) => setImmediate(resolve))

describe('watching the schema', () => {
  it('reads one keyspace when that changed, all when nobody says which, and tells of changes only', async () => {
    const { watch, peer } = await watched()
    const epochs: number[] = []
    watch.onChange((epoch) => epochs.push(epoch))
    peer.migrate(orders)
    watch.changed('shop')
    await until('the table', () => watch.view.table('shop', 'orders') !== undefined)
    assert.ok(peer.asked.every((text) => text.includes('WHERE keyspace_name = ?') || text.includes('system.local')))
    watch.changed('play')
    watch.changed()
    await watch.fresh()
    assert.deepEqual(epochs, [2])
    assert.equal(watch.epoch, 2)
  })

  it('forgets a keyspace that was dropped', async () => {
    const { watch, peer } = await watched()
    peer.schema.remove('shop', 'items')
    watch.changed('shop')
    await until('the loss', () => watch.view.keyspace('shop') === undefined)
    assert.ok(watch.view.table('play', 'things'))
  })

  it('has one load in flight and one waiting, however many ask', async () => {
    const { watch, peer } = await watched()
    peer.hold = /system_schema.columns/
    for (let i = 0; i < 100; i++) watch.changed()
    await turns()
    assert.equal(peer.reads('columns'), 1)
    for (let i = 0; i < 100; i++) watch.changed('shop')
    peer.release()
    await watch.fresh()
    assert.equal(peer.reads('columns'), 2)
  })

  it('reads up to eight changed keyspaces by themselves, and everything when there are more', async () => {
    for (const [count, reads, whole] of [
      [8, 9, 0],
      [9, 2, 1],
    ] as const) {
      const { watch, peer } = await watched()
      peer.hold = /schema_version/
      watch.changed('play')
      await turns()
      for (let i = 0; i < count; i++) watch.changed(`ks${i}`)
      peer.release()
      await until('the reads', () => peer.reads('columns') === reads)
      const ofAll = peer.asked.filter((text) => text.includes('system_schema.columns') && !text.includes('WHERE'))
      assert.equal(ofAll.length, whole)
    }
  })

  it('is fresh with a load that began after the question, not with one that was under way', async () => {
    const { watch, peer } = await watched()
    peer.hold = /system_schema.columns/
    watch.changed()
    await turns()
    // Too late for the load that runs: its rows were read already.
    peer.migrate(orders)
    let resolved = false
    const fresh = watch.fresh().then(() => {
      resolved = true
    })
    await turns()
    assert.equal(resolved, false)
    peer.release()
    await fresh
    assert.ok(watch.view.table('shop', 'orders'))
  })

  it('costs one small question where the version is the one that was read', async () => {
    const { watch, peer } = await watched()
    for (let i = 0; i < 5; i++) await watch.fresh()
    assert.deepEqual(new Set(peer.asked), new Set(['SELECT schema_version FROM system.local']))
    peer.migrate(orders)
    await watch.fresh()
    assert.equal(peer.reads('columns'), 1)
    assert.ok(watch.view.table('shop', 'orders'))
  })

  it('does not rest on a version that changed while it read', async () => {
    const { watch, peer } = await watched()
    peer.hold = /system_schema.columns/
    peer.version++
    const fresh = watch.fresh()
    await turns()
    await turns()
    peer.migrate(orders)
    peer.release()
    await fresh
    await watch.fresh()
    assert.ok(watch.view.table('shop', 'orders'))
  })

  it('makes good an event that was lost, as soon as it hears the version', async () => {
    const { watch, peer } = await watched()
    const version = (n: number) =>
      Buffer.alloc(16, n)
        .toString('hex')
        .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    watch.heard(version(1))
    await turns()
    assert.deepEqual(peer.asked, [])
    peer.migrate(orders)
    watch.heard(version(2))
    await until('the table', () => watch.view.table('shop', 'orders') !== undefined)
  })

  it('goes over to a new connection, and back to the old one where the new one fails', async () => {
    const { watch, peer } = await watched()
    const broken = new Peer()
    broken.usable = false
    await assert.rejects(watch.attach(broken), { code: 'UPSTREAM' })
    await watch.fresh()
    // A load that is under way on the old connection when it closes is done on the new one.
    const next = new Peer()
    next.migrate(orders)
    peer.hold = /system_schema.columns/
    peer.version = 9
    const fresh = watch.fresh()
    await turns()
    await turns()
    const attached = watch.attach(next)
    peer.usable = false
    peer.release()
    await Promise.all([fresh, attached])
    assert.ok(watch.view.table('shop', 'orders'))
  })

  it('keeps what it knows while the node is away, and says so to who asks for more', async () => {
    const { watch, peer } = await watched()
    watch.detach(peer)
    await assert.rejects(watch.fresh(), { code: 'UPSTREAM', message: 'the node is away' })
    watch.changed()
    await turns()
    assert.ok(watch.view.table('shop', 'items'))
  })

  it('gives up a question after five seconds, and not the load', async (t) => {
    const { watch, peer } = await watched()
    peer.hold = /schema_version/
    peer.migrate(orders)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const asked = assert.rejects(watch.fresh(), { code: 'UPSTREAM', message: /could not be read in time/ })
    t.mock.timers.tick(5000)
    await asked
    t.mock.timers.reset()
    peer.release()
    await until('the table', () => watch.view.table('shop', 'orders') !== undefined)
  })

  it('tries a change again that could not be read', async () => {
    const { watch, peer } = await watched()
    peer.migrate(orders)
    peer.hold = /schema_version/
    peer.usable = false
    watch.changed('shop')
    peer.release()
    await turns()
    peer.usable = true
    await until('the table', () => watch.view.table('shop', 'orders') !== undefined)
  })
})

describe('the schema at a node’s own connection', () => {
  let world: World
  const monitors: NodeMonitor[] = []
  before(async () => {
    world = await World.make()
  })
  after(() => world.close())
  afterEach(() => {
    for (const monitor of monitors.splice(0)) monitor.stop()
  })

  async function monitorOf(node: FakeNode): Promise<NodeMonitor> {
    const target = { address: '127.0.0.1', port: node.port, spiffeId: undefined }
    const credentials = await world.credentials('ringfence/sidecar/test/dc1/node1')
    const options = { name: 'node1', target, turn: new Turn(), log, inForce: () => false, onEvent() {}, onChange() {} }
    const monitor = new NodeMonitor(options, credentials)
    monitors.push(monitor)
    monitor.start()
    return monitor
  }

  it('is there before the node counts as ready', async () => {
    const node = await world.node()
    const held: (() => void)[] = []
    node.interceptOwn = ({ text, answer }) => text.includes('system_schema.columns') && held.push(answer) > 0
    const monitor = await monitorOf(node)
    await until('the question', () => held.length === 1)
    assert.equal(monitor.hello.ready, false)
    assert.equal(monitor.schema.epoch, 0)
    for (const answer of held) answer()
    await until('the node', () => monitor.hello.ready)
    assert.equal(monitor.schema.epoch, 1)
    assert.ok(monitor.schema.view.table('shop', 'items'))
  })

  it('does not count as ready while its schema is refused', async () => {
    const node = await world.node()
    let refusals = 0
    node.interceptOwn = ({ text, reply }) => {
      if (!text.includes('system_schema.tables') || refusals === 2) return false
      refusals++
      reply(errorEnvelope(4, 0, CqlErrorCode.UNAUTHORIZED, 'no'))
      return true
    }
    const monitor = await monitorOf(node)
    await until('the node', () => monitor.hello.ready)
    assert.equal(refusals, 2)
    // What did not work was closed.
    await until('one connection', () => node.connections.size === 1)
  })

  it('follows what the node tells, over a new connection too', async () => {
    const node = await world.node()
    const monitor = await monitorOf(node)
    await until('the node', () => monitor.hello.ready)
    const epochs: number[] = []
    monitor.schema.onChange((epoch) => epochs.push(epoch))
    node.migrate(orders)
    await until('the table', () => monitor.schema.view.table('shop', 'orders') !== undefined)
    assert.deepEqual(epochs, [2])
    monitor.setCredentials(await world.freshCredentials('ringfence/sidecar/test/dc1/node1'))
    await until('another connection', () => node.accepted === 2 && node.connections.size === 1)
    node.migrate(view)
    await until('the view', () => monitor.schema.view.table('shop', 'orders_by_day') !== undefined)
    assert.deepEqual(epochs, [2, 3])
  })

  it('is read again when the node was away', async () => {
    const node = await world.node()
    const monitor = await monitorOf(node)
    await until('the node', () => monitor.hello.ready)
    await node.stop()
    await until('the loss', () => !monitor.hello.ready)
    await assert.rejects(monitor.schema.fresh(), { code: 'UPSTREAM' })
    assert.ok(monitor.schema.view.table('shop', 'items'))
    node.schema.add(orders)
    await node.start()
    await until('the node', () => monitor.hello.ready)
    assert.ok(monitor.schema.view.table('shop', 'orders'))
  })
})
