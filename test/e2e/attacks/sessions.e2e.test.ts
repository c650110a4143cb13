/**
 * Rows of the catalogue that need more than one request, or more than one person: prepared ids, USE, pages, masks, schema that changes, and
 * what may be seen of it. B1 to B9, B11, B19, B20, A14, C9, C10, C12, C19 and C20.
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { limits } from '../../../src/base/limits.ts'
import { batchEnvelope, executeEnvelope } from '../../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, registerEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../../src/cql/protocol.ts'
import { readTracingId } from '../../../src/cql/responses.fixture.ts'
import { type Prepared, readError, readEvent, readPrepared, readRows } from '../../../src/cql/responses.ts'
import { describe, type RawClient } from '../../path/client.ts'
import { type DoorName, type MeshFixture, useMesh } from '../fixture.ts'
import { doorNames, driverAt, openAt } from '../people.ts'
import { dropKeyspaces, makeKeyspaces } from './schema.ts'
import { codeOf, idOf } from './sender.ts'

const unauthorized = 0x2100
const invalid = 0x2200
const unprepared = 0x2500
const overloaded = 0x1001
const mark = `sessions${Date.now().toString(36)}`

let mesh: MeshFixture
let admin: Client

before(async () => {
  mesh = await useMesh()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await makeKeyspaces(mesh, admin)
})
after(async () => {
  await dropKeyspaces(mesh)
  await admin.shutdown()
})

const open = async (person: string, version: ProtocolVersion = 5, door: DoorName = 'sidecar'): Promise<RawClient> =>
  openAt(mesh.doors[door], await mesh.identity(idOf(person)), version)

let stream = 0
const next = (): number => {
  stream = (stream % 30_000) + 1
  return stream
}

type Options = Parameters<typeof queryEnvelope>[3]

const query = (client: RawClient, text: string, options?: Options): Promise<Buffer> =>
  client.ask(queryEnvelope(client.version, next(), text, options))

async function prepare(client: RawClient, text: string, keyspace?: string): Promise<Prepared> {
  const answer = await client.ask(prepareEnvelope(client.version, next(), text, keyspace))
  assert.equal(codeOf(answer), -1, describe(answer))
  return readPrepared(wholeEnvelope(answer), client.version)
}

const execute = (
  client: RawClient,
  { id, resultMetadataId }: Pick<Prepared, 'id' | 'resultMetadataId'>,
  values: readonly (Buffer | null)[],
  options?: Options,
): Promise<Buffer> => client.ask(executeEnvelope(client.version, next(), id, resultMetadataId, values, options))

const text = (value: string): Buffer => Buffer.from(value)

function cells(client: RawClient, answer: Buffer): (string | null)[][] {
  assert.equal(codeOf(answer), -1, describe(answer))
  const { rows } = readRows(wholeEnvelope(answer), client.version)
  return rows.map((row) => row.map((cell) => cell?.toString() ?? null))
}

const columnOf = (client: RawClient, answer: Buffer, at = 0): (string | null)[] =>
  cells(client, answer).map((row) => row[at] ?? null)

suite('A14 what is bound is what is judged', () => {
  it('a marker that stands twice, one that is unset, and names that belong to nothing', async () => {
    const client = await open('admin')
    const insert = "INSERT INTO e2e_attacks.kept (k, v) VALUES (:k, 'x') USING TTL :ttl"
    const ttl = (seconds: number): Buffer => Buffer.from([seconds >> 24, seconds >> 16, seconds >> 8, seconds])
    const named = (names: string[], values: (Buffer | null)[]): Promise<Buffer> =>
      query(client, insert, { names, values })
    assert.equal(codeOf(await named(['k', 'ttl'], [text('a14'), ttl(60)])), -1)
    assert.equal(codeOf(await named(['ttl', 'k'], [ttl(60), text('a14')])), -1)
    assert.equal(codeOf(await named(['ttl', 'k'], [ttl(0), text('a14')])), unauthorized)
    assert.equal(codeOf(await named(['ttl', 'k'], [null, text('a14')])), unauthorized)
    // Two values of one name: whichever the node takes, the other may not be what was judged.
    for (const order of [
      [60, 0],
      [0, 60],
    ] as const) {
      const answer = await named(['k', 'ttl', 'ttl'], [text('a14'), ttl(order[0]), ttl(order[1])])
      const rows = await admin.execute("SELECT ttl(v) AS left FROM e2e_attacks.kept WHERE k = 'a14'")
      assert.ok(codeOf(answer) !== -1 || rows.rows[0]?.left !== null, describe(answer))
    }
    const positional = "INSERT INTO e2e_attacks.kept (k, v) VALUES (?, 'x') USING TTL ?"
    const nameless = await query(client, positional, { names: ['k', '[ttl]'], values: [text('a14'), ttl(0)] })
    assert.notEqual(codeOf(nameless), -1, 'values by name for markers without names')
    const { id, resultMetadataId } = await prepare(client, positional)
    assert.equal(codeOf(await execute(client, { id, resultMetadataId }, [text('a14'), ttl(60)])), -1)
    assert.equal(codeOf(await execute(client, { id, resultMetadataId }, [text('a14'), ttl(0)])), unauthorized)
    assert.equal(codeOf(await client.ask(unsetTtl(id, resultMetadataId!, 'a14'))), unauthorized, 'unset')
    const repeated = 'UPDATE e2e_attacks.kept USING TTL :n SET v = :v WHERE k = :v'
    assert.notEqual(codeOf(await query(client, repeated, { names: ['n', 'v'], values: [ttl(0), text('a14')] })), -1)
    assert.equal(codeOf(await query(client, repeated, { names: ['v', 'n'], values: [text('a14'), ttl(60)] })), -1)
    const left = await admin.execute("SELECT ttl(v) AS left FROM e2e_attacks.kept WHERE k = 'a14'")
    assert.ok(Number(left.rows[0]?.left) > 0, 'nothing was written to stay')
    client.close()
  })
})

/** EXECUTE with a key and a second value that is unset (−2), which our encoder does not write. */
function unsetTtl(id: Buffer, resultMetadataId: Buffer, key: string): Buffer {
  const whole = executeEnvelope(5, next(), id, resultMetadataId, [text(key), null])
  const at = whole.lastIndexOf(Buffer.from('ffffffff', 'hex'))
  whole.writeInt32BE(-2, at)
  return whole
}

