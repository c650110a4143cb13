/** Questions about the schema of one who may not see all of it: answered as if only what it may see existed. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readPrepared, readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningSidecar, usualPolicy, World } from './world.ts'

let world: World
let running: RunningSidecar
let bob: RawClient

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  running.node.migrate(
    ...['a_hidden', 'm_hidden', 'z_hidden'].map((name) => ({ keyspace: 'play', name, partitionKey: { k: 'text' } })),
    ...['a', 'b', 'c'].map((name) => ({ keyspace: 'shop', name, partitionKey: { k: 'text' } })),
  )
  bob = await world.client(running.port, 'bob')
})
after(() => {
  bob.close()
  return world.close()
})
beforeEach(() => {
  running.node.requests.length = 0
  running.feed.apply(usualPolicy)
})

async function rows(text: string, options: Parameters<typeof queryEnvelope>[3] = {}): Promise<string[]> {
  const answer = await bob.ask(queryEnvelope(4, 7, text, options))
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${text}: ${describe(answer)}`)
  // The fake node says no columns, so those in the answer are the executor's own.
  const read = readRows(wholeEnvelope(answer), 4)
  return read.rows.map((row) =>
    row
      .map((cell, at) => (read.columns[at]?.type.kind === 'bigint' ? cell?.readBigInt64BE(0) : cell))
      .map((cell) => cell?.toString() ?? 'null')
      .join(),
  )
}

const T = 'system_schema.tables'

suite('values that are bound to a question', () => {
  it('are taken up to 32 KiB, and refused beyond before they are looked at', async () => {
    const text = `SELECT table_name FROM ${T} WHERE keyspace_name = ?`
    assert.deepEqual(await rows(text, { values: [Buffer.from('shop')] }), ['a', 'b', 'c', 'items'])
    assert.deepEqual(await rows(text, { values: [Buffer.alloc(32_000, 'k')] }), [])
    for (const bytes of [33_000, 15 * 1024 * 1024]) {
      const refused = await bob.ask(queryEnvelope(4, 7, text, { values: [Buffer.alloc(bytes, 'k')] }))
      assert.match(describe(refused), /^0x2200 values of more than 32768 bytes/)
    }
  })
})

suite('what is hidden', () => {
  it('is in no aggregate, group, limit or range', async () => {
    const shop = `keyspace_name = 'shop'`
    for (const [text, wanted] of [
      [`SELECT count(*) FROM ${T} WHERE keyspace_name = 'play'`, ['0']],
      [`SELECT count(*) FROM ${T} WHERE keyspace_name = 'not_there'`, ['0']],
      [`SELECT count(*) FROM system_schema.keyspaces WHERE keyspace_name = 'play'`, ['0']],
      [`SELECT keyspace_name, max(table_name), count(*) FROM ${T} WHERE keyspace_name = 'play'`, ['null,null,0']],
      [`SELECT keyspace_name, max(table_name), count(*) FROM ${T} WHERE ${shop}`, ['shop,items,4']],
      [`SELECT min(table_name), count(1), count(table_name) FROM ${T} WHERE ${shop}`, ['a,4,4']],
      [
        `SELECT keyspace_name, count(*) FROM ${T} WHERE keyspace_name IN ('play', 'shop') GROUP BY keyspace_name`,
        ['shop,4'],
      ],
      [`SELECT table_name FROM ${T} WHERE ${shop} AND table_name >= 'b' LIMIT 1`, ['b']],
      [`SELECT table_name FROM ${T} WHERE keyspace_name IN ('play', 'shop') LIMIT 2`, ['a', 'b']],
      [`SELECT table_name FROM ${T} WHERE keyspace_name IN ('play', 'shop') PER PARTITION LIMIT 1`, ['a']],
      [`SELECT table_name FROM ${T} WHERE ${shop} ORDER BY table_name DESC LIMIT 1`, ['items']],
      [`SELECT DISTINCT keyspace_name FROM ${T} WHERE keyspace_name IN ('play', 'shop')`, ['shop']],
      [`SELECT JSON keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = 'play'`, []],
      [
        `SELECT JSON keyspace_name AS "K" FROM system_schema.keyspaces WHERE keyspace_name = 'shop'`,
        ['{"\\"K\\"": "shop"}'],
      ],
      [`SELECT JSON count(*) FROM ${T} WHERE keyspace_name = 'play'`, ['{"count": 0}']],
      [`SELECT table_name FROM ${T} WHERE table_name > 'm' AND table_name < 'n' ALLOW FILTERING`, []],
      [`SELECT keyspace_name FROM system_virtual_schema.keyspaces`, ['system_views']],
    ] as const) {
      assert.deepEqual(await rows(text), wanted, text)
    }
    // The node computed nothing for it.
    assert.deepEqual(running.node.texts(), [])
  })

  it('is in no page: each is full but the last, and none is empty', async () => {
    for (const size of [1, 2, 3, 50]) {
      const pages: number[] = []
      const found: string[] = []
      let state: Buffer | undefined
      do {
        const text = `SELECT keyspace_name, table_name FROM ${T} WHERE keyspace_name IN ('play', 'shop', 'not_there')`
        const answer = await bob.ask(
          queryEnvelope(4, 7, text, { pageSize: size, ...(state === undefined ? {} : { pagingState: state }) }),
        )
        const page = readRows(wholeEnvelope(answer), 4)
        pages.push(page.rows.length)
        found.push(...page.rows.map((row) => String(row[1])))
        state = page.pagingState ?? undefined
      } while (state !== undefined)
      assert.deepEqual(found, ['a', 'b', 'c', 'items'])
      assert.ok(
        pages.every((rowCount, i) => (i + 1 < pages.length ? rowCount === size : rowCount > 0)),
        pages.join(),
      )
    }
  })

  it('is gone in the middle of pages when the policy takes it away, and there as soon as it gives it', async () => {
    const text = `SELECT table_name FROM ${T} WHERE keyspace_name = 'shop'`
    const first = await bob.ask(queryEnvelope(4, 7, text, { pageSize: 1 }))
    const { pagingState } = readRows(wholeEnvelope(first), 4)
    running.feed.apply(usualPolicy.replace('keyspaces: [shop]', 'keyspaces: [play]'))
    assert.deepEqual(await rows(text, { pageSize: 9, pagingState: pagingState! }), [])
    running.feed.apply(usualPolicy)
    assert.deepEqual(await rows(text, { pageSize: 9, pagingState: pagingState! }), ['b', 'c', 'items'])
  })
})

suite('a policy that comes while an answer is made', () => {
  const text = `SELECT table_name, current_timestamp() FROM ${T} WHERE keyspace_name = 'shop'`
  const without = usualPolicy.replace('keyspaces: [shop]', 'keyspaces: [play]')
  const names = async (): Promise<string[]> => (await rows(text)).map((row) => row.split(',')[0]!)

  for (const [how, put] of [
    ['of the next revision', () => running.feed.apply(without)],
    ['of an equal revision, from a control plane that was restored', () => running.feed.restore(without)],
  ] as const) {
    it(`counts: one ${how}`, async (t) => {
      const { now } = Date
      let came = false
      // The function in the question is the one that asks the clock while rows are made.
      t.mock.method(Date, 'now', () => {
        if (!came && new Error().stack?.includes('/cql/query/') === true) {
          came = true
          put()
        }
        return now()
      })
      assert.deepEqual(await names(), [])
      assert.ok(came)
      running.feed.restore(usualPolicy)
      assert.deepEqual(await names(), ['a', 'b', 'c', 'items'])
    })
  }
})

it('no keyspace that is hidden is read, so that it takes no other time than one that is not there', async () => {
  running.node.topology.schemaVersion = Buffer.alloc(16, 90)
  const asked: (string | undefined)[] = []
  running.node.interceptOwn = ({ text, value }) => {
    if (text.includes('WHERE keyspace_name')) asked.push(value)
    return false
  }
  for (const name of ['play', 'not_there']) await rows(`SELECT * FROM ${T} WHERE keyspace_name = '${name}'`)
  running.node.interceptOwn = undefined
  assert.deepEqual(
    asked.filter((value) => value !== undefined && value !== 'shop'),
    ['\0', '\0'],
  )
})

suite('what is new', () => {
  it('is in the answer to a question that comes after it', async () => {
    const text = `SELECT table_name FROM ${T} WHERE keyspace_name = 'shop' AND table_name = 'fresh'`
    await rows(`SELECT count(*) FROM ${T}`)
    assert.deepEqual(await rows(text), [])
    // Made over another node; no event comes.
    running.node.schema.add({ keyspace: 'shop', name: 'fresh', partitionKey: { k: 'text' } })
    running.node.topology.schemaVersion = Buffer.alloc(16, 77)
    assert.deepEqual(await rows(text), ['fresh'])
    assert.ok((await rows(`SELECT table_name FROM ${T}`)).includes('fresh'))
    running.node.schema.remove('shop', 'fresh')
    running.node.topology.schemaVersion = Buffer.alloc(16, 78)
    assert.deepEqual(await rows(text), [])
    assert.ok(!(await rows(`SELECT table_name FROM ${T}`)).includes('fresh'))
  })
})

suite('a prepared question', () => {
  for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
    it(`is answered with its bound values, v${version}`, async () => {
      const client = await world.client(running.port, 'bob', { version })
      const text = `SELECT table_name, count(*) FROM ${T} WHERE keyspace_name = ? AND table_name > ? LIMIT ?`
      const answer = await client.ask(prepareEnvelope(version, 3, text))
      const { id, resultMetadataId } = readPrepared(wholeEnvelope(answer), version)
      const limit = Buffer.from('00000005', 'hex')
      for (const [keyspace, count, first] of [
        ['shop', 3n, 'b'],
        ['play', 0n, undefined],
      ] as const) {
        const values = [Buffer.from(keyspace), Buffer.from('a'), limit]
        const executed = await client.ask(executeEnvelope(version, 4, id, resultMetadataId, values))
        const { rows: found } = readRows(wholeEnvelope(executed), version)
        assert.equal(found.length, 1, describe(executed))
        assert.deepEqual([found[0]![0]?.toString(), found[0]![1]!.readBigInt64BE(0)], [first, count])
      }
      const bad = await client.ask(executeEnvelope(version, 4, id, resultMetadataId, [null, Buffer.from('a'), limit]))
      assert.match(describe(bad), /^0x2200 /)
      client.close()
    })
  }

  it('has its columns left out where the client knows them, and told where it has others', async () => {
    const client = await world.client(running.port, 'bob', { version: 5 })
    const text = `SELECT table_name FROM ${T} WHERE keyspace_name = 'shop'`
    const answer = await client.ask(prepareEnvelope(5, 3, text))
    const { id, resultMetadataId } = readPrepared(wholeEnvelope(answer), 5)
    const known = await client.ask(executeEnvelope(5, 4, id, resultMetadataId, [], { skipMetadata: true }))
    assert.deepEqual(readRows(wholeEnvelope(known), 5).columns, [])
    const other = await client.ask(executeEnvelope(5, 4, id, Buffer.alloc(16, 1), [], { skipMetadata: true }))
    const read = readRows(wholeEnvelope(other), 5)
    assert.deepEqual(read.newMetadataId, resultMetadataId)
    assert.equal(read.columns.length, 1)
    client.close()
  })
})

suite('a masked column of a table about the schema', () => {
  const masks = (more: object): string => `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: MaskingPolicy
metadata: { name: masks }
spec: ${JSON.stringify({ keyspaces: ['system_schema'], tables: ['tables'], columns: ['default_time_to_live'], ...more })}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: carol-all }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/carol }], cluster: true, operations: [DESCRIBE] }
`
  let masked: RunningSidecar

  before(async () => {
    masked = await world.sidecar({ name: 'masked' })
    const timed = { keyspace: 'shop', name: 'timed', partitionKey: { k: 'text' }, defaultTtlSeconds: 77 }
    masked.node.migrate(timed)
  })

  const where = "WHERE keyspace_name = 'shop' AND table_name = 'timed'"
  const shown = [
    'default_time_to_live',
    'table_name, default_time_to_live',
    'default_time_to_live AS t, table_name AS default_time_to_live',
    '*',
  ]
  for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
    it(`is masked in the answer that is made here, for QUERY and EXECUTE, v${version}`, async () => {
      for (const [mask, wanted] of [
        ['null', null],
        ['full', '00000000'],
        [undefined, '0000004d'],
      ] as const) {
        masked.feed.apply(mask === undefined ? usualPolicy : masks({ mask }))
        const client = await world.client(masked.port, 'bob', { version })
        for (const selected of shown) {
          const text = `SELECT ${selected} FROM ${T} ${where}`
          const prepared = await client.ask(prepareEnvelope(version, 3, text))
          const { id, resultMetadataId } = readPrepared(wholeEnvelope(prepared), version)
          for (const request of [
            queryEnvelope(version, 4, text),
            executeEnvelope(version, 4, id, resultMetadataId, [], { skipMetadata: mask !== undefined }),
          ]) {
            const answer = await client.ask(request)
            assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${selected}: ${describe(answer)}`)
            const { rows: found, columns } = readRows(wholeEnvelope(answer), version)
            const at = selected === '*' ? columns.findIndex(({ name }) => name === 'default_time_to_live') : -1
            const value = found[0]![at >= 0 ? at : selected.split(',')[0]!.startsWith('table_name') ? 1 : 0]
            assert.equal(value?.toString('hex') ?? null, wanted, `${mask}: ${selected}`)
          }
        }
        client.close()
      }
    })
  }

  it('is masked page by page', async () => {
    masked.feed.apply(masks({ mask: 'null' }))
    const client = await world.client(masked.port, 'bob')
    const text = `SELECT table_name, default_time_to_live FROM ${T} WHERE keyspace_name = 'shop'`
    let pagingState: Buffer | undefined
    let count = 0
    do {
      const answer = await client.ask(queryEnvelope(4, 7, text, { pageSize: 1, ...(pagingState && { pagingState }) }))
      const page = readRows(wholeEnvelope(answer), 4)
      for (const [, seconds] of page.rows) assert.equal(seconds, null)
      count += page.rows.length
      pagingState = page.pagingState ?? undefined
    } while (pagingState !== undefined)
    assert.equal(count, 2)
    client.close()
  })

  it('may not be used otherwise', async () => {
    masked.feed.apply(masks({ mask: 'null' }))
    const client = await world.client(masked.port, 'bob')
    for (const text of [
      `SELECT max(default_time_to_live) FROM ${T}`,
      `SELECT JSON default_time_to_live FROM ${T}`,
      `SELECT JSON * FROM ${T}`,
      `SELECT table_name FROM ${T} WHERE default_time_to_live > 7 ALLOW FILTERING`,
      `SELECT cast(default_time_to_live AS text) FROM ${T}`,
    ])
      assert.match(describe(await client.ask(queryEnvelope(4, 7, text))), /^0x2100 .*rule masks/, text)
    client.close()
  })
})

suite('a question that is not answered here', () => {
  it('is refused, and the node never hears of what is a user’s', async () => {
    for (const text of [
      `SELECT (play.secret_type)table_name FROM ${T}`,
      `SELECT cast(table_name AS play.secret_type) FROM ${T}`,
      `SELECT play.secret_function(table_name) FROM ${T}`,
      `SELECT table_name FROM ${T} WHERE keyspace_name = play.secret_function('a')`,
    ]) {
      for (const envelope of [queryEnvelope(4, 7, text), prepareEnvelope(4, 7, text)]) {
        assert.match(describe(await bob.ask(envelope)), /^0x2[012]00 /, text)
      }
    }
    assert.deepEqual(running.node.texts(), [])
    assert.deepEqual(
      running.node.schemaReads.filter((text) => text.includes('secret')),
      [],
    )
  })

  it('is refused where it is a function or a list that is not done', async () => {
    for (const text of [
      `SELECT similarity_cosine(table_name, table_name) FROM ${T}`,
      `SELECT ${Array.from({ length: 1001 }, () => 'table_name').join()} FROM ${T}`,
    ]) {
      assert.match(describe(await bob.ask(queryEnvelope(4, 7, text))), /^0x2200 .*not supported/, text.slice(0, 80))
    }
  })

  it('leaves the session usable', async () => {
    assert.deepEqual(await rows(`SELECT table_name FROM ${T} WHERE keyspace_name = 'shop' LIMIT 1`), ['a'])
  })
})

it('each question is on record, answered or not', async () => {
  const before = running.records().length
  await rows(`SELECT count(*) FROM ${T} WHERE keyspace_name = 'play'`)
  await bob.ask(queryEnvelope(4, 7, `SELECT nothing FROM ${T}`))
  const since = running
    .records()
    .slice(before)
    .filter(({ table }) => table === 'tables')
  assert.deepEqual(
    since.map(({ outcome, rows: rowCount }) => [outcome, rowCount]),
    [
      ['ok', 1],
      ['error', undefined],
    ],
  )
})
