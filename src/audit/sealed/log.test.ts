/** The sealed log from its writer to its verifier: what is written is read back, verified, and gone on with after a kill and a full disk. */
import assert from 'node:assert/strict'
import { copyFileSync, readdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { realFiles } from './files.ts'
import { decodeHeader, frameKind } from './format.ts'
import { FrameReader } from './frames.ts'
import { SealedLines } from './lines.ts'
import { folderOfLog, select, startMs, statementOf, TestLog } from './log.fixture.ts'
import { proofOf } from './proof.ts'
import { segmentsOf } from './recover.ts'
import { verifyLog } from './verify.ts'

type Line = { readonly [key: string]: unknown }

function linesOf(directory: string): Line[] {
  const lines: Line[] = []
  const sealed = new SealedLines((line) => lines.push(JSON.parse(line) as Line))
  for (const path of segmentsOf(directory)) sealed.segment(readFileSync(path))
  sealed.end()
  return lines
}

const transactions = (directory: string): Line[] => linesOf(directory).filter(({ event }) => event === undefined)

function assertWhole(directory: string): ReturnType<typeof verifyLog> {
  const verified = verifyLog(directory)
  assert.deepEqual(verified.findings, [])
  return verified
}

describe('a sealed log', () => {
  it('has each transaction as the line that the record in lines has', () => {
    const log = new TestLog(folderOfLog())
    log.run(1)
    log.writer.close()
    assert.deepEqual(transactions(log.directory), [
      {
        time: new Date(startMs).toISOString(),
        seq: 3,
        proxy: 'sidecar-1',
        session: 's-orders',
        workload: 'spiffe://demo.local/svc/orders',
        authentication: 'certificate',
        client: { address: '192.0.2.7', port: 40123 },
        protocol: 5,
        keyspace: 'shop',
        table: 'orders',
        tables: ['shop.orders'],
        operation: 'SELECT',
        statement: 'SELECT * FROM shop.orders WHERE id = ?',
        request: 'EXECUTE',
        consistency: 'LOCAL_QUORUM',
        verdict: 'allow',
        rule: 'orders-service',
        policyRevision: 7,
        outcome: 'ok',
        rows: 1,
        bytesIn: 90,
        bytesOut: 1200,
        latencyMicros: 812,
      },
    ])
    const { records, unsealed, signed, blocks } = assertWhole(log.directory)
    assert.deepEqual({ records, unsealed, signed, blocks }, { records: 3, unsealed: 0, signed: 2, blocks: 2 })
  })

  it('takes little room for each, and goes over to other segments', () => {
    const log = new TestLog(folderOfLog(), { segmentBytesMax: 200_000 })
    log.run(100_000)
    log.writer.close()
    const paths = segmentsOf(log.directory)
    const bytes = paths.reduce((sum, path) => sum + readFileSync(path).length, 0)
    assert.ok(paths.length > 3, String(paths.length))
    assert.ok(bytes / 100_000 < 40, `${bytes / 100_000} bytes for each`)
    assert.equal(transactions(log.directory).length, 100_000)
    // Beside them the start, and in each segment whose the key is.
    assert.equal(assertWhole(log.directory).records, 100_001 + paths.length)
  })

  it('has more than one tile of blocks, and the tiles lead to the checkpoint', () => {
    const log = new TestLog(folderOfLog())
    for (let block = 0; block < 600; block++) {
      log.run(1)
      log.writer.sealNow()
    }
    log.writer.close()
    assert.equal(assertWhole(log.directory).blocks, 601)
  })
})

describe('a block', () => {
  it('says by itself who did what, and by which rule, whatever was defined before it', () => {
    const log = new TestLog(folderOfLog())
    const late = log.request('billing', select)
    log.record.begun(late)
    for (let block = 0; block < 3; block++) {
      log.run(4)
      log.nowMs += 1000
      log.writer.sealNow()
    }
    // Its intent is of another block.
    log.record.ended(late)
    log.run(1)
    log.writer.close()
    const lines: Line[] = []
    for (const number of [4, 8, 16]) {
      const { text, frames } = proofOf(log.directory, number)
      const header = Buffer.from(/^extra (.*)$/m.exec(text)![1]!, 'base64')
      const sealed = new SealedLines((line) => lines.push(JSON.parse(line) as Line))
      sealed.block(frames, decodeHeader(header)!.numberBefore)
      sealed.end()
    }
    const told = lines.filter(({ event }) => event === undefined)
    assert.deepEqual(
      told.filter((line) => !line.workload || !line.statement || !line.rule || !line.time),
      [],
    )
    const whose = (workload: string): unknown[] =>
      told
        .filter((line) => line.workload === `spiffe://demo.local/svc/${workload}`)
        .map(({ seq, outcome }) => [seq, outcome])
    // In the block of its intent it is not known yet how it ended.
    assert.deepEqual(whose('billing'), [
      [3, 'lost'],
      [3, 'ok'],
    ])
    assert.deepEqual(
      whose('orders').map((line) => (line as [number])[0]),
      [4, 5, 6, 7, 8, 9, 10, 11, 16],
    )
  })
})

describe('a sealed log of a process that was killed', () => {
  /** A copy of the folder as it is now: what a process that is killed leaves behind. */
  function copyOf(directory: string): string {
    const copy = folderOfLog()
    for (const name of readdirSync(directory, { recursive: true, withFileTypes: true }))
      if (name.isFile() && name.parentPath === directory)
        copyFileSync(join(directory, name.name), join(copy, name.name))
    return copy
  }

  it('is gone on with, and what became of an intent is said to be unknown', () => {
    const log = new TestLog(folderOfLog())
    log.run(25)
    const request = log.request('orders', statementOf('INSERT INTO shop.orders (id) VALUES (1)', ['shop.orders']))
    log.record.begun(request)
    log.record.endTurn()
    const copy = copyOf(log.directory)
    log.writer.close()
    const again = new TestLog(copy)
    again.run(5)
    again.writer.close()
    assertWhole(copy)
    const lines = transactions(copy)
    assert.equal(lines.length, 31)
    const lost = lines.filter(({ outcome }) => outcome === 'lost')
    assert.deepEqual(
      lost.map(({ operation, seq, error }) => [operation, seq, (error as { code: number }).code]),
      [['INSERT', 28, 0]],
    )
    // A third start settles nothing twice.
    const third = new TestLog(copy)
    third.writer.close()
    assert.equal(transactions(copy).length, 31)
    assertWhole(copy)
  })

  it('goes on where its last frame was torn', () => {
    const log = new TestLog(folderOfLog())
    log.run(25)
    const copy = copyOf(log.directory)
    log.writer.close()
    const [path] = segmentsOf(copy)
    truncateSync(path!, readFileSync(path!).length - 3)
    const again = new TestLog(copy)
    again.run(5)
    again.writer.close()
    const { notes } = assertWhole(copy)
    assert.match(notes.join(), /bytes at the end of .* are no frame/)
    assert.equal(transactions(copy).length, 30)
    assert.equal(transactions(copy).filter(({ outcome }) => outcome === 'lost').length, 1)
  })
})

describe('a sealed log on a disk that is full', () => {
  it('says so at once, keeps what it was told, and goes on in another segment', async () => {
    let room = 4_000
    const files = {
      ...realFiles,
      write: (fd: number, bytes: Uint8Array) => {
        const part = bytes.subarray(0, Math.min(bytes.length, room))
        if (part.length === 0) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
        room -= part.length
        return realFiles.write(fd, part)
      },
    }
    const told: string[] = []
    const log = new TestLog(folderOfLog(), {
      files,
      onFailure: (error) => told.push(error.message),
      onRecovery: () => told.push('back'),
    })
    const request = log.request('orders', select)
    log.record.begun(request)
    assert.equal(log.record.endTurn(), true)
    let written = 0
    for (; !log.record.failed; written++) log.run(1)
    assert.equal(log.record.failed, true)
    log.record.ended(request)
    assert.equal(log.record.endTurn(), true)
    room = Number.POSITIVE_INFINITY
    log.writer.close()
    assert.deepEqual(told, ['the audit cannot be written: ENOSPC', 'back'])
    assertWhole(log.directory)
    assert.equal(segmentsOf(log.directory).length, 2)
    assert.equal(transactions(log.directory).length, written + 1)
    assert.deepEqual(
      linesOf(log.directory).flatMap(({ event, dropped }) => (event === undefined ? [] : [[event, dropped]])),
      [
        ['started', undefined],
        ['log key', undefined],
        ['resumed', 0],
      ],
    )
  })
})

describe('a checkpoint', () => {
  it('is signed and shown when the disk has its blocks, and not where it failed', () => {
    const waiting: ((reason: unknown) => void)[] = []
    const shown: string[] = []
    const log = new TestLog(folderOfLog(), {
      files: { ...realFiles, sync: (_fd, done) => void waiting.push(done) },
      onCheckpoint: (checkpoint) => shown.push(checkpoint.split('\n')[1]!),
    })
    // A start waits for it.
    assert.deepEqual(shown, ['1'])
    log.run(1)
    log.writer.sealNow()
    assert.deepEqual([shown, verifyLog(log.directory).signed], [['1'], 1])
    // What comes meanwhile is not signed with it.
    log.run(20_000)
    assert.ok(verifyLog(log.directory).blocks > 2)
    waiting.shift()!(null)
    assert.deepEqual([shown, verifyLog(log.directory).signed], [['1', '2'], 2])
    log.writer.sealNow()
    waiting.shift()!(new Error('input/output error'))
    assert.deepEqual(shown, ['1', '2'])
    log.writer.close()
    assertWhole(log.directory)
  })
})

describe('durability disk', () => {
  it('waits for the disk, and ends what waited where the disk failed', async () => {
    const waiting: ((reason: unknown) => void)[] = []
    const files = { ...realFiles, sync: (_fd: number, done: (reason: unknown) => void) => void waiting.push(done) }
    const log = new TestLog(folderOfLog(), { files, durability: 'disk' })
    log.run(1)
    let isWritten: boolean | undefined
    const first = log.record.commit!().then((done) => {
      isWritten = done
    })
    log.run(1)
    const second = log.record.commit!()
    await Promise.resolve()
    assert.equal(isWritten, undefined)
    assert.equal(waiting.length, 1)
    waiting.shift()!(null)
    await first
    assert.equal(isWritten, true)
    assert.equal(waiting.length, 1)
    waiting.shift()!(new Error('input/output error'))
    assert.equal(await second, false)
    assert.equal(log.record.failed, true)
    log.writer.close()
    assertWhole(log.directory)
  })

  it('whose texts make another line, or say of whom they are, says no more than its own', () => {
    for (const text of [
      '"session":"s","proxy":"sidecar-2"',
      '"session":"s"}\n{"proxy":"sidecar-2"',
      '"session":"s"}',
      '{',
    ]) {
      const log = new TestLog(folderOfLog())
      const session = { notes: undefined, who: log.session('orders').who }
      // What a record remembers of a statement is of one process.
      const read = statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders'])
      const request = { ...log.request('orders', read), session }
      log.record.begun(request)
      log.record.ended(request)
      log.writer.event({ event: 'told', proxy: 'sidecar-2', time: '2020-01-01T00:00:00.000Z' })
      log.writer.close()
      const [path] = segmentsOf(log.directory)
      const bytes = readFileSync(path!)
      const reader = new FrameReader(bytes)
      const parts: Buffer[] = []
      while (reader.next()) {
        if (reader.kind !== frameKind.session) parts.push(bytes.subarray(reader.start, reader.end))
        else {
          const number = bytes.subarray(reader.start + 3, reader.start + 4)
          const content = Buffer.concat([Buffer.from([frameKind.session]), number, Buffer.from(text)])
          parts.push(Buffer.from([content.length >> 8, content.length & 0xff]), content)
        }
      }
      const lines: string[] = []
      new SealedLines((line) => lines.push(line)).segment(Buffer.concat(parts))
      const of = lines.map((line) => JSON.parse(line) as Line)
      assert.deepEqual(new Set(of.map(({ proxy }) => proxy)), new Set(['sidecar-1']), text)
      assert.ok(of.some((line) => line.request === 'EXECUTE' && line.session === undefined))
    }
  })
})