suite('B1 a prepared statement keeps its keyspace', () => {
  it('whatever USE says later, and a text takes the one in force', async () => {
    const client = await open('attacker')
    assert.equal(codeOf(await query(client, 'USE e2e_attacks')), -1)
    const prepared = await prepare(client, 'SELECT v FROM open WHERE k = ?')
    assert.equal(codeOf(await query(client, 'USE e2e_attacks_other')), -1)
    assert.deepEqual(columnOf(client, await execute(client, prepared, [text('where')])), ['ours'])
    assert.equal(codeOf(await query(client, "SELECT v FROM open WHERE k = 'where'")), unauthorized)
    assert.equal(codeOf(await client.ask(prepareEnvelope(5, next(), 'SELECT v FROM open WHERE k = ?'))), unauthorized)
    const there = await query(client, "SELECT v FROM open WHERE k = 'where'", { keyspace: 'e2e_attacks' })
    assert.deepEqual(columnOf(client, there), ['ours'])
    client.close()
  })

  it('and USE of what he may not see is refused like one that is not there', async () => {
    const client = await open('attacker')
    for (const keyspace of ['e2e_attacks_hidden', 'e2e_attacks_absent', 'system_auth']) {
      assert.equal(codeOf(await query(client, `USE ${keyspace}`)), unauthorized)
    }
    client.close()
  })
})

suite('B2 B3 ids', () => {
  it('that were computed and not prepared are unknown, though the node knows them', async () => {
    const [owner, stranger] = [await open('admin'), await open('attacker')]
    for (const statement of [
      'SELECT v FROM e2e_attacks.secret WHERE k = ?',
      'SELECT v FROM e2e_attacks.open WHERE k = ?',
    ]) {
      const { id } = await prepare(owner, statement)
      const computed = createHash('md5').update(statement).digest()
      for (const guess of [id, computed, createHash('md5').update(`e2e_attacks${statement}`).digest()]) {
        const answer = await execute(stranger, { id: guess, resultMetadataId: guess }, [text('a')])
        assert.equal(codeOf(answer), unprepared, describe(answer))
        assert.deepEqual(readError(wholeEnvelope(answer)).preparedId, guess)
        const part = batchEnvelope(5, next(), 0, [{ id: guess, values: [text('a')] }])
        assert.equal(codeOf(await stranger.ask(part)), unprepared)
      }
    }
    owner.close()
    stranger.close()
  })

  it('of ids that are too short, too long or empty nothing is known', async () => {
    const client = await open('attacker')
    for (const bytes of [0, 1, 15, 17, 4096]) {
      const answer = await execute(client, { id: Buffer.alloc(bytes, 7), resultMetadataId: Buffer.alloc(16) }, [])
      assert.equal(codeOf(answer), unprepared, `${bytes}`)
    }
    client.close()
  })
})

