/**
 * The driver program for `cqlsh`, as published on PyPI (protocol v5 and v4). Each case is one run of cqlsh with a script of
 * statements, read back in its EXPAND form. It takes its target from the environment (see test/e2e/README.md); RF_CQLSH is the
 * program itself. Values are literals here, except in COPY FROM, where cqlsh prepares and binds.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { nativeTypes } from '../cases.ts'
import { createReporter } from '../reporter.ts'

const env = process.env
const [contact] = (env.RF_CONTACTS ?? '127.0.0.1:9042').split(',') as [string]
const [host, port] = contact.split(':') as [string, string]
const localDc = env.RF_DC ?? 'datacenter1'
const first = `${env.RF_KEYSPACE ?? 'e2e_cqlsh'}_a`
const second = `${env.RF_KEYSPACE ?? 'e2e_cqlsh'}_b`
const replication = `{'class': 'NetworkTopologyStrategy', '${localDc}': ${env.RF_REPLICATION ?? '1'}}`
const home = mkdtempSync(join(tmpdir(), 'ringfence-cqlsh-'))

type Identity = '' | 'READER_' | 'NOBODY_'

interface Answer {
  readonly out: string
  readonly err: string
  /** Zero when no statement failed, 2 when one did. */
  readonly code: number | null
}

/** Each native type: the literal that is written and the text that cqlsh shows for it. */
const literalCases: readonly (readonly [type: (typeof nativeTypes)[number], literal: string, shown: string])[] = [
  ['ascii', "'plain ascii'", 'plain ascii'],
  ['bigint', '-9223372036854775808', '-9223372036854775808'],
  ['blob', '0x00017f80ff', '0x00017f80ff'],
  ['boolean', 'true', 'True'],
  ['date', "'1969-07-20'", '1969-07-20'],
  ['decimal', '-123456789.000000001', '-123456789.000000001'],
  ['double', '-1.5e300', '-1.5e+300'],
  ['duration', '1mo2d3s4ns', '1mo2d3s4ns'],
  ['float', '1.5', '1.5'],
  ['inet', "'2001:db8::ff'", '2001:db8::ff'],
  ['int', '-2147483648', '-2147483648'],
  ['smallint', '-32768', '-32768'],
  ['text', "'grüße, 世界'", 'grüße, 世界'],
  ['time', "'23:59:59.999999999'", '23:59:59.999999999'],
  ['timestamp', '-1', '1969-12-31 23:59:59.999000+0000'],
  ['timeuuid', '50554d6e-29bb-11e5-b345-feff819cdc9f', '50554d6e-29bb-11e5-b345-feff819cdc9f'],
  ['tinyint', '-128', '-128'],
  ['uuid', 'f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f', 'f4c2a2a0-6d2b-4d0b-9c0e-1a2b3c4d5e6f'],
  ['varchar', "''", ''],
  ['varint', '-170141183460469231731687303715884105729', '-170141183460469231731687303715884105729'],
]

function configFor(identity: Identity): string {
  const path = join(home, `cqlshrc-${identity || 'ADMIN_'}`)
  const lines = ['[connection]', `hostname = ${host}`, `port = ${port}`, '[ui]', 'color = off', 'encoding = utf8']
  if (env.RF_TLS === '1') {
    lines.push('[ssl]', `certfile = ${env.RF_CA}`, 'validate = true')
    lines.push(`usercert = ${env[`RF_${identity}CERT`]}`, `userkey = ${env[`RF_${identity}KEY`]}`)
  }
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 })
  return path
}

function cqlsh(statements: readonly string[], identity: Identity = ''): Promise<Answer> {
  const script = join(home, 'script.cql')
  writeFileSync(script, `${statements.map((statement) => `${statement};`).join('\n')}\n`)
  const flags = ['--cqlshrc', configFor(identity), '--no-color', '--request-timeout=30', '--connect-timeout=15']
  if (env.RF_PROTOCOL) flags.push(`--protocol-version=${env.RF_PROTOCOL}`)
  if (env.RF_TLS === '1') flags.push('--ssl')
  if (env.RF_USER) flags.push('-u', env.RF_USER, '-p', env.RF_PASSWORD ?? '')
  const child = spawn(env.RF_CQLSH ?? 'cqlsh', [...flags, '-f', script, host, port], {
    env: { ...env, HOME: home, PYTHONIOENCODING: 'utf-8', LC_ALL: 'C.UTF-8' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ out, err, code }))
  })
}

