/**
 * The driver program for Node.js `cassandra-driver` (protocol v4), as published on npm. It takes its target from the
 * environment (see test/e2e/README.md), runs the cases of ../cases.ts and prints one line for each.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { auth, Client, type ClientOptions, errors, policies, types } from 'cassandra-driver'
import { createReporter } from '../reporter.ts'
import { samples } from './samples.ts'

const env = process.env
const contacts = (env.RF_CONTACTS ?? '127.0.0.1:9042').split(',')
const localDc = env.RF_DC ?? 'datacenter1'
const prefix = env.RF_KEYSPACE ?? 'e2e_node'
const first = `${prefix}_a`
const second = `${prefix}_b`
const replication = `{'class': 'NetworkTopologyStrategy', '${localDc}': ${env.RF_REPLICATION ?? '1'}}`
const unauthorized = types.responseErrorCodes.unauthorized

/** The options of one identity; without RF_TLS a plain connection. */
function optionsFor(identity: '' | 'READER_' | 'NOBODY_'): ClientOptions {
  const options: ClientOptions = {
    contactPoints: contacts,
    localDataCenter: localDc,
    // A change that a node was not told of it pulls within a minute (Cassandra's MigrationCoordinator).
    protocolOptions: { maxVersion: Number(env.RF_PROTOCOL ?? '4'), maxSchemaAgreementWaitSeconds: 70 },
    queryOptions: { consistency: types.consistencies.localQuorum, prepare: true },
    socketOptions: { readTimeout: 20_000, connectTimeout: 10_000 },
    pooling: { maxRequestsPerConnection: 2048 },
    policies: { loadBalancing: new policies.loadBalancing.DCAwareRoundRobinPolicy(localDc) },
  }
  if (env.RF_USER) options.authProvider = new auth.PlainTextAuthProvider(env.RF_USER, env.RF_PASSWORD ?? '')
  if (env.RF_TLS === '1') {
    const serverName = env.RF_SERVER_NAME
    options.sslOptions = {
      ca: [readFileSync(env.RF_CA!)],
      cert: readFileSync(env[`RF_${identity}CERT`]!),
      key: readFileSync(env[`RF_${identity}KEY`]!),
      // The chain is always verified; the name only where the server has one.
      ...(serverName ? { servername: serverName } : { checkServerIdentity: () => undefined }),
      rejectUnauthorized: true,
    }
  }
  return options
}

const client = new Client(optionsFor(''))
const { run, skip, finish } = createReporter()

async function main(): Promise<void> {
  await run('connect', () => client.connect())
  await run('hosts', hostsAreListed)
  await run('schema change', schemaChange)
  await run('prepare and execute', prepareAndExecute)
  for (const [name, value, same] of samples) {
    await run(`bind ${name}`, () => roundTrip('natives', `c_${name}`, value, same))
  }
  await run('bind counter', bindCounter)
  await run('bind null', bindNull)
  await run('bind unset', bindUnset)
  await run('large value', largeValue)
  await run('collection list', () => roundTrip('shapes', 'l', [3, 1, 2]))
  await run('collection set', () => roundTrip('shapes', 's', ['a', 'b', 'ü']))
  await run('collection map', () => roundTrip('shapes', 'm', { one: 1, two: 2 }))
  await run('collection nested frozen', () => roundTrip('shapes', 'n', { k: [['x', 'y'], ['z']] }))
  await run('tuple', bindTuple)
  await run('udt', bindUdt)
  await run('vector', bindVector)
  await run('paging 10000', paging)
  await run('batch logged', () => batch(true))
  await run('batch unlogged', () => batch(false))
  await run('batch counter', batchCounter)
  await run('batch mixed', batchMixed)
  await run('lwt', lwt)
  await run('tracing', tracing)
  await run('use', use)
  await run('in flight 1000', inFlight)
  await run('error syntax', errorSyntax)
  await run('error unknown table', errorUnknownTable)
  if (env.RF_READER_CERT) await run('refused reader', refusedReader)
  else skip('refused reader', 'no second identity given')
  if (env.RF_NOBODY_CERT) await run('refused nobody', refusedNobody)
  else skip('refused nobody', 'no third identity given')

  await client.execute(`DROP KEYSPACE IF EXISTS ${first}`, [], { prepare: false }).catch(() => {})
  await client.execute(`DROP KEYSPACE IF EXISTS ${second}`, [], { prepare: false }).catch(() => {})
  await client.shutdown()
  finish()
}

