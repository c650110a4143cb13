/** Eight ways to tamper with a log, each done to its files by somebody who may write them and knows the format. */
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeHeader, encodeHeader, frameKind } from './format.ts'
import { FrameBuffer } from './frame-buffer.ts'
import { frameEnd, kindAt } from './frames.ts'
import { folderOfLog, startMs, TestLog } from './log.fixture.ts'
import { segmentsOf } from './recover.ts'
import { sha256 } from './tree.ts'

export interface Case {
  /** What is done to the folder. */
  readonly tamper: (directory: string) => void
  /** What a verifier says of it. */
  readonly found: RegExp
}

export interface MadeLog {
  readonly directory: string
  /** The checkpoint of now, and one of before: as a witness keeps them. */
  readonly checkpoint: string
  /** The folder as it was at half of it. */
  readonly half: string
  readonly key: string
}

/** Twelve blocks or so in three segments. */
export function makeLog(proxy = 'sidecar-1'): MadeLog {
  const log = new TestLog(folderOfLog(), { proxy, segmentBytesMax: 3_000 })
  const half = folderOfLog()
  for (let block = 0; block < 12; block++) {
    log.run(40)
    log.nowMs += 1500
    log.writer.sealNow()
    if (block === 5) cpSync(log.directory, half, { recursive: true })
  }
  log.writer.close()
  const checkpoint = readFileSync(join(log.directory, 'checkpoint'), 'utf8')
  return { directory: log.directory, checkpoint, half, key: keyOf(log.directory) }
}

/** A log whose process was killed with records that were not sealed yet; it went on, and then the first segment was taken away. */
export function removedAfterKill(): string {
  const log = new TestLog(folderOfLog())
  for (let block = 0; block < 3; block++) {
    log.run(20)
    log.writer.sealNow()
  }
  log.run(20)
  const directory = folderOfLog()
  cpSync(log.directory, directory, { recursive: true })
  log.writer.close()
  const again = new TestLog(directory)
  again.run(20)
  again.writer.close()
  rmSync(segmentsOf(directory)[0]!)
  return directory
}

export function keyOf(directory: string): string {
  const bytes = readFileSync(segmentsOf(directory)[0]!)
  return (JSON.parse(bytes.toString('utf8', 3, frameEnd(bytes, 0))) as { key: string }).key
}

interface Place {
  readonly at: number
  readonly end: number
}

/** Frames of one kind in a segment. */
export function placesOf(bytes: Buffer, kind: number): Place[] {
  const places: Place[] = []
  for (let at = 0, end = frameEnd(bytes, 0); end > 0; at = end, end = frameEnd(bytes, at))
    if (kindAt(bytes, at) === kind) places.push({ at, end })
  return places
}

function change(path: string, how: (bytes: Buffer) => Buffer): void {
  writeFileSync(path, how(readFileSync(path)))
}

const without = (bytes: Buffer, { at, end }: Place): Buffer =>
  Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])

/** Of a block whose frames were changed: makes its header fit them, as who knows the format would. */
function headerAnew(bytes: Buffer, block: number): Buffer {
  const seals = placesOf(bytes, frameKind.seal)
  const { at } = seals[block]!
  const from = block === 0 ? 0 : seals[block - 1]!.end
  const copy = Buffer.from(bytes)
  sha256(bytes.subarray(from, at)).copy(copy, at + 3 + 8 + 48)
  return copy
}

/** Makes all blocks anew from what is left of their frames, with headers that fit, as who has not the key of the log can. */
export function madeAnew(directory: string, change: (frame: Buffer, kind: number) => Buffer | undefined): void {
  let frames: Buffer[] = []
  for (const path of segmentsOf(directory)) {
    const bytes = readFileSync(path)
    const made: Buffer[] = []
    for (let at = 0, end = frameEnd(bytes, 0); end > 0; at = end, end = frameEnd(bytes, at)) {
      const frame = Buffer.from(bytes.subarray(at, end))
      if (kindAt(frame, 0) === frameKind.seal) {
        const content = Buffer.concat(frames)
        const header = frame.subarray(11)
        header.writeUInt32BE(frames.length, 4)
        header.writeBigUInt64BE(BigInt(content.length), 40)
        sha256(content).copy(header, 48)
        frames = []
        made.push(frame)
      } else {
        const changed = change(frame, kindAt(frame, 0))
        if (changed === undefined) continue
        frames.push(changed)
        made.push(changed)
      }
    }
    writeFileSync(path, Buffer.concat(made))
  }
}

/** One outcome changed, and no checkpoint in the log any more that says otherwise. */
export function editedAnew(directory: string): void {
  let outcomes = 0
  madeAnew(directory, (frame, kind) => {
    if (kind === frameKind.checkpoint) return undefined
    if (kind === frameKind.outcome && ++outcomes === 70) frame[frame.length - 1]! ^= 1
    return frame
  })
  rmSync(join(directory, 'tile'), { recursive: true })
}