/** Runs statements none of which may fail. */
async function accepted(...statements: string[]): Promise<string> {
  const { out, err, code } = await cqlsh(statements)
  assert.equal(code, 0, `${err} ${out}`)
  return out
}

/** The rows of an EXPAND ON answer, as column name → shown text. */
function rowsOf(out: string): Map<string, string>[] {
  const rows: Map<string, string>[] = []
  for (const line of out.split('\n')) {
    if (line.startsWith('@ Row')) rows.push(new Map())
    const cell = /^ (\S.*?) +\| (.*)$/.exec(line)
    if (cell) rows.at(-1)?.set(cell[1]!, cell[2]!.trimEnd())
  }
  return rows
}

async function select(cql: string): Promise<Map<string, string>[]> {
  return rowsOf(await accepted('CONSISTENCY LOCAL_QUORUM', 'EXPAND ON', cql))
}

const { run, skip, finish } = createReporter()

async function main(): Promise<void> {
  await run('connect', async () => {
    const [row] = await select("SELECT key FROM system.local WHERE key = 'local'")
    assert.equal(row?.get('key'), 'local')
  })
  await run('hosts', async () => {
    const out = await accepted('SHOW HOST', 'DESCRIBE CLUSTER')
    assert.match(out, new RegExp(`Connected to .* at ${host}:${port}`))
    assert.match(out, /Partitioner: .*Murmur3Partitioner/)
  })
  await run('schema change', schemaChange)
  await run('prepare and execute', prepareAndExecute)
  await literals()
  await run('bind counter', async () => {
    await accepted(
      `UPDATE ${first}.counters SET c = c + 7 WHERE k = 1`,
      `UPDATE ${first}.counters SET c = c - 2 WHERE k = 1`,
    )
    assert.equal((await select(`SELECT c FROM ${first}.counters WHERE k = 1`))[0]?.get('c'), '5')
  })
  await run('bind null', async () => {
    await accepted(
      `INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (2, 'here', 5)`,
      `INSERT INTO ${first}.natives (k, c_text, c_int) VALUES (2, null, null)`,
    )
    const [row] = await select(`SELECT c_text, c_int FROM ${first}.natives WHERE k = 2`)
    assert.deepEqual([row?.get('c_text'), row?.get('c_int')], ['null', 'null'])
  })
  skip('bind unset', 'cqlsh cannot leave a value unset')
  await run('large value', async () => {
    const put = 'a long text '.repeat(30_000)
    await accepted(`INSERT INTO ${first}.kv (k, v) VALUES (3, '${put}')`)
    assert.equal((await select(`SELECT v FROM ${first}.kv WHERE k = 3`))[0]?.get('v'), put.trimEnd())
  })
  await shapes()
  await run('paging 10000', paging)
  await run('batch logged', () => batch('BEGIN BATCH', 1000))
  await run('batch unlogged', () => batch('BEGIN UNLOGGED BATCH', 1010))
  await run('batch counter', async () => {
    const update = (key: number) => `UPDATE ${first}.counters SET c = c + ${key} WHERE k = ${key}`
    await accepted(`BEGIN COUNTER BATCH ${update(2)}; ${update(3)}; APPLY BATCH`)
    const rows = await select(`SELECT c FROM ${first}.counters WHERE k IN (2, 3)`)
    assert.deepEqual(rows.map((row) => row.get('c')).sort(), ['2', '3'])
  })
  skip('batch mixed', 'a batch of cqlsh is one string')
  await run('lwt', lwt)
  await run('tracing', async () => {
    const out = await accepted('TRACING ON', `SELECT v FROM ${first}.kv WHERE k = 1`)
    assert.match(out, /Tracing session: [0-9a-f-]{36}/)
    assert.match(out, /Request complete/)
  })
  await run('use', async () => {
    const out = await accepted(
      `USE ${first}`,
      "INSERT INTO kv (k, v) VALUES (3000, 'in a')",
      `USE ${second}`,
      "INSERT INTO kv (k, v) VALUES (3000, 'in b')",
      'EXPAND ON',
      'SELECT v FROM kv WHERE k = 3000',
      `USE "${first}"`,
      'SELECT v FROM kv WHERE k = 3000',
    )
    assert.deepEqual(
      rowsOf(out).map((row) => row.get('v')),
      ['in b', 'in a'],
    )
  })
  skip('in flight 1000', 'cqlsh sends one statement at a time')
  await run('error syntax', () => refused(['SELEKT * FROM nothing'], /SyntaxException/))
  await run('error unknown table', () => refused([`SELECT * FROM ${first}.nothing_here`], /InvalidRequest/))
  if (env.RF_READER_CERT) {
    await run('refused reader', async () => {
      const read = `SELECT v FROM ${first}.kv WHERE k = 1`
      const write = `INSERT INTO ${first}.kv (k, v) VALUES (1, 'changed')`
      const { out, err } = await cqlsh(['EXPAND ON', read, write, read], 'READER_')
      assert.match(err, /Unauthorized/)
      assert.deepEqual(
        rowsOf(out).map((row) => row.get('v')),
        ['one', 'one'],
      )
    })
  } else skip('refused reader', 'no second identity given')
  if (env.RF_NOBODY_CERT) {
    await run('refused nobody', () =>
      refused([`SELECT v FROM ${first}.kv WHERE k = 1`, `DROP TABLE ${first}.kv`], /Unauthorized/, 'NOBODY_'),
    )
  } else skip('refused nobody', 'no third identity given')

  await cqlsh([`DROP KEYSPACE IF EXISTS ${first}`, `DROP KEYSPACE IF EXISTS ${second}`])
  rmSync(home, { recursive: true, force: true })
  finish()
}