suite('B5 batches of texts and ids', () => {
  const insert = 'INSERT INTO e2e_attacks.open (k, v) VALUES (?, ?)'
  const value = (name: string): Buffer[] => [text(`${mark}-${name}`), text('x')]

  it('are refused whole for one part, in any place and of any kind', async () => {
    const [owner, client] = [await open('admin'), await open('attacker')]
    const { id } = await prepare(client, insert)
    const secret = await prepare(owner, 'INSERT INTO e2e_attacks.secret (k, v) VALUES (?, ?)')
    const good = [
      { id, values: value('id') },
      { text: `INSERT INTO e2e_attacks.open (k, v) VALUES ('${mark}-text', 'x')`, values: [] },
    ]
    const bad = { text: `INSERT INTO e2e_attacks.secret (k, v) VALUES ('${mark}-bad', 'x')`, values: [] }
    for (const items of [
      [bad, ...good],
      [...good, bad],
      [good[0]!, bad, good[1]!],
      [good[0]!, { text: `TRUNCATE e2e_attacks.open`, values: [] }],
      [good[0]!, { text: `SELECT v FROM e2e_attacks.secret WHERE k = '${mark}-bad'`, values: [] }],
    ]) {
      assert.equal(codeOf(await client.ask(batchEnvelope(5, next(), 0, items))), unauthorized)
    }
    const stolen = [...good, { id: secret.id, values: value('stolen') }]
    assert.equal(codeOf(await client.ask(batchEnvelope(5, next(), 0, stolen))), unprepared)
    assert.deepEqual(await mesh.cassandraLines(`${mark}-text`), [])
    assert.equal(codeOf(await client.ask(batchEnvelope(5, next(), 0, good))), -1)
    assert.ok((await mesh.cassandraLines(`${mark}-text`)).length > 0, 'the witness sees what passes')
    owner.close()
    client.close()
  })

  it('take the keyspace of the message for their texts, and only for them', async () => {
    const client = await open('attacker')
    const { id } = await prepare(client, 'INSERT INTO open (k, v) VALUES (?, ?)', 'e2e_attacks')
    const part = { text: `INSERT INTO open (k, v) VALUES ('${mark}-keyspace', 'x')`, values: [] }
    const ask = async (keyspace: string, ...items: Parameters<typeof batchEnvelope>[3]): Promise<number> =>
      codeOf(await client.ask(batchEnvelope(5, next(), 0, items, { keyspace })))
    assert.equal(await ask('e2e_attacks_other', part), unauthorized)
    assert.equal(await ask('e2e_attacks_other', { id, values: value('b5') }, part), unauthorized)
    assert.equal(await ask('e2e_attacks_other', { id, values: value('b5') }), -1)
    assert.equal(await ask('e2e_attacks', part), -1)
    const found = await admin.execute(`SELECT v FROM e2e_attacks.open WHERE k = '${mark}-b5'`)
    assert.equal(found.rowLength, 1)
    client.close()
  })
})

suite('B7 a table that becomes a view under a prepared id', () => {
  it('is judged as what it is now', async () => {
    const client = await open('attacker')
    const prepared = await prepare(client, 'SELECT v FROM e2e_attacks.shifting WHERE k = ?')
    assert.deepEqual(cells(client, await execute(client, prepared, [text('a')])), [])
    await admin.execute('DROP TABLE e2e_attacks.shifting')
    await admin.execute(
      'CREATE MATERIALIZED VIEW e2e_attacks.shifting AS SELECT k, v FROM e2e_attacks.secret WHERE k IS NOT NULL AND v IS NOT NULL PRIMARY KEY (k, v)',
    )
    try {
      for (let i = 0; i < 20; i++) {
        // Its base is hidden from the attacker, so for him the view is not there, whatever it is called.
        const answer = await execute(client, prepared, [text('a')])
        assert.ok([invalid, unprepared].includes(codeOf(answer)), describe(answer))
        const again = await client.ask(prepareEnvelope(5, next(), 'SELECT v FROM e2e_attacks.shifting WHERE k = ?'))
        assert.equal(codeOf(again), invalid, describe(again))
        for (const each of [answer, again]) assert.ok(!each.includes('secret'), describe(each))
      }
    } finally {
      await admin.execute('DROP MATERIALIZED VIEW e2e_attacks.shifting')
      await admin.execute('CREATE TABLE e2e_attacks.shifting (k text PRIMARY KEY, v text)')
    }
    client.close()
  })
})