/** A statement as a plain QUERY. */
function query(cql: string, params: unknown[] = [], options: object = {}): Promise<types.ResultSet> {
  return client.execute(cql, params, { prepare: false, ...options })
}

async function hostsAreListed(): Promise<void> {
  const hosts = client.getState().getConnectedHosts()
  assert.ok(client.hosts.length >= Number(env.RF_HOSTS_MIN ?? '1'), `${client.hosts.length} hosts known`)
  assert.ok(hosts.length >= 1, 'no host connected')
  for (const host of client.hosts.values()) assert.ok(host.cassandraVersion, `host ${host.address} has no version`)
}

/** The driver waits for agreement itself after a schema change and says so in a field its types leave out. */
function agreed(result: types.ResultSet): unknown {
  return (result.info as { isSchemaInAgreement?: boolean }).isSchemaInAgreement
}

async function schemaChange(): Promise<void> {
  for (const keyspace of [first, second]) {
    await query(`DROP KEYSPACE IF EXISTS ${keyspace}`)
    await query(`CREATE KEYSPACE ${keyspace} WITH replication = ${replication}`)
  }
  const natives = samples.map(([name]) => `c_${name} ${name}`).join(', ')
  const made = await query(`CREATE TABLE ${first}.natives (k int PRIMARY KEY, ${natives})`)
  assert.equal(agreed(made), true, 'no schema agreement')
  await query(`CREATE TYPE ${first}.address (street text, number int, tags frozen<list<text>>)`)
  await query(
    `CREATE TABLE ${first}.shapes (k int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>,
      n map<text, frozen<list<frozen<list<text>>>>>, t tuple<int, text, boolean>, u frozen<address>, v vector<float, 3>)`,
  )
  await query(`CREATE TABLE ${first}.rows (p int, c int, v text, PRIMARY KEY (p, c))`)
  await query(`CREATE TABLE ${first}.kv (k int PRIMARY KEY, v text)`)
  await query(`CREATE TABLE ${second}.kv (k int PRIMARY KEY, v text)`)
  await query(`CREATE TABLE ${first}.counters (k int PRIMARY KEY, c counter)`)

  await query(`CREATE TABLE ${first}.brief (k int PRIMARY KEY, v text)`)
  const before = await client.metadata.getTable(first, 'brief')
  assert.deepEqual(before?.columns.map((column) => column.name).sort(), ['k', 'v'])
  const altered = await query(`ALTER TABLE ${first}.brief ADD w int`)
  assert.equal(agreed(altered), true, 'no schema agreement after ALTER')
  const after = await client.metadata.getTable(first, 'brief')
  assert.deepEqual(after?.columns.map((column) => column.name).sort(), ['k', 'v', 'w'])
  await query(`DROP TABLE ${first}.brief`)
  assert.ok(!(await client.metadata.getTable(first, 'brief')), 'the dropped table is still in the metadata')
}

async function prepareAndExecute(): Promise<void> {
  await client.execute(`INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`, [1, 'one'])
  const bound = await client.execute(`SELECT v FROM ${first}.kv WHERE k = ?`, [1])
  assert.equal(bound.first()?.get('v'), 'one')
  const named = await client.execute(`SELECT v FROM ${first}.kv WHERE k = :key`, { key: 1 })
  assert.equal(named.first()?.get('v'), 'one')
}

let nextKey = 100

async function roundTrip(
  table: string,
  column: string,
  value: unknown,
  same: (got: unknown, put: unknown) => boolean = (got, put) => JSON.stringify(got) === JSON.stringify(put),
): Promise<unknown> {
  const key = nextKey++
  await client.execute(`INSERT INTO ${first}.${table} (k, ${column}) VALUES (?, ?)`, [key, value])
  const row = (await client.execute(`SELECT ${column} FROM ${first}.${table} WHERE k = ?`, [key])).first()
  const got: unknown = row?.get(column)
  assert.ok(same(got, value), `put ${brief(value)}, got ${brief(got)}`)
  return got
}

