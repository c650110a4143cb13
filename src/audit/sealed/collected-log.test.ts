/** A log and its copy: piece by piece, whatever ends in between, each byte once, and nothing that was not sealed. */
import assert from 'node:assert/strict'
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import { before, describe, it } from 'node:test'
import fc from 'fast-check'
import { RingfenceError } from '../../base/errors.ts'
import type { CollectAnswer, CollectRequest } from '../../mesh/collection.ts'
import { CollectedLog, type Place, type TakenPiece, type WitnessedTree } from './collected-log.ts'
import { segmentName, serialOf } from './files.ts'
import { frameKind } from './format.ts'
import { HashTree } from './hash-tree.ts'
import { folderOfLog, sidecarId, startMs, TestLog } from './log.fixture.ts'
import { openLogKey, originOf } from './log-key.ts'
import { type NoteKey, openCheckpoint, signCheckpoint } from './note.ts'
import { type Piece, PiecesOfLog } from './pieces-of-log.ts'
import { segmentsOf } from './recover.ts'
import { RecordShipping } from './shipping.ts'
import { placesOf } from './tampering.fixture.ts'
import { Tiles } from './tiles.ts'
import { verifyLog } from './verify.ts'

const nowhere: Place = { segment: '', bytes: 0 }

/** With what happens to a log: rolls, starts in order, and one after a kill. */
class Shipped {
  directory = folderOfLog()
  log: TestLog
  signed: { note: string; key: NoteKey } | undefined
  onSigned: (note: string, key: NoteKey) => void = () => {}
  #begun = 0

  constructor() {
    this.log = this.#begin()
  }

  #begin(): TestLog {
    // The writer of a process that was "killed" still signs each second what it had.
    const begun = ++this.#begun
    return new TestLog(this.directory, {
      segmentBytesMax: 3_000,
      onCheckpoint: (note, key) => {
        if (begun !== this.#begun) return
        this.signed = { note, key }
        this.onSigned(note, key)
      },
    })
  }

  run(turns: number): void {
    for (let turn = 0; turn < turns; turn++) {
      this.log.run(10 + (turn % 7))
      this.log.nowMs += 1_000
      this.log.writer.sealNow()
    }
  }

  restart(isKilled: boolean): void {
    if (!isKilled) this.log.writer.close()
    else {
      this.log.run(3)
      // What is left of it goes on elsewhere: nobody killed the writer of here.
      const left = this.directory
      this.directory = folderOfLog()
      cpSync(left, this.directory, { recursive: true })
    }
    const { nowMs } = this.log
    this.log = this.#begin()
    this.log.nowMs = nowMs + 1_000
  }

  get key(): NoteKey {
    return this.signed!.key
  }

  get size(): number {
    return openCheckpoint(this.signed!.note, this.key)!.size
  }
}

const bytesIn = (directory: string): Map<string, Buffer> =>
  new Map(segmentsOf(directory).map((path) => [path.slice(directory.length + 1), readFileSync(path)]))

/** The copy is a beginning of the log. */
function assertBeginning(copy: string, directory: string): void {
  const whole = bytesIn(directory)
  const names = [...whole.keys()]
  const copied = [...bytesIn(copy)]
  for (const [at, [name, bytes]] of copied.entries()) {
    assert.equal(name, names[at])
    const of = whole.get(name)!
    assert.ok(bytes.equals(of.subarray(0, bytes.length)), name)
  }
}

/** Each block of it is one of the log. */
function assertSealed(copy: string, directory: string): void {
  const whole = bytesIn(directory)
  for (const [name, bytes] of bytesIn(copy)) {
    const end = placesOf(bytes, frameKind.seal).at(-1)?.end ?? 0
    assert.ok(bytes.subarray(0, end).equals(whole.get(name)!.subarray(0, end)), name)
  }
}

let source: Shipped
before(() => {
  source = new Shipped()
  source.run(12)
  source.restart(false)
  source.run(6)
  source.restart(true)
  source.run(6)
  source.log.writer.close()
})

const proxy = 'sidecar-1'