suite('B8 B20 masks', () => {
  const hidden = ['ssn 1', 'tag 1', 'phone 1']
  const selectText = "SELECT * FROM e2e_attacks.people WHERE k = 'a' AND c = 1"
  const showsNothing = (answer: Buffer): void => {
    assert.equal(codeOf(answer), -1, describe(answer))
    for (const secret of hidden) assert.ok(!answer.includes(secret), `the answer shows ${secret}`)
    assert.ok(answer.includes('name 1'), 'and what is not masked is there')
  }

  it('hide columns in each form of the answer, with and without its metadata', async () => {
    for (const version of [4, 5] as const) {
      const [client, owner] = [await open('masked', version), await open('admin', version)]
      showsNothing(await query(client, selectText))
      showsNothing(await query(client, selectText, { skipMetadata: true }))
      const prepared = await prepare(client, selectText)
      showsNothing(await execute(client, prepared, []))
      showsNothing(await execute(client, prepared, [], { skipMetadata: true }))
      const lie = { id: prepared.id, resultMetadataId: Buffer.alloc(16, 9) }
      showsNothing(await execute(client, lie, [], { skipMetadata: true }))
      const shown = await query(owner, selectText)
      for (const secret of hidden) assert.ok(shown.includes(secret), 'who is not masked sees it')
      client.close()
      owner.close()
    }
  })

  it('cannot be gone round by an expression or a condition', async () => {
    const client = await open('masked')
    for (const select of [
      "SELECT CAST(ssn AS ascii) FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT JSON ssn FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT JSON * FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT to_json(ssn) FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT max(ssn) FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT tags['a'] FROM e2e_attacks.people WHERE k = 'a'",
      "SELECT name FROM e2e_attacks.people WHERE ssn = 'ssn 1'",
      "SELECT name FROM e2e_attacks.people WHERE k = 'a' AND age > 40 ALLOW FILTERING",
    ]) {
      const answer = await query(client, select)
      assert.equal(codeOf(answer), unauthorized, `${select}: ${describe(answer)}`)
    }
    const alias = await query(client, "SELECT ssn AS name, name AS x FROM e2e_attacks.people WHERE k = 'a' AND c = 1")
    showsNothing(alias)
    client.close()
  })

  it('hide a column that is added under a prepared SELECT *', async () => {
    const client = await open('masked')
    const prepared = await prepare(client, selectText)
    showsNothing(await execute(client, prepared, []))
    await admin.execute('ALTER TABLE e2e_attacks.people ADD ssn_new text')
    await admin.execute("UPDATE e2e_attacks.people SET ssn_new = 'the new one' WHERE k = 'a' AND c = 1")
    for (let i = 0; i < 20; i++) {
      for (const options of [{}, { skipMetadata: true }]) {
        const answer = await execute(client, prepared, [], options)
        assert.ok(!answer.includes('the new one'), 'the new column is shown')
        assert.ok([-1, unprepared].includes(codeOf(answer)), describe(answer))
      }
      await sleep(20)
    }
    const fresh = await query(client, selectText)
    assert.ok(!fresh.includes('the new one'))
    showsNothing(fresh)
    client.close()
  })
})

suite('B9 a flood of statements to prepare', () => {
  const { preparesBurstMax, preparesPerSecondMax } = limits
  const selectText = 'SELECT v FROM e2e_attacks.open WHERE k = ?'
  const ask = async (client: RawClient, statement: string): Promise<Buffer> =>
    client.ask(prepareEnvelope(client.version, next(), statement))

  it('is shed beyond its rate, reaches the node no further, and takes nothing from others', async () => {
    const [flooder, victim] = [await open('flooder'), await open('attacker')]
    const [mine, theirs] = [await prepare(flooder, selectText), await prepare(victim, selectText)]
    const texts = Array.from(
      { length: preparesBurstMax + 1500 },
      (_, i) => `SELECT v FROM e2e_attacks.open WHERE k = '${mark}-b9-${i}-'`,
    )
    const codes: number[] = []
    const begun = performance.now()
    while (codes.length < texts.length) {
      const wave = texts.slice(codes.length, codes.length + 500)
      codes.push(...(await Promise.all(wave.map((statement) => ask(flooder, statement)))).map(codeOf))
    }
    const seconds = (performance.now() - begun) / 1000
    const passed = codes.filter((code) => code === -1).length
    assert.deepEqual(
      codes.filter((code) => code !== -1 && code !== overloaded),
      [],
    )
    assert.ok(passed >= preparesBurstMax - 1, `only ${passed} passed`)
    assert.ok(passed <= preparesBurstMax + preparesPerSecondMax * seconds + 1, `${passed} passed in ${seconds} s`)
    assert.ok(passed < texts.length, 'some were shed')

    for (let i = 0; i < 20; i++) assert.deepEqual((await prepare(flooder, selectText)).id, mine.id, 'what he has')
    assert.equal(codeOf(await execute(flooder, mine, [text('where')])), -1)
    assert.deepEqual(columnOf(victim, await execute(victim, theirs, [text('where')])), ['ours'])
    await prepare(victim, `SELECT v FROM e2e_attacks.open WHERE k = '${mark}-victim'`)

    const seen = (await mesh.cassandraLines(`${mark}-b9-`)).join('\n')
    const arrived = texts.filter((_, i) => seen.includes(`${mark}-b9-${i}-`))
    assert.deepEqual(
      arrived,
      texts.filter((_, i) => codes[i] === -1),
    )
    flooder.close()
    victim.close()
  })
})

