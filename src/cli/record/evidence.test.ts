import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RecordFolder } from '../../archive/lines.fixture.ts'
import { controls } from '../../archive/populations.ts'
import { archiveFiles } from '../../archive/positions.ts'
import { widthOf } from '../screen.ts'
import { csvRecords } from './answer.ts'

const page = readFileSync(fileURLToPath(new URL('../../../docs/evidence.md', import.meta.url)), 'utf8')

describe('evidence for an auditor', () => {
  let folder: string
  let record: RecordFolder
  let child: ChildProcessByStdio<Writable, Readable, null>
  let answers: AsyncIterator<string>
  before(() => {
    const lines = fileURLToPath(new URL('../command-lines.fixture.ts', import.meta.url))
    folder = mkdtempSync(join(tmpdir(), 'rf-evidence-'))
    child = spawn(process.execPath, [lines], {
      stdio: ['pipe', 'pipe', 'inherit'],
      cwd: folder,
      env: { ...process.env, TZ: 'UTC' },
    })
    answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    record = new RecordFolder(join(folder, 'audit'))
    const nowMs = Date.now() - 3_600_000
    const add = (sent: object, more: object = {}): void => record.add(record.file(), nowMs, sent, more)
    for (let i = 0; i < 60; i++) {
      const text = `SELECT email FROM shop.customers WHERE id = 'CANARY'`
      add({ as: `spiffe://demo.local/svc/s${i}`, person: `corp/p${i % 7}`, text }, i === 9 ? { table: 'a\n"b,' } : {})
    }
    add({
      as: 'spiffe://demo.local/tool/cqlsh',
      person: '=cmd()',
      text: 'SELECT * FROM shop.customers',
      verdict: 'deny',
      rule: 'default-deny',
    })
    // Of more than one table it has none of its own.
    add(
      { as: 'spiffe://demo.local/svc/basket', request: 'BATCH', operation: 'BATCH' },
      { table: undefined, tables: ['shop.carts', 'shop.carts_by_day'], batchSize: 2 },
    )
    add({ as: 'spiffe://demo.local/svc/migrate', text: 'CREATE TABLE shop.t (id int PRIMARY KEY)' })
    add({ as: 'spiffe://demo.local/svc/migrate', operation: 'CONNECT' })
    // Three lines are missing after it.
    add({ as: 'spiffe://demo.local/svc/late' }, { seq: 68 })
    const at = new Date(nowMs).toISOString()
    record.text(
      record.file(),
      `{"time":"${at}","seq":69,"proxy":"sidecar-1","event":"log-in refused","cause":"expired","claimed":"corp/eve"}\n`,
    )
  })
  after(() => {
    child.stdin.end()
    rmSync(folder, { recursive: true, force: true })
  })

  async function run(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
    child.stdin.write(`${JSON.stringify(args)}\n`)
    const { value } = await answers.next()
    return JSON.parse(String(value))
  }

  /** As the page writes it. */
  function words(command: string): string[] {
    return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!).slice(1)
  }

  it('each of the ten questions is answered by its command', async () => {
    const rows = [...page.matchAll(/^\| (.+\?|Draw .+) \| `(ringfence .+)` \|$/gm)]
    assert.equal(rows.length, 10)
    for (const [, question = '', command = ''] of rows) {
      const isSample = command.includes(' sample ')
      const { code, out, err } = await run([...words(command), ...(isSample ? [] : ['--from', record.path])])
      assert.equal(code, 0, `${question}: ${err}`)
      assert.ok(out.trim().split('\n').length > (isSample ? 20 : 1), `${question}: ${out}`)
      assert.doesNotMatch(out, /nobody|no rows|CANARY/, question)
      if (command.includes('edges')) for (const line of out.split('\n')) assert.ok(widthOf(line) <= 80, line)
    }
  })

  it('a manifest says query, count and hash of each population, and nothing is in them that the record has not', async () => {
    for (const { id, populations } of controls) {
      assert.equal((await run(['evidence', 'export', '--control', id, '--from', record.path])).code, 0, id)
      const at = join(folder, 'evidence', id)
      assert.equal(readdirSync(at).length, populations.length + 1)
      assert.deepEqual(
        readdirSync(join(folder, 'evidence')).filter((name) => name.startsWith('.')),
        [],
      )
      const manifest = JSON.parse(readFileSync(join(at, 'manifest.json'), 'utf8'))
      assert.equal(manifest.control, id)
      assert.deepEqual(manifest.parquetFiles, [])
      assert.deepEqual(manifest.recordFiles, [
        { file: basename(record.file()), from: 0, to: statSync(record.file()).size },
      ])
      for (const { file, rows, sha256, query } of manifest.populations) {
        const text = readFileSync(join(at, file), 'utf8')
        assert.equal(createHash('sha256').update(text).digest('hex'), sha256)
        assert.equal(csvRecords(text).length - 1, rows)
        assert.doesNotMatch(text, /CANARY/)
        if (id !== 'CC6.1') continue
        const again = await run(['audit', 'query', query, '--since', '90d', '-o', 'csv', '--from', record.path])
        assert.equal(again.out, text, `${id} ${file}: the same again`)
      }
      assert.ok(page.includes(id), `docs/evidence.md has ${id}`)
    }
    const complete = readFileSync(join(folder, 'evidence/A.8.15/completeness.csv'), 'utf8')
    assert.match(complete, /^sidecar-1,66,1,.*,3,0,\r$/m)
    const access = readFileSync(join(folder, 'evidence/CC6.1/access.csv'), 'utf8')
    assert.match(access, /svc\/basket,,certificate,shop,,"shop\.carts, shop\.carts_by_day",BATCH,allow,/)
    const refused = readFileSync(join(folder, 'evidence/CC7.2/refused.csv'), 'utf8')
    assert.match(refused, /,'=cmd\(\),/)
  })

  it('a manifest names what was read, packed or not', async () => {
    const archive = join(folder, 'archive')
    const part = new RecordFolder(join(folder, 'part'))
    const nowMs = Date.now()
    const hourStartMs = nowMs - (nowMs % 3_600_000)
    part.add(part.file('sidecar-3'), hourStartMs - 3 * 3_600_000)
    part.add(part.file('sidecar-4'), hourStartMs - 3 * 3_600_000)
    const packedBytes = statSync(part.file('sidecar-3')).size
    assert.equal((await run(['audit', 'pack', '--into', archive, '--from', part.path])).code, 0)
    part.add(part.file('sidecar-3'), nowMs - 1)
    const from = ['--from', archive, '--from', part.path, '--into', 'packed-evidence']
    assert.equal((await run(['evidence', 'export', '--control', 'A.8.15', ...from])).code, 0)
    const manifest = JSON.parse(readFileSync(join(folder, 'packed-evidence/A.8.15/manifest.json'), 'utf8'))
    assert.deepEqual(
      manifest.parquetFiles,
      archiveFiles(archive).map(({ name }) => name),
    )
    const bytes = statSync(part.file('sidecar-3')).size
    assert.deepEqual(manifest.recordFiles, [{ file: basename(part.file('sidecar-3')), from: packedBytes, to: bytes }])
  })

  it('a BATCH goes to each of its tables', async () => {
    const { out, err } = await run(['edges', '--since', '90d', '-o', 'json', '--from', record.path])
    const edges = JSON.parse(out) as { workload: string; destination: string; allowed: number }[]
    const basket = edges.filter(({ workload }) => workload.endsWith('/basket'))
    assert.deepEqual(
      basket.map(({ destination, allowed }) => `${destination}: ${allowed}`).sort(),
      ['shop.carts: 1', 'shop.carts_by_day: 1'],
      err,
    )
  })

  it('a sample is the same for everybody, another by another seed, and none of a file that was changed', async () => {
    const file = join(folder, 'evidence/CC6.1/access.csv')
    const draw = (seed: string, size = '10') => run(['evidence', 'sample', file, '--seed', seed, '--size', size])
    const first = await draw('a')
    assert.equal(first.code, 0, first.err)
    const records = csvRecords(first.out)
    assert.equal(records.length, 11)
    const all = csvRecords(readFileSync(file, 'utf8'))
    assert.equal(records[0], all[0])
    for (const one of records) assert.ok(all.includes(one), one)
    // As the page says it, for somebody who has no program of ours.
    const hash = (seed: string, line: string, at: number): string =>
      createHash('sha256').update(`${seed}\n${at}\n${line}`).digest('hex')
    const byHash = all.slice(1).map((line, at) => ({ line, key: hash('a', line, at) }))
    byHash.sort((one, other) => (one.key < other.key ? -1 : 1))
    assert.deepEqual(
      records.slice(1),
      byHash.slice(0, 10).map(({ line }) => line),
    )
    assert.equal((await draw('a')).out, first.out)
    assert.notEqual((await draw('b')).out, first.out)
    assert.deepEqual(csvRecords((await draw('b', '5000')).out).sort(), all.toSorted())
    appendFileSync(file, 'x\r\n')
    const changed = await draw('a')
    assert.equal(changed.code, 1)
    assert.match(changed.err, /is not what its manifest says/)
    assert.equal((await run(['evidence', 'sample', join(folder, 'none.csv'), '--seed', 'a'])).code, 65)
  })
})
