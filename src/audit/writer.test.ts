import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from '../base/clock.fixture.ts'
import { RingfenceError } from '../base/errors.ts'
import { answeredPart, appendAnswered, appendTransaction, sessionPart, statementPart, verdictPart } from './record.ts'
import type { AuditFiles } from './writer.ts'
import { AuditWriter } from './writer.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-audit-'))
})
afterEach(() => {
  mock.timers.reset()
  rmSync(directory, { recursive: true, force: true })
})

const files = (): string[] => readdirSync(directory).sort()
const linesOf = (file: string): string[] => readFileSync(join(directory, file), 'utf8').split('\n').slice(0, -1)
const seqsOf = (lines: string[]): number[] => lines.map((line) => (JSON.parse(line) as { seq: number }).seq)

const line = (writer: AuditWriter): string => `${writer.begin()},"x":1}\n`

describe('AuditWriter', () => {
  it('writes nothing before flush, one file after, readable by its owner only', () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 21, 4, 0, 0, 5))
    const writer = new AuditWriter({ directory: join(directory, 'new'), proxy: 'side/car 1', fileBytesMax: 1e6, clock })
    const [file] = readdirSync(join(directory, 'new'))
    assert.equal(file, 'audit-side_car_1-20261121T040000.005Z-000000.jsonl')
    const path = join(directory, 'new', file)
    writer.append(line(writer))
    assert.equal(readFileSync(path, 'utf8'), '')
    writer.flush()
    assert.equal(readFileSync(path, 'utf8'), '{"time":"2026-11-21T04:00:00.005Z","seq":1,"proxy":"side/car 1","x":1}\n')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(statSync(join(directory, 'new')).mode & 0o777, 0o700)
    writer.close()
    writer.append(line(writer))
    writer.flush()
    assert.equal(readFileSync(path, 'utf8').split('\n').length, 2)
  })

  it('says once of each failure that what was gathered by then is in memory only, wherever in a turn it came', () => {
    let room = 0
    const disk: AuditFiles = {
      open: () => 3,
      write: (_fd, bytes, offset) => {
        const taken = Math.min(room, bytes.length - offset)
        if (taken <= 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
        room -= taken
        return taken
      },
      truncate: () => {},
      close: () => {},
      remove: () => {},
    }
    for (const [name, gather] of [
      ['at its end', 1],
      ['in the middle, because much was gathered', 5_000],
    ] as const) {
      const writer = new AuditWriter({
        directory,
        proxy: 'p',
        fileBytesMax: 1e9,
        clock: new ManualClock(),
        files: disk,
      })
      assert.equal(writer.endTurn(), true, name)
      room = 20
      for (let i = 0; i < gather; i++) writer.append(line(writer))
      assert.equal(writer.endTurn(), false, name)
      assert.equal(writer.failed, true)
      // From now on the caller serves nothing, so what leaves are refusals.
      writer.append(line(writer))
      assert.equal(writer.endTurn(), true)
      writer.close()
    }
  })

  it('begins a new file at its size and at midnight, without a gap in the sequence', () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 21, 23, 59, 59, 999))
    const writer = new AuditWriter({ directory, proxy: 'p', fileBytesMax: 150, clock })
    const put = (): void => {
      writer.append(line(writer))
      writer.flush()
    }
    for (let i = 0; i < 5; i++) put()
    assert.equal(files().length, 2)
    clock.advance(1)
    put()
    writer.close()
    assert.equal(files().length, 3)
    assert.match(files()[2]!, /-20261122T000000\.000Z-000002\.jsonl$/)
    assert.deepEqual(
      files().map((file) => seqsOf(linesOf(file))),
      [[1, 2, 3], [4, 5], [6]],
    )
  })

  it('numbers the records of sessions that interleave in the order in which they are written', async () => {
    const writer = new AuditWriter({ directory, proxy: 'p', fileBytesMax: 40_000, clock: new ManualClock() })
    const verdict = verdictPart({ verdict: 'allow', rule: 'r', policyRevision: 1 })
    const statement = statementPart({ keyspace: 'k', table: 't', operation: 'SELECT', statement: 'SELECT ?' })
    const run = async (session: string): Promise<void> => {
      const client = { address: '127.0.0.1', port: 1 }
      const part = sessionPart({
        session,
        workload: 'spiffe://td/a',
        authentication: 'certificate',
        client,
        protocolVersion: 4,
      })
      for (let i = 0; i < 100; i++) {
        appendTransaction(
          writer,
          { session: part, statement, verdict, batchSize: 0, consistency: 1, error: '' },
          { outcome: 'ok', rows: 1, bytesIn: 1, bytesOut: 1, latencyMicros: 1 },
        )
        if (i % 7 === 0) writer.flush()
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map(run))
    writer.close()
    assert.ok(files().length > 1)
    const seqs = files().flatMap((file) => seqsOf(linesOf(file)))
    assert.deepEqual(
      seqs,
      Array.from({ length: 500 }, (_, index) => index + 1),
    )
  })

  it('writes answered requests as it does the others, in whatever order sessions, statements, turns and times come', () => {
    const client = { address: '127.0.0.1', port: 1 }
    const sessions = ['a', 'b'].map((session) =>
      sessionPart({
        session,
        workload: `spiffe://td/${session}`,
        authentication: 'certificate',
        client,
        protocolVersion: 4,
      }),
    )
    const statements = ['SELECT ?', 'INSERT'].map((statement) =>
      statementPart({ keyspace: 'k', table: 't', operation: 'SELECT', statement }),
    )
    const verdict = verdictPart({ verdict: 'allow', rule: 'r', policyRevision: 1 })
    const answered = statements.map((statement) => answeredPart(statement, verdict, 0, 1))
    const pick = fc.nat(1)
    const kind = fc.constantFrom('answered', 'answered', 'answered', 'other', 'turn', 'bunch')
    const steps = fc.array(fc.record({ kind, session: pick, statement: pick }), { maxLength: 60 })
    type Steps = readonly { kind: string; session: number; statement: number }[]
    const textOf = (taken: Steps, asBytes: boolean): string => {
      const clock = new ManualClock()
      const disk = new SmallDisk()
      const writer = new AuditWriter({ directory: '/none', proxy: 'p', fileBytesMax: 1e9, clock, files: disk })
      let micros = 0
      const put = (session: number, statement: number): void => {
        micros++
        // Each stays for some lines, and they do not change together.
        const sizes = { rows: ((micros >> 1) % 3) - 1, bytesIn: 9 + ((micros >> 2) % 2), bytesOut: (micros >> 3) % 200 }
        if (asBytes)
          appendAnswered(writer, sessions[session]!, answered[statement]!, { ...sizes, latencyMicros: micros })
        else {
          const [part, about] = [sessions[session]!, statements[statement]!]
          appendTransaction(
            writer,
            { session: part, statement: about, verdict, batchSize: 0, consistency: 1, error: '' },
            { outcome: 'ok', ...sizes, latencyMicros: micros },
          )
        }
      }
      for (const { kind, session, statement } of taken) {
        if (kind === 'answered') put(session, statement)
        else if (kind === 'other') writer.append(line(writer))
        else if (kind === 'turn') {
          writer.flush()
          clock.advance(statement)
        }
        // Past the end of the piece of memory, and past numbers of one, two and three digits.
        else for (let i = 0; i < 400; i++) put(session, i % 50 === 0 ? statement : 0)
      }
      writer.close()
      return disk.text
    }
    const same = (taken: Steps): void => {
      assert.equal(textOf(taken, true), textOf(taken, false))
    }
    fc.assert(fc.property(steps, same), { numRuns: 200 })
  })

  it('refuses to start where it cannot write', () => {
    const options = { directory: '/proc/none', proxy: 'p', fileBytesMax: 1e6, clock: new ManualClock() }
    assert.throws(
      () => new AuditWriter(options),
      (reason) =>
        reason instanceof RingfenceError && reason.code === 'UNAVAILABLE' && /ENOENT|EACCES/.test(reason.message),
    )
  })
})