suite('B11 a USE is nobody else’s', () => {
  it('in a hundred connections that share the node’s', async () => {
    const [mine, others] = [
      await open('attacker'),
      await Promise.all(Array.from({ length: 5 }, () => open('attacker'))),
    ]
    assert.equal(codeOf(await query(mine, 'USE e2e_attacks')), -1)
    for (let i = 0; i < 20; i++) {
      const answers = await Promise.all([
        query(mine, "SELECT v FROM open WHERE k = 'where'"),
        ...others.map((client) => query(client, "SELECT v FROM open WHERE k = 'where'")),
      ])
      assert.deepEqual(columnOf(mine, answers[0]!), ['ours'])
      for (const answer of answers.slice(1)) {
        assert.ok([unauthorized, invalid].includes(codeOf(answer)), describe(answer))
      }
    }
    for (const client of [mine, ...others]) client.close()
  })
})

suite('B19 pages', () => {
  const namesText = "SELECT name FROM e2e_attacks.people WHERE k = 'a'"
  const first = async (client: RawClient, select = namesText): Promise<Buffer> => {
    const answer = await query(client, select, { pageSize: 3 })
    assert.equal(codeOf(answer), -1, describe(answer))
    const { pagingState } = readRows(wholeEnvelope(answer), client.version)
    assert.ok(pagingState !== null)
    return pagingState
  }

  for (const version of [4, 5] as const) {
    it(`go on where they stopped, at any door of the mesh, v${version}`, async () => {
      const clients = await Promise.all(doorNames.map((door) => open('column', version, door)))
      let state: Buffer | null = await first(clients[0]!)
      let seen = 3
      for (let at = 1; state !== null; at++) {
        const client: RawClient = clients[at % clients.length]!
        const answer = await query(client, namesText, { pageSize: 3, pagingState: state })
        assert.equal(codeOf(answer), -1, describe(answer))
        const rows = readRows(wholeEnvelope(answer), version)
        seen += rows.rows.length
        state = rows.pagingState
      }
      assert.equal(seen, 20)
      for (const client of clients) client.close()
    })
  }

  it('are INVALID when a bit is changed, wherever it is, or when they are cut or made up', async () => {
    const client = await open('column')
    const state = await first(client)
    const forged: Buffer[] = [
      Buffer.alloc(0),
      Buffer.alloc(1),
      Buffer.alloc(state.length),
      Buffer.concat([state, Buffer.alloc(1)]),
      ...[1, 12, 16, state.length - 1].map((bytes) => state.subarray(0, bytes)),
      ...Array.from(state, (_, at) => {
        const changed = Buffer.from(state)
        changed[at] = changed[at]! ^ (1 << (at % 8))
        return changed
      }),
    ]
    const answers = await Promise.all(
      forged.map((pagingState) => query(client, namesText, { pageSize: 3, pagingState })),
    )
    for (const [at, answer] of answers.entries()) assert.equal(codeOf(answer), invalid, `${at}: ${describe(answer)}`)
    const good = await query(client, namesText, { pageSize: 3, pagingState: state })
    assert.equal(codeOf(good), -1)
    client.close()
  })

  it('are INVALID to another identity, for another statement, in another keyspace and with other values', async () => {
    const [client, other] = [await open('column'), await open('masked')]
    const state = await first(client)
    const bad: Buffer[] = [
      await query(other, namesText, { pageSize: 3, pagingState: state }),
      await query(client, "SELECT c FROM e2e_attacks.people WHERE k = 'a'", { pageSize: 3, pagingState: state }),
      await query(client, "SELECT name FROM e2e_attacks.people WHERE k = 'b'", { pageSize: 3, pagingState: state }),
      await query(client, 'SELECT name FROM e2e_attacks.people', { pageSize: 3, pagingState: state }),
    ]
    const prepared = await prepare(client, 'SELECT name FROM e2e_attacks.people WHERE k = ?')
    const page = await execute(client, prepared, [text('a')], { pageSize: 3 })
    const { pagingState } = readRows(wholeEnvelope(page), 5)
    bad.push(await execute(client, prepared, [text('b')], { pageSize: 3, pagingState: pagingState! }))
    for (const answer of bad) assert.equal(codeOf(answer), invalid, describe(answer))
    const good = await execute(client, prepared, [text('a')], { pageSize: 3, pagingState: pagingState! })
    assert.equal(codeOf(good), -1, describe(good))
    client.close()
    other.close()
  })
})