async function schemaChange(): Promise<void> {
  const natives = literalCases.map(([type]) => `c_${type} ${type}`).join(', ')
  const out = await accepted(
    `DROP KEYSPACE IF EXISTS ${first}`,
    `DROP KEYSPACE IF EXISTS ${second}`,
    `CREATE KEYSPACE ${first} WITH replication = ${replication}`,
    `CREATE KEYSPACE ${second} WITH replication = ${replication}`,
    `CREATE TABLE ${first}.natives (k int PRIMARY KEY, ${natives})`,
    `CREATE TYPE ${first}.address (street text, number int, tags frozen<list<text>>)`,
    `CREATE TABLE ${first}.shapes (k int PRIMARY KEY, l list<int>, s set<text>, m map<text, int>,
       n map<text, frozen<list<frozen<list<text>>>>>, t tuple<int, text, boolean>, u frozen<address>, v vector<float, 3>)`,
    `CREATE TABLE ${first}.rows (p int, c int, v text, PRIMARY KEY (p, c))`,
    `CREATE TABLE ${first}.kv (k int PRIMARY KEY, v text)`,
    `CREATE TABLE ${second}.kv (k int PRIMARY KEY, v text)`,
    `CREATE TABLE ${first}.counters (k int PRIMARY KEY, c counter)`,
    `CREATE TABLE ${first}.brief (k int PRIMARY KEY, v text)`,
    `ALTER TABLE ${first}.brief ADD w int`,
    `DESCRIBE TABLE ${first}.brief`,
    `DROP TABLE ${first}.brief`,
  )
  assert.match(out, new RegExp(`CREATE TABLE ${first}.brief \\([^;]*w int`))
  const gone = await cqlsh([`DESCRIBE TABLE ${first}.brief`])
  assert.match(gone.err, /not found/)
  const keyspaces = await accepted('DESCRIBE KEYSPACES')
  assert.match(keyspaces, new RegExp(first))
}

/** COPY FROM prepares its INSERT and sends batches of bound values. */
async function prepareAndExecute(): Promise<void> {
  const csv = join(home, 'kv.csv')
  writeFileSync(csv, '1,one\n2,two\n')
  const out = await accepted(`COPY ${first}.kv (k, v) FROM '${csv}' WITH NUMPROCESSES = 1`)
  assert.match(out, /2 rows imported/)
  assert.equal((await select(`SELECT v FROM ${first}.kv WHERE k = 1`))[0]?.get('v'), 'one')
}

/** All native types in one run of cqlsh each way, then a line for each. */
async function literals(): Promise<void> {
  const { err } = await cqlsh(
    literalCases.map(([type, literal]) => `INSERT INTO ${first}.natives (k, c_${type}) VALUES (1, ${literal})`),
  )
  const row = await onlyRow(`SELECT * FROM ${first}.natives WHERE k = 1`)
  for (const [type, , shown] of literalCases) {
    await run(`bind ${type}`, async () => assert.equal(row?.get(`c_${type}`), shown, err))
  }
}

