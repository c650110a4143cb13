/** Which record a question reads: none that it can't read is passed over, and no line of it counts twice. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordDatabase } from '../../archive/database.ts'
import { dayMs, RecordFolder } from '../../archive/lines.fixture.ts'
import { archiveFiles } from '../../archive/positions.ts'
import { startMs, statementOf, TestLog } from '../../audit/sealed/log.fixture.ts'
import { segmentsOf } from '../../audit/sealed/recover.ts'
import { CommandLines } from './command-lines.fixture.ts'

/** Each command that asks the record, as far as its source. */
const asking: readonly (readonly string[])[] = [
  ['who', 'shop.orders', '--since', '2026-01-01'],
  ['edges', '--since', '2026-01-01'],
  ['audit', 'query', 'SELECT count(*) AS n FROM record', '--since', '2026-01-01'],
  ['audit', 'pack', '--into', 'packed-here'],
  ['evidence', 'export', '--control', 'CC6.1', '--since', '2026-01-01'],
]

describe('where the record is', () => {
  let folder: string
  let commands: CommandLines
  let record: RecordFolder
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-sources-'))
    commands = new CommandLines(folder)
    record = new RecordFolder(join(folder, 'audit'))
    for (let i = 0; i < 3; i++) record.add(record.file(), dayMs + i)
  })
  after(() => {
    commands.end()
    rmSync(folder, { recursive: true, force: true })
  })

  it('a sealed record answers as the lines of it do, also beside another record and packed', async () => {
    const log = new TestLog(join(folder, 'sealed', 'audit'))
    log.run(20)
    log.writer.close()
    const lines = await commands.run(['audit', 'lines', log.directory])
    mkdirSync(join(folder, 'elsewhere'))
    writeFileSync(join(folder, 'elsewhere', 'audit-sidecar-1.jsonl'), lines.out)
    const questions = [
      ['who', 'shop.orders'],
      ['who', 'shop', '--workload', 'svc/orders', '--column', 'id', '--by', 'hour'],
      ['edges'],
      ['audit', 'query', 'SELECT * FROM record ORDER BY seq'],
    ]
    const since = ['--since', new Date(startMs - 1).toISOString(), '-o', 'json']
    const archive = join(folder, 'sealed-archive')
    const answer = async (args: readonly string[], ...from: string[]): Promise<unknown[]> => {
      const { code, out, err } = await commands.run([...args, ...since, ...from.flatMap((one) => ['--from', one])])
      assert.equal(code, 0, `${args.join(' ')}: ${err}`)
      // The end of the range is now.
      return (JSON.parse(out) as { rate?: number }[]).map(({ rate: _, ...rest }) => rest)
    }
    for (const packed of [false, true]) {
      if (packed) {
        const { out, err } = await commands.run(['audit', 'pack', '--into', archive, '--from', log.directory, '--all'])
        assert.match(out, /^22 lines/, err)
      }
      for (const args of questions) {
        const expected = await answer(args, 'elsewhere')
        assert.ok(expected.length > 0, args.join(' '))
        assert.deepEqual(await answer(args, log.directory, ...(packed ? [archive] : [])), expected, args.join(' '))
        // That of the other folder is older.
        assert.deepEqual(await answer(args, log.directory, record.path), expected, args.join(' '))
        if (packed) assert.deepEqual(await answer(args, archive), expected, args.join(' '))
      }
    }
    const evidence = ['evidence', 'export', '--control', 'A.8.15', '--since', since[1]!, '--into', join(folder, 'made')]
    const exported = await commands.run([...evidence, '--from', log.directory])
    assert.equal(exported.code, 0, exported.err)
    const manifest = JSON.parse(readFileSync(join(folder, 'made', 'A.8.15', 'manifest.json'), 'utf8'))
    assert.match(manifest.recordFiles[0].file, /^audit-sidecar-1-.*\.sealed$/)
    assert.match(
      readFileSync(join(folder, 'made', 'A.8.15', 'completeness.csv'), 'utf8'),
      /\r\nsidecar-1,22,1,[^,]*,[^,]*,0,0,/,
    )
  })

  it('what the control plane has collected is there without being named, and counts once beside the sidecar’s own', async () => {
    const host = join(folder, 'host')
    const log = new TestLog(join(host, 'sidecar', 'audit'), { proxy: 'sidecar-3' })
    // What a record remembers of a statement is of one process.
    const select = statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders'])
    log.run(20, 'orders', select)
    log.writer.sealNow()
    const copy = join(host, 'control', 'collected', 'sidecar-3-abc')
    cpSync(log.directory, copy, { recursive: true })
    log.run(10, 'orders', select)
    log.writer.close()
    const requests = async (): Promise<number> => {
      const since = ['--since', new Date(startMs - 1).toISOString(), '-o', 'json']
      const { code, out, err } = await commands.run([
        'who',
        'shop.orders',
        ...since,
        '--state-dir',
        join(host, 'control'),
      ])
      assert.equal(code, 0, err)
      return (JSON.parse(out) as { requests: number }[])[0]!.requests
    }
    assert.equal(await requests(), 30)
    const tail = ['audit', 'tail', '-n', '100', '-o', 'json', '--state-dir', join(host, 'control')]
    assert.equal((await commands.run(tail)).out.match(/"request":"EXECUTE"/g)?.length, 30)
    // Longer, and another story: nobody is answered from either.
    const [own] = segmentsOf(log.directory)
    const bytes = readFileSync(own!)
    writeFileSync(own!, Buffer.from(bytes).fill(0x20, 300, 301))
    const questioned = ['who', 'shop.orders', '--since', new Date(startMs - 1).toISOString()]
    const differing = await commands.run([...questioned, '--state-dir', join(host, 'control')])
    assert.equal(differing.code, 65, differing.err)
    assert.match(differing.err, /are of one segment and say different things/)
    // As long as the copy, the copy counts.
    const { size } = statSync(segmentsOf(copy)[0]!)
    writeFileSync(own!, Buffer.from(bytes.subarray(0, size)).fill(0x20, 300, 301))
    assert.equal(await requests(), 20)
    writeFileSync(own!, bytes)
    // Another log with a segment of that name is another one.
    const namesake = new TestLog(join(host, 'control', 'collected', 'another'), { proxy: 'sidecar-3' })
    namesake.run(5, 'orders', statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders']))
    namesake.writer.close()
    assert.equal(basename(segmentsOf(namesake.directory)[0]!), basename(own!))
    const named = await commands.run([...questioned, '--state-dir', join(host, 'control')])
    assert.equal(named.code, 64, named.err)
    assert.match(named.err, /have the same name/)
    rmSync(namesake.directory, { recursive: true })
    rmSync(join(host, 'sidecar'), { recursive: true })
    assert.equal(await requests(), 20, 'the host of the sidecar is gone')
  })

  it('a folder without a record is refused, whatever else is in it, and also beside one that has one', async () => {
    const empty = join(folder, 'empty')
    const other = join(folder, 'other')
    for (const path of [empty, other]) mkdirSync(path)
    writeFileSync(join(other, 'sidecar.log'), 'started\n')
    for (const args of asking) {
      for (const from of [[empty], [other], [record.path, empty]]) {
        const { code, out, err } = await commands.run([...args, ...from.flatMap((one) => ['--from', one])])
        assert.equal(code, 65, args.join(' '))
        assert.equal(out, '')
        assert.match(err, /(empty|other) has no record/)
      }
    }
  })

  it('what is named twice counts once: a folder, an archive, and a copy of it', async () => {
    const [archive, copy, link] = ['archive', 'copy', 'link'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ]
    const count = async (...from: string[]): Promise<number> => {
      const query = ['audit', 'query', 'SELECT count(*) AS n FROM record', '--since', '2026-01-01', '-o', 'json']
      const { code, out, err } = await commands.run([...query, ...from.flatMap((one) => ['--from', one])])
      assert.equal(code, 0, err)
      return (JSON.parse(out) as { n: number }[])[0]!.n
    }
    symlinkSync(record.path, link)
    assert.equal(await count(record.path, record.path), 3)
    assert.equal(await count('audit', record.path, `${record.path}/`, link), 3)
    const packs = await commands.run(['audit', 'pack', '--into', archive, '--from', link, '--from', record.path])
    assert.match(packs.out, /^3 lines/, packs.err)
    cpSync(archive, copy, { recursive: true })
    assert.equal(await count(archive), 3)
    assert.equal(await count(archive, archive, copy, record.path), 3)
    // Deleted in one, it is counted from the other.
    rmSync(join(copy, 'day=2026-01-02'), { recursive: true })
    assert.equal(await count(archive, copy), 3)
    assert.equal(await count(copy), 0)
  })

  it('archives that have the same lines in other files are refused', async () => {
    const [one, other] = [join(folder, 'one'), join(folder, 'other-archive')]
    const lines = new RecordFolder(join(folder, 'lines'))
    const file = lines.file('sidecar-9')
    lines.add(file, dayMs)
    assert.equal((await commands.run(['audit', 'pack', '--into', one, '--from', lines.path])).code, 0)
    lines.add(file, dayMs + 1)
    assert.equal((await commands.run(['audit', 'pack', '--into', one, '--from', lines.path])).code, 0)
    assert.equal((await commands.run(['audit', 'pack', '--into', other, '--from', lines.path])).code, 0)
    for (const args of asking.filter((words) => !words.includes('pack'))) {
      const { code, out, err } = await commands.run([...args, '--from', one, '--from', other])
      assert.equal(code, 64, args.join(' '))
      assert.equal(out, '')
      assert.match(err, /have the same lines of audit-sidecar-9-/)
      const alone = await commands.run([...args, '--from', one, '--from', lines.path])
      assert.equal(alone.code, 0, alone.err)
    }
  })

  it('a damaged archive is no empty one, whatever is damaged in it', async () => {
    const archive = join(folder, 'damaged')
    const positions = join(archive, 'positions.json')
    assert.equal((await commands.run(['audit', 'pack', '--into', archive, '--from', record.path])).code, 0)
    const [parquet] = archiveFiles(archive).map(({ path }) => path) as [string]
    const whole = { positions: readFileSync(positions), parquet: readFileSync(parquet) }
    const refused = async (words: string, commandsOf: readonly (readonly string[])[]): Promise<void> => {
      for (const args of commandsOf) {
        const into = args.includes('pack') ? ['--into', archive] : ['--from', archive]
        const { code, out, err } = await commands.run([...args, ...into, '--from', record.path])
        assert.equal(code, 65, `${words}: ${args.join(' ')}: ${out}${err}`)
        assert.equal(out, '')
        assert.match(err, /hint: /)
      }
    }
    for (const text of ['', '{', '[]', '{"a.parquet":[{"file":"audit-a.jsonl","from":-1}]}', '\u0000'.repeat(100)]) {
      writeFileSync(positions, text)
      await refused(JSON.stringify(text), asking)
    }
    writeFileSync(positions, whole.positions)
    const questions = asking.filter((words) => !words.includes('pack'))
    for (const length of [0, 3, 500, whole.parquet.length - 1]) {
      writeFileSync(parquet, whole.parquet.subarray(0, length))
      await refused(`${length} bytes of Parquet`, questions)
    }
    const zeros = Buffer.from(whole.parquet)
    zeros.fill(0x5a, 4, 600)
    writeFileSync(parquet, zeros)
    await refused('data of Parquet', questions)
    // One that is none of ours.
    writeFileSync(parquet, whole.parquet)
    using database = await RecordDatabase.open()
    await database.run(`COPY (SELECT 1 AS a) TO '${join(dirname(parquet), 'other.parquet')}' (FORMAT parquet)`)
    await refused('another Parquet', asking)
  })

  it('a record that has nothing of the time is a record', async () => {
    // Nothing was recorded yet.
    const idle = join(folder, 'idle')
    mkdirSync(idle)
    writeFileSync(join(idle, 'audit-sidecar-2-20260102T000000.000Z-000000.jsonl'), '')
    const who = ['who', '--since', '2026-01-03', '--until', '2026-01-04']
    const ran = await commands.run([...who, '--from', record.path, '--from', idle])
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.out, /nobody/)
  })
})