suite('C9 C10 what may be seen of the schema', () => {
  const visible = async (select: string, at = 0): Promise<(string | null)[]> => {
    const client = await open('attacker')
    const answer = columnOf(client, await query(client, select), at)
    client.close()
    return answer
  }

  it('keyspaces and tables, by system_schema', async () => {
    const keyspaces = await visible('SELECT keyspace_name FROM system_schema.keyspaces')
    assert.ok(keyspaces.includes('e2e_attacks') && keyspaces.includes('e2e_attacks_other'))
    assert.ok(!keyspaces.includes('e2e_attacks_hidden'))
    const tables = await visible("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'e2e_attacks'")
    assert.deepEqual(tables.sort(), ['open', 'shifting'])
    const all = await visible('SELECT keyspace_name, table_name FROM system_schema.tables', 1)
    assert.ok(!all.includes('secret') && !all.includes('people'))
    const columns = await visible("SELECT * FROM system_schema.columns WHERE keyspace_name = 'e2e_attacks'", 1)
    assert.deepEqual([...new Set(columns)].sort(), ['open', 'shifting'])
    for (const [select, none] of [
      ["SELECT view_name FROM system_schema.views WHERE keyspace_name = 'e2e_attacks'", []],
      ["SELECT table_name, index_name FROM system_schema.indexes WHERE keyspace_name = 'e2e_attacks'", []],
      ["SELECT function_name FROM system_schema.functions WHERE keyspace_name = 'e2e_attacks'", []],
      ["SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'e2e_attacks_hidden'", []],
      ["SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'e2e_attacks_absent'", []],
    ] as const) {
      assert.deepEqual(await visible(select), none, select)
    }
  })

  it('nothing of the rest in any aggregate, limit, range or page', async () => {
    const client = await open('attacker')
    const T = 'system_schema.tables'
    const hidden = `keyspace_name = 'e2e_attacks_hidden'`
    const own = `keyspace_name = 'e2e_attacks'`
    const rows = async (text: string): Promise<string[]> => {
      const answer = await query(client, text)
      assert.equal(codeOf(answer), -1, `${text}: ${describe(answer)}`)
      const read = readRows(wholeEnvelope(answer), 5)
      return read.rows.map((row) =>
        row
          .map((cell, at) => (read.columns[at]?.type.kind === 'bigint' ? cell?.readBigInt64BE(0) : cell))
          .map((cell) => cell?.toString() ?? 'null')
          .join(),
      )
    }
    for (const [text, wanted] of [
      [`SELECT count(*) FROM ${T} WHERE ${hidden}`, ['0']],
      [`SELECT count(*) FROM ${T} WHERE keyspace_name = 'e2e_attacks_absent'`, ['0']],
      [`SELECT count(*) FROM system_schema.keyspaces WHERE ${hidden}`, ['0']],
      [
        `SELECT keyspace_name, table_name, max(table_name), count(*) FROM ${T} WHERE ${own}`,
        ['e2e_attacks,open,shifting,2'],
      ],
      [`SELECT table_name FROM ${T} WHERE ${own} AND table_name > 'open' LIMIT 1`, ['shifting']],
      [`SELECT max(table_name) FROM ${T} WHERE ${own} AND table_name < 'shifting'`, ['open']],
      [`SELECT JSON table_name FROM ${T} WHERE ${own}`, ['{"table_name": "open"}', '{"table_name": "shifting"}']],
      [
        `SELECT DISTINCT keyspace_name FROM ${T} WHERE keyspace_name IN ('e2e_attacks_hidden', 'e2e_attacks')`,
        ['e2e_attacks'],
      ],
      [`SELECT count(*) FROM system_schema.columns WHERE ${own} AND table_name = 'secret'`, ['0']],
      [`SELECT count(function_name) FROM system_schema.functions WHERE ${own}`, ['0']],
    ] as const) {
      assert.deepEqual(await rows(text), wanted, text)
    }
    let state: Buffer | undefined
    const pages: string[] = []
    do {
      const text = `SELECT table_name FROM ${T} WHERE keyspace_name IN ('e2e_attacks_hidden', 'e2e_attacks')`
      const answer = await query(client, text, { pageSize: 1, ...(state && { pagingState: state }) })
      const page = readRows(wholeEnvelope(answer), 5)
      pages.push(page.rows.map(String).join())
      state = page.pagingState ?? undefined
    } while (state !== undefined)
    assert.deepEqual(pages, ['open', 'shifting'])
    client.close()
  })

  it('keyspaces and tables, by DESCRIBE', async () => {
    const keyspaces = await visible('DESCRIBE KEYSPACES')
    assert.ok(keyspaces.includes('e2e_attacks'))
    assert.ok(!keyspaces.includes('e2e_attacks_hidden'))
    const client = await open('attacker')
    for (const statement of ['DESCRIBE TABLES', 'DESC TABLES', 'DESC KEYSPACES']) {
      const answer = await query(client, statement)
      assert.equal(codeOf(answer), -1, describe(answer))
      for (const name of ['e2e_attacks_hidden', 'secret', 'people']) assert.ok(!answer.includes(name), name)
    }
    // Pages of a DESCRIBE are filtered each.
    let state: Buffer | undefined
    do {
      const answer = await query(client, 'DESCRIBE TABLES', { pageSize: 1, ...(state && { pagingState: state }) })
      assert.equal(codeOf(answer), -1, describe(answer))
      assert.ok(!answer.includes('secret'))
      state = readRows(wholeEnvelope(answer), 5).pagingState ?? undefined
    } while (state !== undefined)
    client.close()
  })

  it('all of it, by who may do everything', async () => {
    const client = await open('admin')
    const names = columnOf(client, await query(client, 'DESCRIBE KEYSPACES'))
    assert.ok(names.includes('e2e_attacks_hidden'))
    const tables = await query(
      client,
      "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'e2e_attacks'",
    )
    assert.ok(columnOf(client, tables).includes('secret'))
    client.close()
  })
})

