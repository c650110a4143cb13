/**
 * The sealed record: each transaction as two small frames, what it intends before it leaves and what became of it, in blocks whose hashes are
 * the leaves of a signed log.
 *
 *   events ─▶ SealedRecord ─▶ SealedWriter ─▶ segment files
 *              (frames)          └─ a block at a time ─▶ BlockLog ─▶ tiles, checkpoint
 *
 * Rule: what stands in `docs/audit-format.md` is all that a verifier needs; whoever changes a byte here changes that page, and the version.
 *
 * This file: kinds of frames, and the header of a block.
 */

export const formatName = 'ringfence-audit/1'

/** A frame is its length behind these two bytes, big-endian, its kind, and what the kind has. */
export const frameLengthBytes = 2
export const frameBytesMax = 65_535

export const frameKind = {
  /** JSON: the beginning of a segment. */
  head: 1,
  /** A number and a text: fields of the record as JSON. */
  session: 2,
  statement: 3,
  verdict: 4,
  /** A number and what it stands for: statement, verdict, opcode, consistency, size of the BATCH. */
  asked: 5,
  /** Milliseconds since 1970, of the frames that follow. */
  time: 6,
  /** A request is about to leave. */
  intent: 7,
  /** What became of one. */
  outcome: 8,
  /** What never left: refused or answered here, or no request at all. */
  whole: 9,
  /** JSON: what is no transaction. */
  event: 10,
  /** The signed checkpoint of the blocks before. */
  checkpoint: 11,
  /** The end of a block; not part of it. */
  seal: 12,
  /** An intent of a process that ended before it knew what became of it. */
  unknown: 13,
} as const

/** They count: each has a number of its own in the log, which is its `seq`. */
export function isNumbered(kind: number): boolean {
  return kind === frameKind.intent || kind === frameKind.whole || kind === frameKind.event
}

/** Of `outcome` and `whole`. */
export const flag = {
  /** No answer came. */
  lost: 1,
  /** It was an ERROR, or lost; its text follows at the end. */
  error: 2,
  /** Session, request and size stand in it, and need not be looked up at the intent. */
  refs: 4,
  /** What its caller showed; its text follows at the end. */
  evidence: 8,
  /** Answered with an ERROR by what the outcome says; otherwise `ok` or lost. */
  refused: 16,
  /** It is part of a trace; its text follows at the end. */
  trace: 32,
} as const

export interface BlockHeader {
  /** Frames in it. */
  readonly frames: number
  /** The last number before it, and the last one in it. */
  readonly numberBefore: number
  readonly numberLast: number
  readonly firstMs: number
  readonly lastMs: number
  readonly bytes: number
  /** SHA-256 of its frames. */
  readonly hash: Buffer
}

export const blockHeaderBytes = 80
const version = 1

/** The leaf of a block: what is hashed into the tree. */
export function encodeHeader(header: BlockHeader): Buffer {
  const bytes = Buffer.alloc(blockHeaderBytes)
  bytes[0] = version
  bytes.writeUInt32BE(header.frames, 4)
  bytes.writeBigUInt64BE(BigInt(header.numberBefore), 8)
  bytes.writeBigUInt64BE(BigInt(header.numberLast), 16)
  bytes.writeBigUInt64BE(BigInt(header.firstMs), 24)
  bytes.writeBigUInt64BE(BigInt(header.lastMs), 32)
  bytes.writeBigUInt64BE(BigInt(header.bytes), 40)
  header.hash.copy(bytes, 48)
  return bytes
}

/** Undefined for bytes that are none of this version. */
export function decodeHeader(bytes: Buffer): BlockHeader | undefined {
  if (bytes.length !== blockHeaderBytes || bytes[0] !== version) return undefined
  return {
    frames: bytes.readUInt32BE(4),
    numberBefore: Number(bytes.readBigUInt64BE(8)),
    numberLast: Number(bytes.readBigUInt64BE(16)),
    firstMs: Number(bytes.readBigUInt64BE(24)),
    lastMs: Number(bytes.readBigUInt64BE(32)),
    bytes: Number(bytes.readBigUInt64BE(40)),
    hash: bytes.subarray(48, 80),
  }
}

/** What `head` says, as JSON. */
export interface SegmentHead {
  readonly format: string
  /** Of the log, and the key that signs it as C2SP writes it. */
  readonly origin: string
  readonly key: string
  readonly proxy: string
  /** The last number before it. */
  readonly number: number
  /** How many blocks are sealed before it. */
  readonly blocks: number
  /** What the segment before defined goes on to count: it could not be written on. */
  readonly continues: boolean
}