/** A disk in memory with so much room, as write(2) behaves: it takes what fits, and fails when nothing does. */
class SmallDisk implements AuditFiles {
  readonly files = new Map<string, Buffer>()
  readonly #open = new Map<number, string>()
  room = Number.POSITIVE_INFINITY
  broken: string | undefined
  #next = 3

  #check(): void {
    if (this.broken !== undefined) throw Object.assign(new Error(this.broken), { code: this.broken })
  }
  open(path: string): number {
    if (this.broken === 'EROFS') this.#check()
    assert.ok(!this.files.has(path), 'a file is never opened twice')
    this.files.set(path, Buffer.alloc(0))
    this.#open.set(++this.#next, path)
    return this.#next
  }
  write(fd: number, bytes: Uint8Array, offset: number): number {
    this.#check()
    const path = this.#open.get(fd)!
    const taken = Math.min(this.room, bytes.length - offset)
    if (taken === 0) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
    this.room -= taken
    this.files.set(path, Buffer.concat([this.files.get(path)!, bytes.subarray(offset, offset + taken)]))
    return taken
  }
  truncate(fd: number, length: number): void {
    this.#check()
    const path = this.#open.get(fd)!
    this.files.set(path, this.files.get(path)!.subarray(0, length))
  }
  close(fd: number): void {
    assert.ok(this.#open.delete(fd), 'a descriptor is closed once')
  }
  remove(path: string): void {
    this.files.delete(path)
  }
  get openCount(): number {
    return this.#open.size
  }
  get text(): string {
    return [...this.files.values()].join('')
  }
}