suite('C12 tracing', () => {
  it('is taken off the request of one who may not read traces', async () => {
    for (const [person, may] of [
      ['attacker', false],
      ['admin', true],
    ] as const) {
      const client = await open(person)
      const envelope = queryEnvelope(5, next(), "SELECT v FROM e2e_attacks.open WHERE k = 'where'")
      envelope[1] = envelope[1]! | 2
      const answer = await client.ask(envelope)
      assert.equal(codeOf(answer), -1, describe(answer))
      assert.equal(readTracingId(wholeEnvelope(answer)) !== undefined, may, person)
      client.close()
    }
  })
})

suite('C19 what is forbidden and what is not there', () => {
  /** In the place of `@`: a name that exists, and one that does not. */
  const statements = [
    ['SELECT v FROM e2e_attacks.@ WHERE k = 1', 'secret', 'absent'],
    ["SELECT nothing FROM e2e_attacks.@ WHERE k = 'a'", 'secret', 'absent'],
    ["INSERT INTO e2e_attacks.@ (k) VALUES ('a')", 'secret', 'absent'],
    ["UPDATE e2e_attacks.@ SET v = 'x' WHERE k = 'a' IF EXISTS", 'secret', 'absent'],
    ['TRUNCATE e2e_attacks.@', 'secret', 'absent'],
    ['CREATE TABLE e2e_attacks.@ (k text PRIMARY KEY)', 'secret', 'absent'],
    ['CREATE TABLE IF NOT EXISTS e2e_attacks.@ (k text PRIMARY KEY)', 'secret', 'absent'],
    ['DROP TABLE e2e_attacks.@', 'secret', 'absent'],
    ['ALTER TABLE e2e_attacks.@ ADD x int', 'secret', 'absent'],
    ['DESCRIBE TABLE e2e_attacks.@', 'secret', 'absent'],
    ['DESC e2e_attacks.@', 'secret', 'absent'],
    ['DESCRIBE INDEX e2e_attacks.@', 'people_ssn', 'absent_index'],
    ['DESCRIBE FUNCTION e2e_attacks.@', 'answer', 'absent_function'],
    ['DESCRIBE MATERIALIZED VIEW e2e_attacks.@', 'secret_view', 'absent_view'],
    ['SELECT k FROM e2e_attacks.@', 'secret_view', 'absent_view'],
    ['DROP MATERIALIZED VIEW e2e_attacks.@', 'secret_view', 'absent_view'],
    ['DESCRIBE KEYSPACE @', 'e2e_attacks_hidden', 'e2e_attacks_absent'],
    ['USE @', 'e2e_attacks_hidden', 'e2e_attacks_absent'],
    ['DROP KEYSPACE @', 'e2e_attacks_hidden', 'e2e_attacks_absent'],
    [
      "CREATE KEYSPACE @ WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
      'e2e_attacks_hidden',
      'e2e_attacks_absent',
    ],
    ['DROP INDEX e2e_attacks.@', 'people_ssn', 'absent_index'],
    ['DROP TYPE e2e_attacks.@', 'address', 'absent_type'],
    ['DROP FUNCTION e2e_attacks.@', 'answer', 'absent_function'],
    ["SELECT e2e_attacks.@(v) FROM e2e_attacks.open WHERE k = 'a'", 'answer', 'absent_function'],
    ['LIST ROLES OF @', 'cassandra', 'absent_role'],
    ['DROP ROLE @', 'cassandra', 'absent_role'],
    ['GRANT SELECT ON e2e_attacks.@ TO cassandra', 'secret', 'absent'],
  ] as const

  it('are refused in the same words', async () => {
    const client = await open('attacker')
    for (const [statement, present, absent] of statements) {
      const words = async (name: string): Promise<string> => {
        const answer = await query(client, statement.replace('@', name))
        assert.equal(codeOf(answer), unauthorized, `${statement}: ${describe(answer)}`)
        return describe(answer).replaceAll(name, '@')
      }
      assert.equal(await words(present), await words(absent), statement)
      const prepared = async (name: string): Promise<string> => {
        const answer = await client.ask(prepareEnvelope(5, next(), statement.replace('@', name)))
        return describe(answer).replaceAll(name, '@')
      }
      assert.equal(await prepared(present), await prepared(absent), statement)
    }
    client.close()
  })

  it('take the same time, within a millisecond', async (t) => {
    const client = await open('attacker')
    const times = { secret: [] as number[], absent: [] as number[] }
    for (let i = 0; i < 300; i++) {
      for (const table of i % 2 === 0 ? (['secret', 'absent'] as const) : (['absent', 'secret'] as const)) {
        const begun = performance.now()
        // Never the same text twice, so that nothing is remembered.
        await query(client, `SELECT v FROM e2e_attacks.${table} WHERE k = '${mark}-${i}'`)
        times[table].push(performance.now() - begun)
      }
    }
    const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!
    const [present, absent] = [median(times.secret), median(times.absent)]
    t.diagnostic(`${present.toFixed(3)} ms where it exists, ${absent.toFixed(3)} ms where it does not`)
    assert.ok(Math.abs(present - absent) < 1)
    client.close()
  })

  it('leave nothing at the node', async () => {
    assert.deepEqual(await mesh.cassandraLines('e2e_attacks.absent'), [])
    // Questions about the schema are the node's to answer, and are filtered on the way back.
    const lines = await mesh.cassandraLines('e2e_attacks_absent')
    assert.deepEqual(
      lines.filter((line) => !line.includes('|ks:system_schema|')),
      [],
    )
  })
})