/** A block that nobody signed, with one event in it. */
function appendBlock(directory: string): void {
  const path = segmentsOf(directory).at(-1)!
  const seals = segmentsOf(directory).flatMap((each) => {
    const bytes = readFileSync(each)
    return placesOf(bytes, frameKind.seal).map(({ at, end }) => bytes.subarray(at, end))
  })
  const number = decodeHeader(seals.at(-1)!.subarray(11))!.numberLast
  const frames = new FrameBuffer(2 * 65_537)
  frames.begin(frameKind.event)
  frames.text(JSON.stringify({ event: 'started' }))
  frames.end()
  const content = frames.bytes.subarray(0, frames.at)
  const header = encodeHeader({
    frames: 1,
    numberBefore: number,
    numberLast: number + 1,
    firstMs: startMs,
    lastMs: startMs,
    bytes: content.length,
    hash: sha256(content),
  })
  frames.begin(frameKind.seal)
  frames.copy(Buffer.from(seals.at(-1)!.subarray(3, 11)))
  frames.bytes.writeBigUInt64BE(BigInt(seals.length), frames.at - 8)
  frames.copy(header)
  frames.end()
  appendFileSync(path, frames.bytes.subarray(0, frames.at))
}

export const cases: Readonly<Record<string, (log: MadeLog, other: MadeLog) => Case>> = {
  edit: () => ({
    tamper: (directory) =>
      change(segmentsOf(directory)[1]!, (bytes) => {
        const copy = Buffer.from(bytes)
        const { end } = placesOf(bytes, frameKind.outcome)[20]!
        copy[end - 1]! ^= 1
        return copy
      }),
    found: /block \d+ in .*-0000000001-.* is not what was sealed/,
  }),
  'edit with a header that fits': () => ({
    tamper: (directory) =>
      change(segmentsOf(directory)[1]!, (bytes) => {
        const copy = Buffer.from(bytes)
        const { end } = placesOf(bytes, frameKind.outcome)[2]!
        copy[end - 1]! ^= 1
        return headerAnew(copy, 0)
      }),
    found: /block \d+ in .*-0000000001-.* is not the one that the tree has/,
  }),
  'edit, then one unsigned block': () => ({
    tamper: (directory) => {
      editedAnew(directory)
      appendBlock(directory)
    },
    found: /the last checkpoint was signed for other blocks than these/,
  }),
  'edit behind a checkpoint of before': () => ({
    tamper: (directory) => {
      // The first one that the log itself holds is genuine, and says nothing of what came later.
      const bytes = readFileSync(segmentsOf(directory)[0]!)
      const { at, end } = placesOf(bytes, frameKind.checkpoint)[0]!
      const first = bytes.subarray(at + 3, end)
      let isFirst = true
      let outcomes = 0
      madeAnew(directory, (frame, kind) => {
        if (kind === frameKind.checkpoint && !isFirst) return undefined
        if (kind === frameKind.checkpoint) isFirst = false
        if (kind === frameKind.outcome && ++outcomes === 200) frame[frame.length - 1]! ^= 1
        return frame
      })
      rmSync(join(directory, 'tile'), { recursive: true })
      writeFileSync(join(directory, 'checkpoint'), first)
    },
    found: /what came since .*, in 1\d s, is not signed/,
  }),
  delete: () => ({
    tamper: (directory) =>
      change(segmentsOf(directory)[1]!, (bytes) => without(bytes, placesOf(bytes, frameKind.outcome)[3]!)),
    found: /block \d+ in .*-0000000001-.* is not what was sealed/,
  }),
  'delete of a segment': () => ({
    tamper: (directory) => rmSync(segmentsOf(directory)[1]!),
    found: /blocks \d+ to \d+ are missing before block \d+/,
  }),
  insert: () => ({
    tamper: (directory) =>
      change(segmentsOf(directory)[1]!, (bytes) => {
        const { at, end } = placesOf(bytes, frameKind.outcome)[3]!
        return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end)])
      }),
    found: /block \d+ in .*-0000000001-.* is not what was sealed/,
  }),
  reorder: () => ({
    tamper: (directory) =>
      change(segmentsOf(directory)[1]!, (bytes) => {
        const [first, second] = placesOf(bytes, frameKind.seal)
        const { end: from } = placesOf(bytes, frameKind.head)[0]!
        return Buffer.concat([
          bytes.subarray(0, from),
          bytes.subarray(first!.end, second!.end),
          bytes.subarray(from, first!.end),
          bytes.subarray(second!.end),
        ])
      }),
    found: /block \d+ in .*-0000000001-.* (is not what was sealed|stands there once more, or out of order)/,
  }),
  truncate: () => ({
    tamper: (directory) => {
      // The last block, and all behind it.
      for (const path of segmentsOf(directory).reverse()) {
        const seal = placesOf(readFileSync(path), frameKind.seal).at(-1)
        if (seal === undefined) rmSync(path)
        else {
          change(path, (bytes) => bytes.subarray(0, seal.at))
          break
        }
      }
    },
    found: /blocks \d+ to \d+ are missing at the end/,
  }),
  'fork, signed by the key of the log': ({ half }) => ({
    tamper: (directory) => {
      // Who has the key of the log goes on from half of it with another story.
      rmSync(directory, { recursive: true })
      cpSync(half, directory, { recursive: true })
      const log = new TestLog(directory)
      for (let block = 0; block < 12; block++) {
        log.run(7, 'mallory')
        log.writer.sealNow()
      }
      log.writer.close()
    },
    found: /was signed for others than these: the log was forked/,
  }),
  'swap between nodes': (_, other) => ({
    tamper: (directory) => {
      const [mine, theirs] = [segmentsOf(directory)[1]!, segmentsOf(other.directory)[1]!]
      writeFileSync(mine, readFileSync(theirs))
    },
    found: /is a segment of another log/,
  }),
  rollback: ({ half }) => ({
    tamper: (directory) => {
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true })
      cpSync(half, directory, { recursive: true })
    },
    found: /the log was rolled back/,
  }),
}