const brief = (value: unknown): string => String(value).slice(0, 100)

async function bindCounter(): Promise<void> {
  await client.execute(`UPDATE ${first}.counters SET c = c + ? WHERE k = ?`, [types.Long.fromNumber(7), 1])
  await client.execute(`UPDATE ${first}.counters SET c = c - ? WHERE k = ?`, [types.Long.fromNumber(2), 1])
  const row = (await client.execute(`SELECT c FROM ${first}.counters WHERE k = ?`, [1])).first()
  assert.equal(String(row?.get('c')), '5')
}

async function bindNull(): Promise<void> {
  await client.execute(`INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (?, ?, ?)`, [1, 'here', 5])
  await client.execute(`INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (?, ?, ?)`, [1, null, null])
  const row = (await client.execute(`SELECT k, c_text, c_int FROM ${first}.natives WHERE k = ?`, [1])).first()
  assert.equal(row?.get('c_text'), null)
  assert.equal(row?.get('c_int'), null)
}

async function bindUnset(): Promise<void> {
  await client.execute(`INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (?, ?, ?)`, [2, 'stays', 5])
  await client.execute(`INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (?, ?, ?)`, [2, types.unset, 6])
  const row = (await client.execute(`SELECT c_text, c_int FROM ${first}.natives WHERE k = ?`, [2])).first()
  assert.equal(row?.get('c_text'), 'stays')
  assert.equal(row?.get('c_int'), 6)
}

/** A mebibyte of bytes that do not compress: several segments of v5, each way. */
async function largeValue(): Promise<void> {
  const put = randomBytes(1024 * 1024)
  await roundTrip('natives', 'c_blob', put, (got) => Buffer.isBuffer(got) && put.equals(got))
}

async function bindTuple(): Promise<void> {
  const got = await roundTrip('shapes', 't', new types.Tuple(7, 'seven', true), () => true)
  assert.deepEqual((got as types.Tuple).values(), [7, 'seven', true])
}

async function bindUdt(): Promise<void> {
  const put = { street: 'Hauptstraße', number: 7, tags: ['home', 'old'] }
  const got = (await roundTrip('shapes', 'u', put, () => true)) as typeof put
  assert.deepEqual({ street: got.street, number: got.number, tags: got.tags }, put)
}

async function bindVector(): Promise<void> {
  const put = new types.Vector(new Float32Array([0.5, -1.25, 3]))
  const got = await roundTrip('shapes', 'v', put, () => true)
  assert.deepEqual([...(got as Iterable<number>)], [0.5, -1.25, 3])
}

/** 10,000 rows, written in 100 batches, read 500 at a time: through the driver's own paging, then by hand with paging states. */
async function paging(): Promise<void> {
  const insert = `INSERT INTO ${first}.rows (p, c, v) VALUES (?, ?, ?)`
  for (let from = 0; from < 10_000; from += 100) {
    const rows = Array.from({ length: 100 }, (_, index) => from + index)
    await client.batch(
      rows.map((row) => ({ query: insert, params: [Math.floor(from / 1000), row, `row ${row}`] })),
      { logged: false, prepare: true },
    )
  }
  const select = `SELECT p, c, v FROM ${first}.rows`
  const seen = new Set<number>()
  let pages = 0
  let pageState: string | undefined
  do {
    const page: types.ResultSet = await client.execute(select, [], {
      prepare: true,
      fetchSize: 500,
      ...(pageState === undefined ? {} : { pageState }),
    })
    assert.ok(page.rows.length <= 500, `a page of ${page.rows.length} rows`)
    for (const row of page.rows) {
      assert.equal(row.get('v'), `row ${row.get('c')}`)
      seen.add(row.get('c') as number)
    }
    pages++
    pageState = page.pageState ?? undefined
  } while (pageState !== undefined)
  assert.equal(seen.size, 10_000)
  assert.ok(pages >= 20, `${pages} pages`)

  let streamed = 0
  const rows = client.stream(select, [], { prepare: false, fetchSize: 500, autoPage: true })
  for await (const row of rows as unknown as AsyncIterable<types.Row>) {
    assert.ok(row)
    streamed++
  }
  assert.equal(streamed, 10_000)
}

