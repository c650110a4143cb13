/** A log and its copy: piece by piece, whatever ends in between, each byte once, and nothing that was not sealed. */
import assert from 'node:assert/strict'
import { appendFileSync, cpSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { CollectAnswer, CollectRequest } from '../../mesh/collection.ts'
import { CollectedLog, type Place } from './collected-log.ts'
import { frameKind } from './format.ts'
import { folderOfLog, TestLog } from './log.fixture.ts'
import { type NoteKey, openCheckpoint } from './note.ts'
import { PiecesOfLog } from './pieces-of-log.ts'
import { segmentsOf } from './recover.ts'
import { RecordShipping } from './shipping.ts'
import { placesOf } from './tampering.fixture.ts'
import { verifyLog } from './verify.ts'

const nowhere: Place = { segment: '', bytes: 0 }

/** With what happens to a log: rolls, starts in order, and one after a kill. */
class Shipped {
  directory = folderOfLog()
  log: TestLog
  signed: { note: string; key: NoteKey } | undefined
  onSigned: (note: string, key: NoteKey) => void = () => {}

  constructor() {
    this.log = this.#begin()
  }

  #begin(): TestLog {
    return new TestLog(this.directory, {
      segmentBytesMax: 3_000,
      onCheckpoint: (note, key) => {
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

/** Hands each piece to `taken`; block by block, as a log grows. */
async function copyBlocks(
  directory: string,
  taken: (log: CollectedLog, signed: number) => CollectedLog | Promise<CollectedLog>,
): Promise<void> {
  const pieces = new PiecesOfLog(source.directory, 100_000)
  let log = new CollectedLog(directory, source.key)
  for (let signed = 1; signed <= source.size; signed++) {
    for (
      let next = await pieces.next(log.place, signed);
      next !== undefined;
      next = await pieces.next(log.place, signed)
    ) {
      await log.take(next, next.frames)
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
    await copyBlocks(directory, async ({ place }, signed) => {
      // What was being written of the next one.
      const follows = await new PiecesOfLog(source.directory, 100_000).next(place, signed + 1)
      if (follows?.segment === place.segment) {
        appendFileSync(join(directory, place.segment), follows.frames.subarray(0, 1 + (kills++ % 2)))
      }
      const again = new CollectedLog(directory, source.key)
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
      let log = new CollectedLog(directory, source.key)
      const edited = new Set<string>()
      for (;;) {
        const next = await new PiecesOfLog(source.directory, 100_000).next(log.place, source.size)
        if (next === undefined) break
        const [place] = placesOf(next.frames, kind)
        if (place !== undefined && !edited.has(next.segment)) {
          edited.add(next.segment)
          const bytes = Buffer.from(next.frames)
          bytes[place.end - 1]! ^= 1
          const sealedThen = log.take(next, bytes)
          // In the last frames of a segment that a process was killed in: the seal comes with the next one.
          await sealedThen.catch((reason: { code?: unknown }) => assert.equal(reason.code, 'UNAVAILABLE'))
          log = new CollectedLog(directory, source.key)
          assertSealed(directory, source.directory)
        } else {
          try {
            await log.take(next, next.frames)
          } catch (reason) {
            assert.equal((reason as { code?: unknown }).code, 'UNAVAILABLE')
            log = new CollectedLog(directory, source.key)
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
      const log = new CollectedLog(folderOfLog(), source.key)
      await assert.rejects(log.take({ segment, bytes: 0 }, next.frames), { code: 'UNAVAILABLE' }, segment)
    }
    const directory = await copied()
    const twice = new CollectedLog(directory, source.key)
    await assert.rejects(twice.take(next, next.frames), { code: 'UNAVAILABLE' }, 'a segment of before')
    assert.deepEqual(readdirSync(outside), [])
    // Without those before.
    const third = segmentsOf(source.directory)[2]!.slice(source.directory.length + 1)
    const late = (await new PiecesOfLog(source.directory, 100_000).next({ segment: third, bytes: 0 }, source.size))!
    const gap = new CollectedLog(folderOfLog(), source.key)
    await assert.rejects(gap.take(late, late.frames), { code: 'UNAVAILABLE' })
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
          const log = new CollectedLog(directory, source.key)
          try {
            await log.take(next, bytes.subarray(0, length))
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
      this.log ??= new CollectedLog(this.directory, source.key)
      const frames = Buffer.from(request.frames, 'base64')
      if (frames.length > 0) await this.log.take(request, frames)
      return this.log.place
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
    assert.ok(size <= bytesMax || left[0] === collector.log?.place.segment, `${size} bytes in ${left.length}`)
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