async function shapes(): Promise<void> {
  const values: readonly (readonly [name: string, column: string, literal: string, shown: string])[] = [
    ['collection list', 'l', '[3, 1, 2]', '[3, 1, 2]'],
    ['collection set', 's', "{'a', 'b', 'ü'}", "{'a', 'b', 'ü'}"],
    ['collection map', 'm', "{'one': 1, 'two': 2}", "{'one': 1, 'two': 2}"],
    ['collection nested frozen', 'n', "{'k': [['x', 'y'], ['z']]}", "{'k': [['x', 'y'], ['z']]}"],
    ['tuple', 't', "(7, 'seven', true)", "(7, 'seven', True)"],
    [
      'udt',
      'u',
      "{street: 'Hauptstraße', number: 7, tags: ['home', 'old']}",
      "{street: 'Hauptstraße', number: 7, tags: ['home', 'old']}",
    ],
    ['vector', 'v', '[0.5, -1.25, 3]', '[0.5, -1.25, 3]'],
  ]
  const { err } = await cqlsh(
    values.map(([, column, literal]) => `INSERT INTO ${first}.shapes (k, ${column}) VALUES (1, ${literal})`),
  )
  const row = await onlyRow(`SELECT * FROM ${first}.shapes WHERE k = 1`)
  for (const [name, column, , shown] of values) {
    await run(name, async () => assert.equal(row?.get(column), shown, err))
  }
}

/** The row, or undefined when it cannot be read: each case that looks at it then says what it misses. */
async function onlyRow(cql: string): Promise<Map<string, string> | undefined> {
  const { out } = await cqlsh(['CONSISTENCY LOCAL_QUORUM', 'EXPAND ON', cql])
  return rowsOf(out)[0]
}

async function paging(): Promise<void> {
  const csv = join(home, 'rows.csv')
  const rows = Array.from({ length: 10_000 }, (_, row) => `${Math.floor(row / 1000)},${row},row ${row}\n`)
  writeFileSync(csv, rows.join(''))
  const copied = await accepted(`COPY ${first}.rows (p, c, v) FROM '${csv}' WITH NUMPROCESSES = 2`)
  assert.match(copied, /10000 rows imported/)
  const out = await accepted('CONSISTENCY LOCAL_QUORUM', 'PAGING 500', `SELECT c, v FROM ${first}.rows`)
  const seen = new Set<string>()
  for (const [, c, v] of out.matchAll(/^ +(\d+) \| +row (\d+)$/gm)) {
    assert.equal(c, v)
    seen.add(c!)
  }
  assert.equal(seen.size, 10_000)
}

async function batch(begin: string, base: number): Promise<void> {
  const inserts = [0, 1, 2].map((offset) => `INSERT INTO ${first}.kv (k, v) VALUES (${base + offset}, 'b${offset}')`)
  await accepted(`${begin} ${inserts.join('; ')}; APPLY BATCH`)
  const rows = await select(`SELECT v FROM ${first}.kv WHERE k IN (${base}, ${base + 1}, ${base + 2})`)
  assert.deepEqual(rows.map((row) => row.get('v')).sort(), ['b0', 'b1', 'b2'])
}

async function lwt(): Promise<void> {
  const insert = (value: string) => `INSERT INTO ${first}.kv (k, v) VALUES (2000, '${value}') IF NOT EXISTS`
  const update = (was: string) => `UPDATE ${first}.kv SET v = 'third' WHERE k = 2000 IF v = '${was}'`
  const out = await accepted('EXPAND ON', insert('first'), insert('second'), update('other'), update('first'))
  const rows = rowsOf(out).map((row) => [row.get('[applied]'), row.get('v')])
  assert.deepEqual(rows, [
    ['True', undefined],
    ['False', 'first'],
    ['False', 'first'],
    ['True', undefined],
  ])
}

/** Each statement must fail with `error`, and the same connection must still answer after each. */
async function refused(statements: string[], error: RegExp, identity: Identity = ''): Promise<void> {
  const probe = "SELECT key FROM system.local WHERE key = 'local'"
  const { out, err, code } = await cqlsh(
    ['EXPAND ON', ...statements.flatMap((statement) => [statement, probe])],
    identity,
  )
  assert.equal(code, 2, `exit code ${code}: ${err}`)
  const errors = err.split('\n').filter((line) => line.startsWith(join(home, 'script.cql')))
  assert.equal(errors.length, statements.length, err)
  for (const line of errors) assert.match(line, error)
  assert.deepEqual(
    rowsOf(out).map((row) => row.get('key')),
    statements.map(() => 'local'),
  )
}

await main()
