/** Eight ways to tamper with a log, each done to its files by somebody who may write them and knows the format. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { frameKind } from './format.ts'
import { frameEnd, kindAt } from './frames.ts'
import { folderOfLog, TestLog } from './log.fixture.ts'
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
    log.writer.sealNow()
    if (block === 5) cpSync(log.directory, half, { recursive: true })
  }
  log.writer.close()
  const checkpoint = readFileSync(join(log.directory, 'checkpoint'), 'utf8')
  return { directory: log.directory, checkpoint, half, key: keyOf(log.directory) }
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
function placesOf(bytes: Buffer, kind: number): Place[] {
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
