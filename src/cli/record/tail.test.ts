/** `audit tail`: the last lines, those that come, which of them, and its end. */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { BothForms, filesOf } from '../../archive/both-forms.fixture.ts'
import { dayMs, RecordFolder } from '../../archive/lines.fixture.ts'
import type { RecordFile } from '../../archive/record-file.ts'
import { select, statementOf, TestLog } from '../../audit/sealed/log.fixture.ts'
import { CommandLines } from './command-lines.fixture.ts'
import { RecordTail } from './tail.ts'
import { isWanted, lineOf } from './tail-filter.ts'

const bin = fileURLToPath(new URL('../../../bin/ringfence.mjs', import.meta.url))

let folder: string
let count = 0
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-tail-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))
const fresh = (): string => join(folder, String(count++))

describe('the end of a record', () => {
  it('is followed in both forms alike, however it grows and wherever files end', async () => {
    const both = new BothForms(fresh(), { segmentBytesMax: 4_000 })
    const read = { lines: [] as string[], sealed: [] as string[] }
    const tails = [
      new RecordTail(
        () => filesOf(both.linesPath),
        (line) => read.lines.push(line),
      ),
      new RecordTail(
        () => filesOf(both.sealedPath),
        (line) => read.sealed.push(line),
      ),
    ]
    for (let at = 0; at < 12; at++) {
      both.run(7, at)
      if (at === 5) both.restart(false)
      for (const tail of tails) while (await tail.step());
    }
    both.close()
    for (const tail of tails) while (await tail.step());
    const rowsOf = (lines: readonly string[]): string[] =>
      lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ event }) => event !== 'started' && event !== 'log key')
        .map(({ seq: _, ...rest }) => JSON.stringify(rest))
        .sort()
    assert.ok(read.lines.length > 400)
    const [lines, sealed] = [rowsOf(read.lines), rowsOf(read.sealed)]
    const differs = lines.findIndex((line, at) => line !== sealed[at])
    assert.equal(sealed[differs], lines[differs])
    assert.equal(sealed.length, lines.length)
  })

  it('begins within the last MiB, with whole lines, and says what leans on what came before', async () => {
    const log = new TestLog(fresh(), { segmentBytesMax: 400_000 })
    const late = log.request('billing', select)
    log.record.begun(late)
    log.run(90_000)
    log.record.ended(late)
    log.run(5)
    const record = new RecordFolder(fresh())
    for (let at = 0; at < 4_000; at++) record.add(record.file(), dayMs + at)
    for (const [directory, least, most] of [
      [log.directory, 30_000, 80_000],
      [record.path, 1_000, 3_000],
    ] as const) {
      const lines: string[] = []
      const tail = new RecordTail(
        () => filesOf(directory),
        (line) => lines.push(line),
      )
      while (await tail.step());
      assert.ok(lines.length > least && lines.length < most, `${lines.length} lines`)
      assert.ok(lines.every((line) => lineOf(line) !== undefined))
      if (directory === log.directory) assert.ok(lines.some((line) => line.includes('svc/billing')))
    }
    log.writer.close()
  })

  it('is read piece by piece, so that who reads slowly holds nothing up', async () => {
    const record = new RecordFolder(fresh())
    record.add(record.file(), dayMs)
    let taken = 0
    const tail = new RecordTail(
      () => filesOf(record.path),
      (line) => {
        taken += line.length
      },
    )
    while (await tail.step());
    const line = readFileSync(record.file())
    for (let at = 0; at < 10; at++)
      appendFileSync(record.file(), Buffer.concat(Array.from({ length: 1_000 }, () => line)))
    for (let before = taken; await tail.step(); before = taken) assert.ok(taken - before <= 256 * 1024)
    assert.equal(taken, 10_001 * (line.length - 1))
  })

  it('what is torn, cut back or gone ends nothing', async () => {
    const record = new RecordFolder(fresh())
    const file = record.file()
    record.add(file, dayMs)
    const lines: string[] = []
    const tail = new RecordTail(
      () => filesOf(record.path),
      (line) => lines.push(line),
    )
    const steps = async (): Promise<number> => {
      while (await tail.step());
      return lines.length
    }
    assert.equal(await steps(), 1)
    const whole = readFileSync(file)
    appendFileSync(file, '{"time":"2026-')
    assert.equal(await steps(), 1, 'it is being written')
    writeFileSync(file, whole)
    record.add(record.file('sidecar-1', 1), dayMs + 1)
    assert.equal(await steps(), 2)
    rmSync(file)
    record.add(record.file('sidecar-1', 1), dayMs + 2)
    assert.equal(await steps(), 3)
  })

  it('says each line of a log once, in its order, wherever its segments lie at present', async () => {
    const options = { segmentBytesMax: 3_000 }
    const log = new TestLog(fresh(), options)
    const copy = fresh()
    mkdirSync(copy)
    const seen: number[] = []
    const list = (): RecordFile[] => {
      // Of both the longer one, as questions take it.
      const longest = new Map<string, RecordFile>()
      for (const file of [...filesOf(log.directory), ...filesOf(copy)]) {
        const known = longest.get(basename(file.path))
        if (known === undefined || file.bytes > known.bytes) longest.set(basename(file.path), file)
      }
      return [...longest.values()]
    }
    const asked = statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders'])
    log.run(10, 'orders', asked)
    const tail = new RecordTail(list, (line) => seen.push(Number((JSON.parse(line) as { seq: number }).seq)))
    const steps = async (): Promise<void> => {
      while (await tail.step());
    }
    for (let round = 0; round < 6; round++) {
      log.run(40, 'orders', asked)
      log.nowMs += 1000
      log.writer.sealNow()
      await steps()
      for (const { path } of filesOf(log.directory)) cpSync(path, join(copy, basename(path)))
      await steps()
      // What is collected goes here, and is there; later it goes there, too.
      for (const { path } of filesOf(log.directory).slice(0, -1)) rmSync(path)
      await steps()
      if (round === 3) for (const { path } of filesOf(copy).slice(0, 2)) rmSync(path)
      log.run(20, 'orders', asked)
      await steps()
    }
    log.writer.close()
    await steps()
    assert.deepEqual(
      seen,
      seen.map((_, at) => at + 1),
    )
    assert.ok(seen.length > 370)
  })

  it('passes over what goes after it was listed', async () => {
    const log = new TestLog(fresh(), { segmentBytesMax: 3_000 })
    const record = new RecordFolder(fresh())
    const lines: string[] = []
    const asked = statementOf('SELECT a FROM shop.orders', ['shop.orders'])
    for (let block = 0; block < 8; block++) {
      log.run(60, 'orders', asked)
      log.writer.sealNow()
    }
    record.add(record.file(), dayMs)
    record.add(record.file('sidecar-1', 1), dayMs + 1)
    const all = [...filesOf(log.directory), ...filesOf(record.path)]
    for (const { path } of [all[0]!, all.at(-2)!]) rmSync(path)
    const tail = new RecordTail(
      () => all,
      (line) => lines.push(line),
    )
    while (await tail.step());
    assert.ok(lines.length > 20)
    rmSync(record.path, { recursive: true })
    for (const file of filesOf(log.directory)) rmSync(file.path)
    assert.equal(await tail.step(), false)
    log.writer.close()
  })

  it('bytes that are no record are no line, and end', async () => {
    const directory = fresh()
    mkdirSync(directory)
    const log = new TestLog(fresh())
    log.run(40)
    log.writer.close()
    const [segment] = filesOf(log.directory)
    const good = readFileSync(segment!.path)
    const name = segment!.path.split('/').at(-1)!
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 20 }),
        fc.nat(good.length),
        async (edits, length) => {
          const bytes = Buffer.from(good)
          for (const [at, value] of edits) bytes[at] = value
          writeFileSync(join(directory, name), bytes.subarray(0, length))
          const tail = new RecordTail(
            () => filesOf(directory).filter(({ bytes: size }) => size > 0),
            () => {},
          )
          for (let step = 0; await tail.step(); step++) assert.ok(step < 100)
          tail.end()
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('what audit tail shows', () => {
  it('is what the filters name, as who reads names', () => {
    const line = lineOf(
      JSON.stringify({
        time: '2026-01-02T00:00:00.000Z',
        person: 'corp/alice',
        workload: 'spiffe://demo.local/svc/orders',
        keyspace: 'shop',
        table: 'by_day',
        tables: ['shop.by_day', 'shop.orders', 'shop."Odd ""x"'],
        verdict: 'allow',
      }),
    )!
    const yes = [
      {},
      { person: 'alice' },
      { person: 'corp/alice' },
      { person: 'al*e' },
      { person: '*' },
      { workload: 'orders' },
      { workload: 'svc/*' },
      { workload: 'spiffe://demo.local/svc/orders' },
      { keyspace: 'shop' },
      { keyspace: 'shop', table: 'by_day' },
      { keyspace: 'shop', table: 'orders' },
      { keyspace: 'shop', table: 'Odd "x' },
      { denied: false },
    ]
    const no = [
      { person: 'lice' },
      { person: 'alic' },
      { person: 'al*b' },
      { person: 'alice*alice' },
      { workload: 'order_' },
      { workload: 'vc/orders' },
      { keyspace: 'sho' },
      { keyspace: 'shop', table: 'order' },
      { keyspace: 'stock', table: 'orders' },
      { denied: true },
      { person: 'alice', denied: true },
    ]
    for (const wanted of yes) assert.ok(isWanted(line, wanted), JSON.stringify(wanted))
    for (const wanted of no) assert.ok(!isWanted(line, wanted), JSON.stringify(wanted))
    for (const text of ['', '[]', 'null', '{"time":5}', '{"time":"x"', '"x"'])
      assert.equal(lineOf(text), undefined, text)
    const odd = lineOf('{"time":"x","person":{},"tables":[null,{}],"workload":5}')!
    assert.ok(!isWanted(odd, { person: 'a' }) && !isWanted(odd, { keyspace: 'a' }) && !isWanted(odd, { workload: '5' }))
  })
})

describe('audit tail', () => {
  let commands: CommandLines
  let record: RecordFolder
  before(() => {
    commands = new CommandLines(folder)
    record = new RecordFolder(fresh())
    for (let at = 0; at < 30; at++) {
      const verdict = at % 3 === 0 ? 'deny' : 'allow'
      record.add(record.file(), dayMs + at, {
        text: `SELECT * FROM shop.t${at % 2}`,
        verdict,
        person: `corp/p${at % 5}`,
      })
    }
  })
  after(() => commands.end())

  const tail = async (...args: string[]): Promise<string[]> => {
    const { code, out, err } = await commands.run(['audit', 'tail', '--from', record.path, '--zone', 'UTC', ...args])
    assert.equal(code, 0, err)
    return out.split('\n').slice(0, -1)
  }
  const seqs = (lines: readonly string[]): number[] => lines.map((line) => (JSON.parse(line) as { seq: number }).seq)

  it('prints the last ten, or as many as are named, for people and for programs', async () => {
    assert.deepEqual(seqs(await tail('-o', 'json')), [21, 22, 23, 24, 25, 26, 27, 28, 29, 30])
    assert.deepEqual(seqs(await tail('-o', 'json', '-n', '2')), [29, 30])
    assert.deepEqual(await tail('-n', '0'), [])
    assert.equal((await tail('-n', '10000', '-o', 'json')).length, 30)
    assert.deepEqual(seqs(await tail('-o', 'json', '--denied', '-n', '3')), [22, 25, 28])
    assert.deepEqual(seqs(await tail('-o', 'json', '--table', 'shop.t1', '--person', 'p4', '-n', '2')), [20, 30])
    const [day, line] = await tail('-n', '1')
    assert.equal(day, 'Fri 2 Jan 2026, UTC')
    assert.match(line!, /^00:00:00\.029 {2}allow +sidecar-1\/30 {2}corp\/p4 svc\/orders {2}SELECT shop\.t1$/)
    for (const each of await tail('-n', '30')) assert.ok(each.length <= 80, each)
  })

  it('says the day and the zone to people, and again where another day begins', async () => {
    const days = new RecordFolder(fresh())
    for (const ms of [-1, 0, 1]) days.add(days.file(), dayMs + ms)
    const shown = async (zone: string, ...args: string[]): Promise<string[]> => {
      const { out } = await commands.run(['audit', 'tail', '--from', days.path, '--zone', zone, ...args])
      return out
        .split('\n')
        .slice(0, -1)
        .map((line) => /^[0-9:.]+(?= {2})/.exec(line)?.[0] ?? line)
    }
    const [first, second] = ['Thu 1 Jan 2026, UTC', 'Fri 2 Jan 2026, UTC']
    assert.deepEqual(await shown('UTC'), [first, '23:59:59.999', second, '00:00:00.000', '00:00:00.001'])
    const berlin = ['Fri 2 Jan 2026, Europe/Berlin', '00:59:59.999', '01:00:00.000', '01:00:00.001']
    assert.deepEqual(await shown('Europe/Berlin'), berlin)
    assert.deepEqual(await shown('UTC', '--limit', '2'), [first, '23:59:59.999', second, '00:00:00.000'])
    assert.equal((await shown('UTC', '-o', 'json')).length, 3, 'programs are told by each line')
  })

  it('does nothing to a terminal, whatever a line holds, and stays the same JSON for programs', async () => {
    const hostile = [
      '\u009b31m',
      '\u0085',
      '\u202e',
      '\u2066',
      '\u2028',
      '\u007f',
      '\ufeff',
      '\u200b',
      '\u{e0041}',
      '\u0301',
    ]
    const folder = fresh()
    mkdirSync(folder)
    const lines = hostile.map((text, at) =>
      JSON.stringify({ time: new Date(dayMs + at).toISOString(), seq: at, proxy: text, person: text, rule: text }),
    )
    const blanks = `{"time":"${new Date(dayMs + 99).toISOString()}",\t"seq":99,\r"person":"\\u009b"}`
    writeFileSync(join(folder, 'audit-x-20260102T000000.000Z-000000.jsonl'), [...lines, blanks, ''].join('\n'))
    for (const output of ['json', 'table']) {
      const { code, out } = await commands.run(['audit', 'tail', '-n', '100', '--from', folder, '-o', output])
      assert.equal(code, 0)
      assert.doesNotMatch(out, /[^\n\x20-\x7e\u2026]/, output)
      if (output === 'table') continue
      const printed = out.split('\n').slice(0, -1)
      assert.deepEqual(
        printed.map((line) => JSON.parse(line)),
        [...lines, blanks].map((line) => JSON.parse(line)),
      )
    }
  })

  it('ends with 64 for a wrong value and 65 where there is nothing to follow', async () => {
    for (const args of [
      ['-n', '10001'],
      ['-n', '-1'],
      ['--table', 'a.b.c'],
      ['--zone', 'Nowhere'],
      ['--limit', '0'],
    ])
      assert.equal((await commands.run(['audit', 'tail', '--from', record.path, ...args])).code, 64, args.join(' '))
    assert.equal((await commands.run(['audit', 'tail', '--from', join(folder, 'nothing')])).code, 65)
    const archive = fresh()
    assert.equal((await commands.run(['audit', 'pack', '--from', record.path, '--into', archive])).code, 0)
    const { code, err } = await commands.run(['audit', 'tail', '-f', '--from', archive])
    assert.equal(code, 65)
    assert.match(err, /nothing to follow/)
  })

  function follow(...args: string[]): ChildProcessByStdio<null, Readable, Readable> {
    return spawn(process.execPath, [bin, 'audit', 'tail', '-f', '-o', 'json', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  it('follows both forms, and Ctrl-C ends it with 130; so do other signals, and a reader that has enough', async () => {
    const both = new BothForms(fresh())
    both.run(3)
    const from = ['--from', both.linesPath, '--from', both.sealedPath]
    const ends: readonly (readonly [string[], NodeJS.Signals | 'close' | 'limit', number])[] = [
      [['-n', '1'], 'SIGINT', 130],
      [['-n', '1'], 'SIGTERM', 143],
      [['-n', '1'], 'close', 0],
      [['-n', '1', '--limit', '3'], 'limit', 0],
    ]
    for (const [args, how, code] of ends) {
      const child = follow(...from, ...args)
      const closed = once(child, 'close')
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      assert.ok(lineOf(String((await lines.next()).value)), 'what was there')
      both.run(2)
      assert.ok(lineOf(String((await lines.next()).value)), 'what came')
      if (how === 'close') child.stdout.destroy()
      else if (how !== 'limit') child.kill(how)
      // What it hears of a reader that is gone it hears with the next line.
      const writing = setInterval(() => both.run(1), 100)
      const [exit] = await closed
      clearInterval(writing)
      assert.equal(exit, code, how)
    }
    both.close()
  })
})