/** What a witness knows that has seen the first `size` blocks. */
function knownAt(size: number, directory = source.directory): WitnessedTree {
  const log = openLogKey(directory, originOf(sidecarId(proxy)))
  const written = openCheckpoint(readFileSync(join(directory, 'checkpoint'), 'utf8'), log.key)!.size
  const root = new HashTree(new Tiles(directory), written, size).root(0, size)
  const origin = log.key.name
  return { origin, size, root, note: signCheckpoint({ origin, size, root }, log.key, log.privateKey) }
}

const copyIn = (directory: string): CollectedLog => new CollectedLog(directory, { key: source.key, proxy })

/** With the proof that it needs. */
function sent(piece: Piece, size: number, frames = piece.frames): TakenPiece {
  return { ...piece, frames, proof: new PiecesOfLog(source.directory, 100_000).proof(piece.blocks, size) }
}

/** Hands each piece to `taken`; block by block, as a log grows. */
async function copyBlocks(
  directory: string,
  taken: (log: CollectedLog, signed: number) => CollectedLog | Promise<CollectedLog>,
): Promise<void> {
  const pieces = new PiecesOfLog(source.directory, 100_000)
  let log = copyIn(directory)
  for (let signed = 1; signed <= source.size; signed++) {
    for (
      let next = await pieces.next(log.place, signed);
      next !== undefined;
      next = await pieces.next(log.place, signed)
    ) {
      await log.take(sent(next, signed), knownAt(signed))
      log = await taken(log, signed)
    }
  }
}

async function copied(): Promise<string> {
  const directory = folderOfLog()
  await copyBlocks(directory, (log) => log)
  return directory
}

