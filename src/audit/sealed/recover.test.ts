/** A start goes on with the log that is there, reads no more of it than it needs, and signs nothing that was tampered with. */
import assert from 'node:assert/strict'
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { before, describe, it } from 'node:test'
import { segmentName } from './files.ts'
import { frameKind } from './format.ts'
import { FrameBuffer } from './frame-buffer.ts'
import { headOf } from './head.ts'
import { SealedLines } from './lines.ts'
import { folderOfLog, startMs, TestLog } from './log.fixture.ts'
import { segmentsOf } from './recover.ts'
import { editedAnew, type MadeLog, madeAnew, makeLog, placesOf } from './tampering.fixture.ts'
import { verifyLog } from './verify.ts'

let log: MadeLog
let other: MadeLog

before(() => {
  log = makeLog()
  other = makeLog('sidecar-2')
})

/** The folder of which the tree is gone, and what `change` does to its segments. */
function withoutTree(change: (directory: string) => void): string {
  const directory = folderOfLog()
  cpSync(log.directory, directory, { recursive: true })
  change(directory)
  for (const name of ['checkpoint', 'tile']) rmSync(join(directory, name), { recursive: true, force: true })
  return directory
}

function editOutcome(directory: string): void {
  let outcomes = 0
  madeAnew(directory, (frame, kind) => {
    if (kind === frameKind.outcome && ++outcomes === 70) frame[frame.length - 1]! ^= 1
    return frame
  })
}

function startedLines(directory: string): unknown[] {
  const started: unknown[] = []
  const sealed = new SealedLines((line) => {
    const { event, rebuilt } = JSON.parse(line) as { event?: string; rebuilt?: boolean }
    if (event === 'started') started.push(rebuilt)
  })
  for (const path of segmentsOf(directory)) sealed.segment(readFileSync(path))
  return started
}

describe('a start', () => {
  const refused: Record<string, (directory: string) => void> = {
    'a block that is not what was sealed': (directory) => {
      const path = segmentsOf(directory)[1]!
      const bytes = readFileSync(path)
      bytes[placesOf(bytes, frameKind.outcome)[3]!.end - 1]! ^= 1
      writeFileSync(path, bytes)
    },
    'a checkpoint of other blocks': editOutcome,
    'a segment of another log': (directory) =>
      writeFileSync(segmentsOf(directory)[1]!, readFileSync(segmentsOf(other.directory)[1]!)),
    'a segment that is missing': (directory) => rmSync(segmentsOf(directory)[1]!),
  }
  for (const [what, change] of Object.entries(refused)) {
    it(`signs nothing over ${what}, and says which`, () => {
      const directory = withoutTree(change)
      assert.throws(
        () => new TestLog(directory),
        (reason: { code?: unknown; message?: string }) =>
          reason.code === 'UNAVAILABLE' && /cannot be gone on with: /.test(reason.message ?? ''),
      )
    })
  }

  it('says that it signs what nothing vouches for, and nothing of the kind where the log has its checkpoints', () => {
    for (const [change, said] of [
      [() => {}, undefined],
      [editedAnew, true],
    ] as const) {
      const directory = withoutTree(change)
      const again = new TestLog(directory)
      again.run(1)
      again.writer.close()
      assert.deepEqual(startedLines(directory), [undefined, said])
      const { findings, notes } = verifyLog(directory)
      assert.deepEqual(findings, [])
      assert.equal(/a start signed what lay there/.test(notes.join()), said === true)
    }
    // Who kept a checkpoint finds the one that was changed.
    const directory = withoutTree(editedAnew)
    new TestLog(directory).writer.close()
    assert.match(verifyLog(directory, { known: [log.checkpoint] }).findings.join(), /forked/)
  })

  it('reads only what it needs, also where the newest segment has nothing but its head', () => {
    const long = new TestLog(folderOfLog(), { segmentBytesMax: 1_000 })
    for (let block = 0; block < 6; block++) {
      long.run(40)
      long.writer.sealNow()
      long.nowMs += 3_600_000
    }
    long.writer.close()
    const { directory } = long
    const paths = segmentsOf(directory)
    const { blocks, records } = verifyLog(directory)
    const head = new FrameBuffer(2 * 65_537)
    head.json(frameKind.head, { ...headOf(readFileSync(paths[0]!)), number: records, blocks })
    writeFileSync(join(directory, segmentName('sidecar-1', paths.length, startMs)), head.bytes.subarray(0, head.at))
    // Who reads this one takes it for tampered with.
    const wrong = new FrameBuffer(2 * 65_537)
    wrong.begin(frameKind.checkpoint)
    wrong.text('nobody signed this')
    wrong.end()
    appendFileSync(paths[0]!, wrong.bytes.subarray(0, wrong.at))
    const again = new TestLog(directory)
    again.run(1)
    again.writer.close()
    assert.match(basename(segmentsOf(directory).at(-1)!), new RegExp(`-${String(paths.length + 1).padStart(10, '0')}-`))
    assert.deepEqual(startedLines(directory), [undefined, undefined])
  })
})