async function kvOf(keys: number[]): Promise<string[]> {
  const result = await client.execute(`SELECT k, v FROM ${first}.kv WHERE k IN ?`, [keys])
  return result.rows.map((row) => String(row.get('v'))).sort()
}

async function batch(logged: boolean): Promise<void> {
  const base = logged ? 1000 : 1010
  const insert = `INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`
  const queries = [0, 1, 2].map((offset) => ({ query: insert, params: [base + offset, `b${base + offset}`] }))
  await client.batch(queries, { logged, prepare: true })
  assert.deepEqual(await kvOf([base, base + 1, base + 2]), [`b${base}`, `b${base + 1}`, `b${base + 2}`])
}

async function batchCounter(): Promise<void> {
  const update = `UPDATE ${first}.counters SET c = c + ? WHERE k = ?`
  const queries = [2, 3].map((key) => ({ query: update, params: [types.Long.fromNumber(key), key] }))
  await client.batch(queries, { counter: true, prepare: true })
  const result = await client.execute(`SELECT k, c FROM ${first}.counters WHERE k IN ?`, [[2, 3]])
  assert.deepEqual(result.rows.map((row) => String(row.get('c'))).sort(), ['2', '3'])
}

/** This driver prepares all statements of a batch or none, so both are done: strings with hinted values, then prepared. */
async function batchMixed(): Promise<void> {
  await client.batch(
    [
      `INSERT INTO ${first}.kv (k, v) VALUES (1020, 'literal')`,
      { query: `INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`, params: [1021, 'hinted'] },
    ],
    { prepare: false, hints: [[], ['int', 'text']] },
  )
  await client.batch(
    [
      `INSERT INTO ${first}.kv (k, v) VALUES (1022, 'literal prepared')`,
      { query: `INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`, params: [1023, 'prepared'] },
    ],
    { prepare: true },
  )
  assert.deepEqual(await kvOf([1020, 1021, 1022, 1023]), ['hinted', 'literal', 'literal prepared', 'prepared'])
}

async function lwt(): Promise<void> {
  const insert = `INSERT INTO ${first}.kv (k, v) VALUES (?, ?) IF NOT EXISTS`
  assert.equal((await client.execute(insert, [2000, 'first'])).wasApplied(), true)
  const refused = await client.execute(insert, [2000, 'second'])
  assert.equal(refused.wasApplied(), false)
  assert.equal(refused.first()?.get('v'), 'first')
  const update = `UPDATE ${first}.kv SET v = ? WHERE k = ? IF v = ?`
  const differs = await client.execute(update, ['third', 2000, 'other'])
  assert.equal(differs.wasApplied(), false)
  assert.equal(differs.first()?.get('v'), 'first')
  assert.equal((await client.execute(update, ['third', 2000, 'first'])).wasApplied(), true)
}

async function tracing(): Promise<void> {
  const traced = await client.execute(`SELECT v FROM ${first}.kv WHERE k = ?`, [1], { prepare: true, traceQuery: true })
  assert.ok(traced.info.traceId, 'no trace id')
  const trace = await client.metadata.getTrace(traced.info.traceId, types.consistencies.one)
  assert.ok(trace.events.length > 0, 'no trace events')
}

async function use(): Promise<void> {
  const other = new Client(optionsFor(''))
  try {
    await other.connect()
    const plain = { prepare: false }
    await other.execute(`USE ${first}`, [], plain)
    await other.execute(`INSERT INTO kv (k, v) VALUES (3000, 'in a')`, [], plain)
    await other.execute(`USE ${second}`, [], plain)
    await other.execute(`INSERT INTO kv (k, v) VALUES (3000, 'in b')`, [], plain)
    const inSecond = await other.execute('SELECT v FROM kv WHERE k = ?', [3000], { prepare: true })
    assert.equal(inSecond.first()?.get('v'), 'in b')
    await other.execute(`USE "${first}"`, [], plain)
    const inFirst = await other.execute('SELECT v FROM kv WHERE k = 3000', [], plain)
    assert.equal(inFirst.first()?.get('v'), 'in a')
  } finally {
    await other.shutdown()
  }
}