describe('the copy of a log', () => {
  it('is the log up to what was signed, and verifies as one', async () => {
    const directory = await copied()
    assertBeginning(directory, source.directory)
    const verified = verifyLog(directory)
    assert.deepEqual(verified.findings, [])
    assert.equal(verified.blocks, source.size)
    assert.ok(verified.records > 100)
    assert.ok(segmentsOf(directory).length > 3)
  })

  it('is gone on with after a kill at any place, also in the middle of a piece', async () => {
    const directory = folderOfLog()
    let kills = 0
    await copyBlocks(directory, async (log, signed) => {
      const { place, waitingBytes } = log
      // What was being written of the next one.
      const follows = await new PiecesOfLog(source.directory, 100_000).next(place, signed + 1)
      if (follows?.segment === place.segment) {
        appendFileSync(join(directory, place.segment), follows.frames.subarray(0, 1 + (kills++ % 2)))
      }
      const again = copyIn(directory)
      assertBeginning(directory, source.directory)
      // What had no seal yet would be asked for again, each time.
      if (waitingBytes > 0) return log
      assert.deepEqual(again.place, place)
      return again
    })
    assert.ok(kills > 5, `${kills} in the middle`)
    assertBeginning(directory, source.directory)
    assert.equal(verifyLog(directory).blocks, source.size)
  })

  it('takes nothing that was changed, and goes on with what was sealed', async () => {
    const whole = await copied()
    for (const kind of [frameKind.outcome, frameKind.seal, frameKind.checkpoint, frameKind.head]) {
      const directory = folderOfLog()
      let log = copyIn(directory)
      const edited = new Set<string>()
      for (;;) {
        const next = await new PiecesOfLog(source.directory, 100_000).next(log.place, source.size)
        if (next === undefined) break
        const [place] = placesOf(next.frames, kind)
        if (place !== undefined && !edited.has(next.segment)) {
          edited.add(next.segment)
          const bytes = Buffer.from(next.frames)
          bytes[place.end - 1]! ^= 1
          const sealedThen = log.take(sent(next, source.size, bytes), knownAt(source.size))
          // In the last frames of a segment that a process was killed in: the seal comes with the next one.
          await sealedThen.catch((reason: { code?: unknown }) => assert.equal(reason.code, 'UNAVAILABLE'))
          log = copyIn(directory)
          assertSealed(directory, source.directory)
        } else {
          try {
            await log.take(sent(next, source.size), knownAt(source.size))
          } catch (reason) {
            assert.equal((reason as { code?: unknown }).code, 'UNAVAILABLE')
            log = copyIn(directory)
          }
        }
      }
      assert.ok(edited.size > 0, `${kind}`)
      assert.deepEqual(bytesIn(directory), bytesIn(whole))
    }
  })

  it('is written to nowhere but its folder, and by its order', async () => {
    const next = (await new PiecesOfLog(source.directory, 100_000).next(nowhere, source.size))!
    const outside = folderOfLog()
    for (const segment of [
      `audit-../../${outside}/audit-x-0000000000-1.sealed`,
      'audit-a/b-0000000000-1.sealed',
      `audit-${'x'.repeat(240)}-0000000000-1.sealed`,
      'checkpoint',
      '',
      'log.key',
    ]) {
      const log = copyIn(folderOfLog())
      await assert.rejects(
        log.take({ ...sent(next, source.size), segment }, knownAt(source.size)),
        { code: 'UNAVAILABLE' },
        segment,
      )
    }
    const directory = await copied()
    const twice = copyIn(directory)
    await assert.rejects(
      twice.take(sent(next, source.size), knownAt(source.size)),
      { code: 'UNAVAILABLE' },
      'a segment of before',
    )
    assert.deepEqual(readdirSync(outside), [])
    // Without those before.
    const third = segmentsOf(source.directory)[2]!.slice(source.directory.length + 1)
    const late = (await new PiecesOfLog(source.directory, 100_000).next({ segment: third, bytes: 0 }, source.size))!
    const gap = copyIn(folderOfLog())
    await assert.rejects(gap.take(sent(late, source.size), knownAt(source.size)), { code: 'UNAVAILABLE' })
  })

  it('is of what the witness signed: another story with the key of the log is not kept, be it shorter, as long, or longer', async () => {
    const forged = folderOfLog()
    cpSync(join(source.directory, 'log.key'), join(forged, 'log.key'))
    const log = new TestLog(forged, { segmentBytesMax: 3_000 })
    for (let turn = 0; turn < 30; turn++) {
      log.run(10, 'another')
      log.nowMs += 1_000
      log.writer.sealNow()
    }
    log.writer.close()
    const pieces = new PiecesOfLog(forged, 100_000)
    for (const [size, bytesMax] of [
      [knownAt(source.size).size, 2_000],
      [2, 100_000],
      [1, 100_000],
    ] as const) {
      const directory = folderOfLog()
      const copy = copyIn(directory)
      const first = (await new PiecesOfLog(forged, bytesMax).next(nowhere, 2))!
      assert.equal(first.blocks, 2)
      for (const proof of [[], pieces.proof(2, Math.max(size, 3)), sent(first, size).proof])
        await assert.rejects(copy.take({ ...first, proof }, knownAt(size)), { code: 'UNAVAILABLE' })
      assert.deepEqual(segmentsOf(directory), [], `witnessed: ${size}`)
    }
  })

  it('is of the sidecar that sends it: no head and no name says another', async () => {
    const next = (await new PiecesOfLog(source.directory, 100_000).next(nowhere, source.size))!
    const directory = folderOfLog()
    const another = new CollectedLog(directory, { key: source.key, proxy: 'sidecar-2' })
    await assert.rejects(another.take(sent(next, source.size), knownAt(source.size)), /is of another sidecar/)
    const named = segmentName('sidecar-2', serialOf(next.segment)!, startMs)
    const copy = copyIn(directory)
    const renamed = { ...sent(next, source.size), segment: named }
    await assert.rejects(copy.take(renamed, knownAt(source.size)), /has no name of a segment/)
    assert.deepEqual(segmentsOf(directory), [])
  })

  it('has the checkpoint of its newest block, as the witness has it', async () => {
    const directory = await copied()
    const checkpoint = readFileSync(join(directory, 'checkpoint'), 'utf8')
    assert.equal(openCheckpoint(checkpoint, source.key)?.size, source.size)
  })

  it('whatever comes instead of frames, only what was sealed is kept', async () => {
    const next = (await new PiecesOfLog(source.directory, 100_000).next(nowhere, source.size))!
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(next.frames.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(next.frames.length),
        async (edits, length) => {
          const bytes = Buffer.from(next.frames)
          for (const [at, value] of edits) bytes[at] = value
          const directory = folderOfLog()
          const log = copyIn(directory)
          try {
            await log.take(sent(next, source.size, bytes.subarray(0, length)), knownAt(source.size))
          } catch (reason) {
            assert.equal((reason as { code?: unknown }).code, 'UNAVAILABLE', String(reason))
          }
          assertSealed(directory, source.directory)
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('a log that is handed over', () => {
  /** One that collects, as the control plane does. */
  class Collector {
    readonly directory = folderOfLog()
    away = false
    refuse: CollectAnswer['refused']
    asked = 0
    log: CollectedLog | undefined

    ask = async (request: CollectRequest): Promise<CollectAnswer> => {
      this.asked++
      if (this.away) throw new Error('away')
      if (this.refuse !== undefined) return { ...nowhere, refused: this.refuse, why: `so: ${this.refuse}` }
      this.log ??= copyIn(this.directory)
      const frames = Buffer.from(request.frames, 'base64')
      const proof = (request.proof ?? []).map((hash) => Buffer.from(hash, 'base64'))
      if (frames.length > 0) await this.log.take({ ...request, frames, proof }, knownAt(source.size))
      return { ...this.log.place, witnessed: source.size }
    }
  }

  const shipping = (collector: Collector, directory: string, keepBytesMax?: number) => {
    const told: string[] = []
    const { ask } = collector
    const made = new RecordShipping({ directory, ask, keepBytesMax, onRefused: (why) => told.push(why) })
    return { made, told }
  }

  it('is handed over as a whole, once, also where the collector was away for all of it', async () => {
    const collector = new Collector()
    const { made } = shipping(collector, source.directory)
    collector.away = true
    await made.signed(source.signed!.note, source.key)
    assert.equal(made.figures.uncollectedWhy, 'the control plane is away')
    const all = [...bytesIn(source.directory).values()].reduce((sum, { length }) => sum + length, 0)
    assert.equal(made.figures.uncollectedBytes, all)
    made.stop()
    collector.away = false
    const later = shipping(collector, source.directory)
    await later.made.signed(source.signed!.note, source.key)
    assert.equal(later.made.figures.uncollectedWhy, undefined)
    assertBeginning(collector.directory, source.directory)
    assert.equal(verifyLog(collector.directory).blocks, source.size)
    assert.ok(later.made.figures.uncollectedBytes < all / 2, 'what is not signed yet')
    later.made.stop()
    const again = shipping(collector, source.directory)
    const { asked } = collector
    await again.made.signed(source.signed!.note, source.key)
    assert.equal(collector.asked, asked + 1, 'it only asks where the copy ends')
    again.made.stop()
  })

  it('waits where it is refused, says why once, and removes nothing', async () => {
    for (const refuse of ['no room', 'tampered', 'not witnessed', 'busy'] as const) {
      const collector = new Collector()
      collector.refuse = refuse
      const { made, told } = shipping(collector, source.directory, 1)
      await made.signed(source.signed!.note, source.key)
      await made.signed(source.signed!.note, source.key)
      assert.equal(collector.asked, 1, 'its time comes')
      assert.deepEqual(told, refuse === 'busy' ? [] : [`so: ${refuse}`])
      assert.equal(made.figures.uncollectedWhy, refuse === 'busy' ? undefined : `so: ${refuse}`)
      made.stop()
    }
    assert.ok(segmentsOf(source.directory).length > 5)
  })

  it('says so where the copy is ahead of it, and asks for nothing without a pause', async () => {
    const collector = new Collector()
    const whole = shipping(collector, source.directory)
    await whole.made.signed(source.signed!.note, source.key)
    whole.made.stop()
    const paths = segmentsOf(source.directory)
    for (const cut of ['its last segments', 'the end of one']) {
      const directory = folderOfLog()
      cpSync(source.directory, directory, { recursive: true })
      const last = join(directory, collector.log!.place.segment)
      if (cut === 'the end of one') truncateSync(last, 10)
      else for (const path of paths.slice(3)) rmSync(join(directory, basename(path)))
      const { made, told } = shipping(collector, directory)
      const { asked } = collector
      await made.signed(source.signed!.note, source.key)
      made.stop()
      assert.equal(collector.asked, asked + 1)
      assert.match(made.figures.uncollectedWhy ?? '', /^the copy is ahead of this log/)
      assert.equal(told.length, 1)
      assert.ok(made.figures.uncollectedBytes > 1_000)
    }
  })

  it('says so where the witness has seen more than is here, and is not refused what the witness learns meanwhile', async () => {
    const collector = new Collector()
    const { ask } = collector
    collector.ask = async (request) => ({ ...(await ask(request)), witnessed: source.size + 3 })
    const { made, told } = shipping(collector, source.directory)
    await made.signed(source.signed!.note, source.key)
    made.stop()
    assert.match(told.join(), /has seen \d+ blocks of this log, and the tree here has/)

    const late = new Collector()
    const askLate = late.ask
    const before = knownAt(source.size - 1)
    late.ask = async (request) => {
      await Promise.resolve()
      if (late.asked === 0) void again.made.signed(source.signed!.note, source.key)
      const answer = await askLate(request)
      return late.asked === 1 ? { ...answer, witnessed: before.size } : answer
    }
    const again = shipping(late, source.directory)
    await again.made.signed(before.note, source.key)
    again.made.stop()
    assert.deepEqual(again.told, [])
    assert.equal(late.log?.size, source.size)
  })

  it('gives up for now where it is sent to the same place again and again', async () => {
    let asked = 0
    const ask = (): Promise<CollectAnswer> => {
      asked++
      return Promise.resolve({ ...nowhere, refused: 'elsewhere' })
    }
    const made = new RecordShipping({ directory: source.directory, ask, keepBytesMax: 1, onRefused: () => {} })
    await made.signed(source.signed!.note, source.key)
    made.stop()
    assert.ok(asked < 10, `${asked}`)
    assert.match(made.figures.uncollectedWhy ?? '', /is not gone on with/)
  })

  it('says why: refused is not away, and what cannot be read here is neither', async () => {
    const told: string[] = []
    const of = (directory: string, ask: () => Promise<CollectAnswer>): RecordShipping =>
      new RecordShipping({ directory, ask, keepBytesMax: undefined, onRefused: (why) => told.push(why) })
    const denied = of(source.directory, () => Promise.reject(new RingfenceError('IDENTITY', 'no sidecar')))
    await denied.signed(source.signed!.note, source.key)
    denied.stop()
    assert.equal(denied.figures.uncollectedWhy, 'the control plane refuses it: IDENTITY: no sidecar')
    const gone = folderOfLog()
    rmSync(gone, { recursive: true })
    const unreadable = of(gone, () => Promise.resolve(nowhere))
    await unreadable.signed(source.signed!.note, source.key)
    unreadable.stop()
    assert.equal(unreadable.figures.uncollectedWhy, 'this log cannot be read: ENOENT')
    assert.deepEqual(told, [denied.figures.uncollectedWhy, unreadable.figures.uncollectedWhy])
  })

  it('what the copy has is removed where it takes too much, the oldest first, and nothing else', async () => {
    const directory = folderOfLog()
    cpSync(source.directory, directory, { recursive: true })
    const collector = new Collector()
    const bytesMax = 8_000
    const { made } = shipping(collector, directory, bytesMax)
    const names = segmentsOf(directory).map((path) => path.slice(directory.length + 1))
    await made.signed(source.signed!.note, source.key)
    made.stop()
    const left = segmentsOf(directory).map((path) => path.slice(directory.length + 1))
    assert.ok(left.length < names.length)
    assert.deepEqual(left, names.slice(-left.length))
    const size = left.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
    // The three newest stay.
    assert.ok(size <= bytesMax || left.length === 3, `${size} bytes in ${left.length}`)
    assertBeginning(collector.directory, source.directory)
    assert.deepEqual(verifyLog(directory).findings, [], 'the hashes of what was removed are in the tiles')
    const log = new TestLog(directory)
    log.run(1)
    log.writer.close()
    assert.deepEqual(verifyLog(directory).findings, [], 'a start goes on with it')
  })

  it('leaves what no checkpoint was signed for: a power cut may take that back', async () => {
    const pieces = new PiecesOfLog(source.directory, 100_000)
    let place = nowhere
    let frames = 0
    for (let next = await pieces.next(place, 2); next !== undefined; next = await pieces.next(place, 2)) {
      place = { segment: next.segment, bytes: next.bytes + next.frames.length }
      frames += placesOf(next.frames, frameKind.seal).length
    }
    assert.equal(frames, 2)
  })
})