suite('C20 events', () => {
  it('of the schema come for what may be seen', async () => {
    const [client, all] = [await open('attacker'), await open('admin')]
    for (const each of [client, all]) {
      const answer = await each.ask(registerEnvelope(5, next(), ['SCHEMA_CHANGE']))
      assert.equal(headerOpcode(answer, 0), Opcode.READY)
    }
    const about = (each: RawClient): string[] =>
      each.unasked.flatMap((envelope) => {
        const event = readEvent(wholeEnvelope(envelope))
        return event.type === 'SCHEMA_CHANGE' ? [`${event.keyspace}.${event.name}`] : []
      })
    await admin.execute('CREATE TABLE e2e_attacks.event_secret (k text PRIMARY KEY)')
    await admin.execute('CREATE TABLE e2e_attacks_hidden.event (k text PRIMARY KEY)')
    await admin.execute('CREATE TYPE e2e_attacks_hidden.event_type (a int)')
    await admin.execute('ALTER TABLE e2e_attacks.secret WITH gc_grace_seconds = 1000')
    await admin.execute("ALTER TABLE e2e_attacks.open WITH comment = 'event'")
    await admin.execute('DROP TABLE e2e_attacks.event_secret')
    const until = performance.now() + 10_000
    while (!about(client).includes('e2e_attacks.open') && performance.now() < until) await sleep(50)
    await sleep(500)
    const [seen, happened] = [about(client), about(all)]
    assert.deepEqual([...new Set(seen)], ['e2e_attacks.open'])
    for (const name of ['e2e_attacks.event_secret', 'e2e_attacks_hidden.event', 'e2e_attacks.open']) {
      assert.ok(happened.includes(name), `${name} is not among ${happened}`)
    }
    client.close()
    all.close()
  })
})