/** One connection to one host, 1,000 requests sent before the first answer is looked at; each must get its own row. */
async function inFlight(): Promise<void> {
  const insert = `INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`
  const single = new Client({
    ...optionsFor(''),
    pooling: { maxRequestsPerConnection: 2048, coreConnectionsPerHost: { [types.distance.local]: 1 } },
    policies: {
      loadBalancing: new policies.loadBalancing.AllowListPolicy(
        new policies.loadBalancing.DCAwareRoundRobinPolicy(localDc),
        [contacts[0]!],
      ),
    },
  })
  try {
    await single.connect()
    const keys = Array.from({ length: 1000 }, (_, index) => 10_000 + index)
    await Promise.all(keys.map((key) => single.execute(insert, [key, `value of ${key}`])))
    const state = single.getState()
    const [host] = state.getConnectedHosts()
    const select = `SELECT k, v FROM ${first}.kv WHERE k = ?`
    await single.execute(select, [keys[0]])
    const answers = Promise.all(keys.map((key) => single.execute(select, [key])))
    // The driver hands all 1,000 to the connection within the microtasks of this turn, before any answer can be read.
    await Promise.resolve().then(() => new Promise((resolve) => process.nextTick(resolve)))
    const pending = single.getState().getInFlightQueries(host!)
    const results = await answers
    assert.equal(state.getOpenConnections(host!), 1)
    assert.ok(pending > 900, `only ${pending} requests were in flight`)
    for (const [index, result] of results.entries()) {
      assert.equal(result.first()?.get('k'), keys[index])
      assert.equal(result.first()?.get('v'), `value of ${keys[index]}`)
    }
  } finally {
    await single.shutdown()
  }
}

async function rejectsWith(promise: Promise<unknown>, code: number): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof errors.ResponseError, `not a ResponseError: ${String(error)}`)
    assert.equal(error.code, code, `code 0x${error.code.toString(16)}: ${error.message}`)
    return true
  })
}

async function stillUsable(using: Client): Promise<void> {
  const answer = await using.execute(`SELECT key FROM system.local WHERE key = 'local'`, [], {
    prepare: false,
    consistency: types.consistencies.one,
  })
  assert.equal(answer.first()?.get('key'), 'local')
}

async function errorSyntax(): Promise<void> {
  await rejectsWith(query('SELEKT * FROM nothing'), types.responseErrorCodes.syntaxError)
  await stillUsable(client)
}

async function errorUnknownTable(): Promise<void> {
  await rejectsWith(query(`SELECT * FROM ${first}.nothing_here`), types.responseErrorCodes.invalid)
  await rejectsWith(
    client.execute(`SELECT * FROM ${first}.nothing_here WHERE k = ?`, [1]),
    types.responseErrorCodes.invalid,
  )
  await stillUsable(client)
}

async function withIdentity(identity: 'READER_' | 'NOBODY_', body: (using: Client) => Promise<void>): Promise<void> {
  const using = new Client(optionsFor(identity))
  try {
    await using.connect()
    await body(using)
  } finally {
    await using.shutdown()
  }
}

function refusedReader(): Promise<void> {
  return withIdentity('READER_', async (reader) => {
    const read = await reader.execute(`SELECT v FROM ${first}.kv WHERE k = ?`, [1])
    assert.equal(read.first()?.get('v'), 'one')
    const write = `INSERT INTO ${first}.kv (k, v) VALUES (1, 'changed')`
    await rejectsWith(reader.execute(write, [], { prepare: false }), unauthorized)
    await rejectsWith(
      reader.execute(`INSERT INTO ${first}.kv (k, v) VALUES (?, ?)`, [1, 'changed'], { prepare: true }),
      unauthorized,
    )
    await rejectsWith(reader.batch([write], { prepare: false }), unauthorized)
    const again = await reader.execute(`SELECT v FROM ${first}.kv WHERE k = ?`, [1])
    assert.equal(again.first()?.get('v'), 'one')
  })
}

function refusedNobody(): Promise<void> {
  return withIdentity('NOBODY_', async (nobody) => {
    for (const prepare of [false, true]) {
      await rejectsWith(nobody.execute(`SELECT v FROM ${first}.kv WHERE k = 1`, [], { prepare }), unauthorized)
      await stillUsable(nobody)
    }
  })
}

await main()
