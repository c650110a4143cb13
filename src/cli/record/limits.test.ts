/** No answer is cut without a word: what stands in it, what is said where lines are left out, and what the heading counts. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { dayMs, hourMs, RecordFolder } from '../../archive/lines.fixture.ts'
import { csvRecords } from './answer.ts'
import { CommandLines, type Ran } from './command-lines.fixture.ts'

const identities = 520
const times = ['--since', '2026-01-02', '--until', '2026-01-03']

describe('how many lines an answer has', () => {
  let folder: string
  let commands: CommandLines
  let record: RecordFolder
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-limits-'))
    commands = new CommandLines(folder)
    record = new RecordFolder(join(folder, 'audit'))
    for (let i = 0; i < identities; i++) {
      const verdict = i % 10 === 0 ? 'deny' : 'allow'
      record.add(record.file(), dayMs + Math.floor(i / 30) * hourMs, {
        as: `spiffe://demo.local/svc/s${String(i).padStart(3, '0')}`,
        text: 'SELECT * FROM shop.orders',
        verdict,
      })
    }
    for (let i = 0; i < 30; i++) {
      const client = { address: `192.0.2.${100 + i}`, port: 40_000 }
      record.add(
        record.file(),
        dayMs,
        { as: 'spiffe://demo.local/svc/roaming', text: 'SELECT * FROM shop.carts' },
        { client },
      )
    }
  })
  after(() => {
    commands.end()
    rmSync(folder, { recursive: true, force: true })
  })

  function run(...args: string[]): Promise<Ran> {
    return commands.run([...args, ...times, '--from', record.path])
  }

  const questions: readonly (readonly string[])[] = [
    ['who', 'shop.orders'],
    ['who', 'shop.orders', '--by', 'hour'],
    ['edges'],
    ['audit', 'query', 'SELECT DISTINCT workload FROM record ORDER BY workload'],
  ]
  const linesOf = (args: readonly string[]): number => (args[0] === 'who' ? identities : identities + 1)

  for (const args of questions) {
    it(`${args.slice(0, 4).join(' ')}: all for programs, and 500 in a table, which says so`, async () => {
      const json = await run(...args, '-o', 'json')
      assert.equal(JSON.parse(json.out).length, linesOf(args), json.err)
      assert.equal(json.err, '')
      const csv = await run(...args, '-o', 'csv')
      assert.equal(csvRecords(csv.out).length, linesOf(args) + 1)
      assert.equal(csv.err, '')
      const parquet = await run(...args, '-o', 'parquet', '--out', 'all.parquet')
      assert.equal(parquet.out, `${linesOf(args)} lines written to all.parquet\n`)
      assert.equal(parquet.err, '')
      const table = await run(...args)
      assert.equal(table.out.match(/s\d{3}/g)?.length ?? 0, args[0] === 'who' ? 500 : 499)
      assert.equal(table.err, 'only the first 500 lines are here: --limit 5000 gives more, -o csv all\n')
      const more = await run(...args, '--limit', '5000')
      assert.equal(more.err, '')
    })

    it(`${args.slice(0, 4).join(' ')}: as many as were asked for, in each format, and it is said`, async () => {
      const said = 'only the first 7 lines are here: --limit 70 gives more, -o csv all\n'
      const json = await run(...args, '-o', 'json', '--limit', '7')
      assert.equal(JSON.parse(json.out).length, 7)
      assert.equal(json.err, said)
      const csv = await run(...args, '-o', 'csv', '--limit', '7')
      assert.equal(csvRecords(csv.out).length, 8)
      assert.equal(csv.err, said)
      const parquet = await run(...args, '-o', 'parquet', '--out', 'seven.parquet', '--limit', '7')
      assert.equal(parquet.out, '7 lines written to seven.parquet\n')
      assert.equal(parquet.err, said)
      assert.ok(existsSync(join(folder, 'seven.parquet')))
      const exact = await run(...args, '-o', 'json', '--limit', String(linesOf(args)))
      assert.equal(JSON.parse(exact.out).length, linesOf(args))
      assert.equal(exact.err, '', 'nothing was left out')
    })
  }

  it('a heading counts all, also what has no line', async () => {
    for (const more of [[], ['--by', 'hour'], ['--limit', '3'], ['--limit', '3', '--by', 'hour']]) {
      const { out } = await run('who', 'shop.orders', ...more)
      assert.match(out, /^520 requests, 52 refused$/m, more.join(' '))
    }
  })

  it('all addresses of an identity are there, and a table shows the first of them', async () => {
    const [row] = JSON.parse((await run('who', 'shop.carts', '-o', 'json')).out) as { addresses: string[] }[]
    assert.equal(row?.addresses.length, 30)
    const csv = await run('who', 'shop.carts', '-o', 'csv')
    assert.equal(csv.out.match(/192\.0\.2\./g)?.length, 30)
    const table = await run('who', 'shop.carts')
    assert.doesNotMatch(table.out, /192\.0\.2\.129/)
  })
})
