import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { dayMs, hourMs, RecordFolder } from '../../archive/lines.fixture.ts'
import { widthOf } from '../screen.ts'

const bin = fileURLToPath(new URL('../../../bin/ringfence.mjs', import.meta.url))

describe('who talked to Cassandra', async () => {
  let folder: string
  let record: RecordFolder
  let archive: string
  let child: ChildProcessByStdio<Writable, Readable, null>
  let answers: AsyncIterator<string>
  before(() => {
    const lines = fileURLToPath(new URL('../command-lines.fixture.ts', import.meta.url))
    child = spawn(process.execPath, [lines], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, TZ: 'UTC' } })
    answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    folder = mkdtempSync(join(tmpdir(), 'rf-who-'))
    record = new RecordFolder(join(folder, 'audit'))
    archive = join(folder, 'archive')
    const add = (hour: number, sent: object, more: object = {}): void =>
      record.add(record.file(), dayMs + hour * hourMs, sent, more)
    const orders = { as: 'spiffe://demo.local/svc/orders' }
    add(1, { ...orders, text: `SELECT id, total FROM shop.orders WHERE id = 'CANARY-1'` })
    add(2, { ...orders, text: `INSERT INTO shop.orders (id, email) VALUES (1, 'CANARY-2')` })
    add(3, { as: 'spiffe://demo.local/tool/cqlsh', person: 'corp/alice', text: 'SELECT * FROM shop.orders' })
    add(4, {
      as: 'spiffe://demo.local/tool/cqlsh',
      person: 'corp/bob',
      text: 'SELECT id FROM shop.orders',
      verdict: 'deny',
      rule: 'default-deny',
    })
    add(5, { ...orders, text: 'SELECT id FROM shop.orders', request: 'PREPARE' })
    add(6, { ...orders, text: 'SELECT * FROM stock.items' })
    // A view of it: the record says both.
    add(
      7,
      { as: 'spiffe://demo.local/svc/report', text: 'SELECT email FROM shop.by_day' },
      { tables: ['shop.by_day', 'shop.orders'] },
    )
    add(
      8,
      { as: 'spiffe://demo.local/svc/odd' },
      { keyspace: 'shop', table: '=1+1', tables: ['shop."=1+1"'], rule: '@rule' },
    )
    add(
      9,
      {
        as: `spiffe://demo.local/svc/long-${'x'.repeat(200)}`,
        person: `corp/${'y'.repeat(100)}`,
        text: 'UPDATE shop.orders SET a = 1 WHERE id = 2',
      },
      { statement: 'UPDATE shop.orders SET a…' },
    )
    // None of these asks for anything.
    for (const operation of ['CONNECT', 'REGISTER', 'DISCONNECT']) {
      add(10, { as: 'spiffe://demo.local/svc/idle', operation })
    }
  })
  after(() => {
    child.stdin.end()
    rmSync(folder, { recursive: true, force: true })
  })

  async function run(args: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
    child.stdin.write(`${JSON.stringify(args)}\n`)
    const { value } = await answers.next()
    const { code, out, err } = JSON.parse(String(value))
    return { status: code, stdout: out, stderr: err }
  }

  async function who(...args: string[]): Promise<Record<string, unknown>[]> {
    const ran = await run(['who', ...args, '--since', '2026-01-02', '--until', '2026-01-03', '-o', 'json', ...from()])
    assert.equal(ran.status, 0, ran.stderr)
    return JSON.parse(ran.stdout)
  }

  function from(): string[] {
    return ['--from', record.path, ...(existsSync(archive) ? ['--from', archive] : [])]
  }

  const namesOf = (rows: readonly Record<string, unknown>[]): string[] =>
    rows
      .map(({ workload, person, requests }) =>
        `${person ?? String(workload).replace(/.*\//, '').slice(0, 6)}:${requests}`.slice(0, 14),
      )
      .sort()

  const both = (name: string, test: () => Promise<void>): void => {
    it(`${name}, over lines`, test)
    it(`${name}, over Parquet and lines`, async () => {
      const packs = await run(['audit', 'pack', '--from', record.path, '--into', archive, '-o', 'json'])
      assert.equal(packs.status, 0, packs.stderr)
      await test()
      rmSync(archive, { recursive: true })
    })
  }

  both('of a table: identities, with those of its views, and no statement that was only prepared', async () => {
    assert.deepEqual(namesOf(await who('shop.orders')), [
      'corp/alice:1',
      'corp/bob:1',
      'corp/yyyyyyyyy',
      'orders:2',
      'report:1',
    ])
    assert.deepEqual(namesOf(await who('SHOP.Orders', '--person', 'alice')), ['corp/alice:1'])
    assert.deepEqual(namesOf(await who('shop.orders', '--denied')), ['corp/bob:1'])
    assert.deepEqual(namesOf(await who('shop.orders', '--workload', 'svc/*')), [
      'corp/yyyyyyyyy',
      'orders:2',
      'report:1',
    ])
    assert.deepEqual(namesOf(await who('shop.orders', '--workload', 'orders')), ['orders:2'])
    assert.deepEqual(namesOf(await who('shop')), [
      'corp/alice:1',
      'corp/bob:1',
      'corp/yyyyyyyyy',
      'odd:1',
      'orders:2',
      'report:1',
    ])
    assert.deepEqual(namesOf(await who('shop."=1+1"')), ['odd:1'])
    assert.deepEqual(namesOf(await who('shop."Orders"')), [])
    assert.deepEqual(namesOf(await who('shop.order_')), [], 'a letter of LIKE is a letter')
    assert.deepEqual(namesOf(await who()).length, 6)
  })

  both('of a column: statements that name it, and those that name all', async () => {
    assert.deepEqual(namesOf(await who('shop.orders', '--column', 'email')), ['corp/alice:1', 'orders:1', 'report:1'])
    // As CQL reads a name.
    for (const name of ['Email', 'EMAIL', '"email"'])
      assert.deepEqual(await who('shop.orders', '--column', name), await who('shop.orders', '--column', 'email'), name)
    assert.deepEqual(namesOf(await who('shop.orders', '--column', '"Email"')), ['corp/alice:1'], 'of all columns')
    assert.equal((await run(['who', 'shop.orders', '--column', 'e-mail', ...from()])).status, 64)
    const ran = await run([
      'who',
      'shop.orders',
      '--column',
      'total',
      '--since',
      '2026-01-02',
      '--until',
      '2026-01-03',
      ...from(),
    ])
    assert.match(ran.stderr, /1 further requests may touch total:\ntheir statements are cut off/)
    for (const line of ran.stderr.split('\n')) assert.ok(widthOf(line) <= 80, line)
  })

  both('by the hour, in a zone', async () => {
    const rows = await who('shop.orders', '--by', 'hour', '--zone', 'Asia/Kolkata', '--workload', 'svc/orders')
    assert.deepEqual(
      rows.map(({ hour, requests }) => [hour, requests]),
      [
        ['2026-01-02 06:00+05:30', 1],
        ['2026-01-02 07:00+05:30', 1],
      ],
    )
  })

  it('a table for people keeps to 80 columns, says the zone, and how many were refused', async () => {
    for (const more of [[], ['--by', 'hour']]) {
      const ran = await run([
        'who',
        'shop.orders',
        '--since',
        '2026-01-02',
        '--until',
        '2026-01-03',
        '--zone',
        'Europe/Berlin',
        ...more,
        ...from(),
      ])
      assert.equal(ran.status, 0, ran.stderr)
      const lines = ran.stdout.split('\n')
      assert.match(lines[0]!, /^shop\.orders: Fri 2 Jan (2026 )?00:00 to Sat 3 Jan (2026 )?00:00, Europe\/Berlin$/)
      assert.equal(lines[1], '6 requests, 1 refused')
      for (const line of lines) assert.ok(widthOf(line) <= 80, line)
    }
    const times = ['--since', '2026-01-02', '--until', '2026-01-03', '--zone', 'America/Argentina/Buenos_Aires']
    for (const args of [
      ['who', `shop."${'T'.repeat(48)}"`],
      ['edges'],
      ['evidence', 'export', '--control', 'CC6.3', '--into', join(folder, 'evidence')],
      ['audit', 'pack', '--into', join(folder, 'eighty')],
    ]) {
      const { stdout, stderr } = await run([...args, ...(args.includes('pack') ? [] : times), ...from()])
      // A path is as long as it is.
      const lines = stdout.replaceAll(folder, '').split('\n')
      for (const line of lines) assert.ok(widthOf(line) <= 80, `${args.join(' ')}: ${line}${stderr}`)
    }
    rmSync(join(folder, 'eighty'), { recursive: true })
    for (const args of [['who'], ['edges'], ['audit', 'query'], ['audit', 'pack'], ['evidence', 'export']]) {
      const { stdout } = await run([...args, '--help'])
      for (const line of stdout.split('\n')) assert.ok(widthOf(line) <= 80, line)
    }
    const none = await run(['who', 'shop.nothing', '--since', '2026-01-02', ...from()])
    assert.match(none.stdout, /0 requests\n\nnobody/)
  })

  it('CSV runs no formula, and Parquet is read back', async () => {
    const csv = await run(['who', 'shop."=1+1"', '--since', '2026-01-02', '-o', 'csv', ...from()])
    assert.match(
      csv.stdout,
      /^workload,person,verdict,rule,.*\r\nspiffe:\/\/demo\.local\/svc\/odd,,allow,'@rule,SELECT,1,/,
    )
    const out = join(folder, 'who.parquet')
    const parquet = await run(['who', 'shop', '--since', '2026-01-02', '-o', 'parquet', '--out', out, ...from()])
    assert.match(parquet.stdout, /^6 lines written/, parquet.stderr)
    assert.ok(existsSync(out))
    rmSync(out)
    assert.equal((await run(['who', 'shop', '-o', 'parquet', ...from()])).status, 64)
  })

  it('SQL answers the same, and no more', async () => {
    const sql = `SELECT person FROM record WHERE table_name = 'orders' AND person IS NOT NULL ORDER BY person -- who`
    const ran = await run(['audit', 'query', sql, '--since', '2026-01-02', '-o', 'json', ...from()])
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(JSON.parse(ran.stdout).length, 3)
    const out = join(folder, 'stolen.csv')
    for (const attack of [
      `SELECT 1) TO '${out}' --`,
      `SELECT 1) TO '${out}' (FORMAT csv); SELECT (1`,
      `COPY record TO '${out}'`,
    ])
      for (const format of ['json', 'parquet'])
        assert.equal(
          (await run(['audit', 'query', attack, '-o', format, '--out', join(folder, 'p.parquet'), ...from()])).status,
          64,
          attack,
        )
    assert.equal(existsSync(out), false)
  })

  it('words that are no time end with 64, and no record with 65', async () => {
    assert.equal((await run(['who', 'shop', '--since', 'soon', ...from()])).status, 64)
    for (const times of [
      ['--since', '2026-01-03', '--until', '2026-01-02'],
      ['--since', '2026-01-02', '--until', '2026-01-02'],
      ['--since', '9999-01-01'],
      ['--since', '2026-01-02T02:00+01[Europe/Berlin]'],
    ])
      for (const args of [
        ['who'],
        ['edges'],
        ['audit', 'query', 'SELECT 1'],
        ['evidence', 'export', '--control', 'CC6.1'],
      ]) {
        const { status, stdout, stderr } = await run([...args, ...times, ...from()])
        assert.equal(status, 64, `${args.join(' ')} ${times.join(' ')}: ${stdout}`)
        assert.match(stderr, /is not before|no time/)
      }
    assert.equal((await run(['who', 'shop.a.b', ...from()])).status, 64)
    assert.equal((await run(['who', 'shop', '--zone', 'Nowhere', ...from()])).status, 64)
    assert.equal((await run(['who', 'shop', '--from', join(folder, 'nothing')])).status, 65)
    assert.equal((await run(['who', 'shop', '--state-dir', join(folder, 'nothing', 'control')])).status, 65)
  })

  it('Ctrl-C ends a question with 130, after it said how far it is, and leaves nothing behind; so do other signals', async () => {
    await Promise.all([ends('SIGINT', 130), ends('SIGTERM', 143), ends('SIGHUP', 129)])
  })

  async function ends(signal: NodeJS.Signals, exits: number): Promise<void> {
    const temporary = mkdtempSync(join(folder, 'tmp-'))
    const sql = 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range * b.range = 7'
    const child = spawn(process.execPath, [bin, 'audit', 'query', sql, ...from()], {
      env: { ...process.env, TMPDIR: temporary },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let told = ''
    child.stderr.on('data', (text: Buffer) => {
      // After two seconds.
      if (told === '') child.kill(signal)
      told += text.toString()
    })
    const [code] = await once(child, 'close')
    assert.match(told, /\ds\n[\s\S]*cancelled; nothing is left behind/)
    assert.equal(code, exits, signal)
    assert.deepEqual(readdirSync(temporary), [], signal)
  }
})