describe('a disk that fails', () => {
  function start(disk: SmallDisk) {
    mock.timers.enable({ apis: ['setTimeout'] })
    const events: string[] = []
    const clock = new ManualClock()
    const writer = new AuditWriter({
      directory,
      proxy: 'p',
      fileBytesMax: 1e6,
      clock,
      files: disk,
      onFailure: (error) => events.push(`${error.code}: ${error.message}`),
      onRecovery: () => events.push('recovered'),
    })
    const put = (): void => {
      writer.append(line(writer))
      writer.flush()
    }
    const tick = (): void => {
      clock.advance(1000)
      mock.timers.tick(1000)
    }
    return { writer, events, put, tick }
  }

  it('full: says so at once, keeps the lines, cuts off the torn one, and goes on in a new file after a second', () => {
    const disk = new SmallDisk()
    const { writer, events, put, tick } = start(disk)
    put()
    disk.room = 100
    writer.append(line(writer))
    writer.append(line(writer))
    assert.equal(writer.failed, false)
    writer.flush()
    assert.equal(writer.failed, true)
    assert.deepEqual(events, ['UNAVAILABLE: the audit cannot be written: ENOSPC'])
    assert.deepEqual(seqsOf(disk.text.trimEnd().split('\n')), [1, 2])
    put()
    tick()
    tick()
    assert.equal(writer.failed, true)
    assert.equal(disk.files.size, 1, 'no empty files are left behind')
    disk.room = 1e6
    tick()
    assert.equal(writer.failed, false)
    assert.equal(events.length, 2)
    assert.equal(events[1], 'recovered')
    put()
    writer.close()
    const lines = disk.text.trimEnd().split('\n')
    assert.deepEqual(seqsOf(lines), [1, 2, 3, 4, 5, 6])
    assert.deepEqual((JSON.parse(lines[4]!) as { event: string }).event, 'resumed')
    assert.equal(disk.files.size, 2)
    assert.equal(disk.openCount, 0)
  })

  it('full: keeps the lines that are put together as bytes, though their memory is used again', () => {
    const disk = new SmallDisk()
    const { writer, tick } = start(disk)
    const client = { address: '127.0.0.1', port: 1 }
    const part = sessionPart({
      session: 's',
      workload: 'spiffe://td/a',
      authentication: 'certificate',
      client,
      protocolVersion: 4,
    })
    const answered = answeredPart(
      statementPart({ keyspace: 'k', table: 't', operation: 'SELECT', statement: 'SELECT ?' }),
      verdictPart({ verdict: 'allow', rule: 'r', policyRevision: 1 }),
      0,
      1,
    )
    const put = (lines: number): void => {
      for (let i = 0; i < lines; i++)
        appendAnswered(writer, part, answered, { rows: 1, bytesIn: 1, bytesOut: 1, latencyMicros: i })
      writer.flush()
    }
    put(1)
    disk.room = 500
    // More than is gathered at most, so that it is written in pieces of one turn.
    put(3000)
    assert.equal(writer.failed, true)
    put(3)
    writer.append(line(writer))
    writer.flush()
    disk.room = 1e9
    tick()
    put(2)
    writer.close()
    put(1)
    const seqs = seqsOf(disk.text.trimEnd().split('\n'))
    assert.deepEqual(
      seqs,
      Array.from({ length: 3008 }, (_, index) => index + 1),
    )
  })

  it('with an I/O error: never writes to that file again', () => {
    const disk = new SmallDisk()
    const { writer, events, put, tick } = start(disk)
    put()
    const [first] = disk.files.keys()
    disk.broken = 'EIO'
    put()
    assert.equal(writer.failed, true)
    disk.broken = undefined
    const before = disk.files.get(first!)!.length
    put()
    tick()
    put()
    writer.close()
    assert.equal(disk.files.get(first!)!.length, before)
    assert.deepEqual(events, ['UNAVAILABLE: the audit cannot be written: EIO', 'recovered'])
    assert.deepEqual(seqsOf(disk.text.trimEnd().split('\n')), [1, 2, 3, 4, 5])
  })

  it('read-only when a new file is due: fails, and the old file keeps its lines', () => {
    const disk = new SmallDisk()
    const { writer, put, tick } = start(disk)
    put()
    disk.broken = 'EROFS'
    for (let day = 0; day < 2; day++) tick()
    put()
    assert.equal(writer.failed, true)
    tick()
    assert.equal(writer.failed, true)
    disk.broken = undefined
    tick()
    assert.equal(writer.failed, false)
    writer.close()
    assert.equal(disk.openCount, 0)
  })

  it('for long: drops beyond its bound, counts that, and shows it as a gap', () => {
    const disk = new SmallDisk()
    const { writer, tick } = start(disk)
    disk.room = 0
    const big = (): void => {
      writer.append(`${writer.begin()},"x":"${'y'.repeat(900_000)}"}\n`)
      writer.flush()
    }
    for (let i = 0; i < 25; i++) big()
    assert.equal(writer.dropped, 7)
    disk.room = 1e9
    tick()
    writer.close()
    const lines = disk.text.trimEnd().split('\n')
    assert.deepEqual(seqsOf(lines), [...Array.from({ length: 18 }, (_, index) => index + 1), 26])
    assert.equal((JSON.parse(lines.at(-1)!) as { dropped: number }).dropped, 7)
  })
})

it('fails closed on a real full disk', (t) => {
  // /dev/full takes an open and refuses every write with ENOSPC.
  if (!existsSync('/dev/full')) return t.skip('no /dev/full here')
  mock.timers.enable({ apis: ['setTimeout'] })
  const { openSync, writeSync, closeSync } = process.getBuiltinModule('node:fs')
  const writer = new AuditWriter({
    directory,
    proxy: 'p',
    fileBytesMax: 1e6,
    clock: new ManualClock(),
    files: {
      open: () => openSync('/dev/full', 'a'),
      write: (fd, bytes, offset) => writeSync(fd, bytes, offset),
      truncate: () => undefined,
      close: (fd) => closeSync(fd),
      remove: () => undefined,
    },
  })
  writer.append(line(writer))
  writer.flush()
  assert.equal(writer.failed, true)
  writer.close()
})
