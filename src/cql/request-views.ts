/**
 * Requests as they were decoded: views that a caller keeps and has filled again by each request (`requests.ts`). Offsets are into the buffer
 * of the envelope and borrowed like its bytes.
 */
import type { ProtocolVersion } from './protocol.ts'
import { BodyReader } from './reader.ts'

/** −1 wherever a view has no such bytes. */
export const none = -1

const nothing = Buffer.alloc(0)
const reader = new BodyReader()

/** <query_parameters> of QUERY and EXECUTE. */
export class ParamsView {
  buffer: Buffer = nothing
  version: ProtocolVersion = 4
  flags = 0
  consistency = 0
  skipMetadata = false
  /** True when each value has a name in front. */
  named = false
  valueCount = 0
  /** The first value (or name) and the end of the last; equal when there are none. The [short] count is two bytes in front. */
  valuesStart = 0
  valuesEnd = 0
  /** Rows; undefined when the client did not say. Zero and below are passed on: Cassandra reads them as "no paging". */
  pageSize: number | undefined
  pagingStateStart = none
  pagingStateEnd = none
  serialConsistency: number | undefined
  /** Where the default timestamp stands, a [long]; −1 where there is none. */
  timestampStart = none
  /** v5 only. */
  keyspace: string | undefined
  /** v5 only. */
  nowInSeconds: number | undefined
  /** From the consistency to the end of the body. */
  paramsStart = 0
  paramsEnd = 0

  /** Set by `valueAt`. */
  valueStart = 0
  valueEnd = 0
  #nameStart = 0
  #nameEnd = 0
  #cursorIndex = 0
  #cursorAt = 0

  /** Microseconds since 1970. Read when it is asked for: most requests have one, and few are asked. */
  get timestamp(): bigint | undefined {
    return this.timestampStart < 0 ? undefined : this.buffer.readBigInt64BE(this.timestampStart)
  }

  /** Forgets where `valueAt` was; called by the decoder. */
  rewind(): void {
    this.#cursorIndex = 0
    this.#cursorAt = this.valuesStart
  }

  /**
   * The length of value `index`, or −1 for null and −2 for unset, and its place in `valueStart` and `valueEnd`. Reading in order
   * costs one step each; reading backwards starts again from the first.
   */
  valueAt(index: number): number {
    if (index < this.#cursorIndex) this.rewind()
    reader.reset(this.buffer, this.#cursorAt, this.valuesEnd)
    let bytes = 0
    for (let i = this.#cursorIndex; i <= index; i++) {
      if (this.named) {
        const nameBytes = reader.skipShortBytes()
        this.#nameStart = reader.at - nameBytes
        this.#nameEnd = reader.at
      }
      bytes = reader.skipValue(this.version)
    }
    this.#cursorIndex = index + 1
    this.#cursorAt = reader.at
    this.valueEnd = reader.at
    this.valueStart = bytes > 0 ? reader.at - bytes : reader.at
    return bytes
  }

  /** The name of value `index`; only where `named`. */
  nameAt(index: number): string {
    this.valueAt(index)
    return this.lastName
  }

  /** The name of the value that `valueAt` was last asked for; only where `named`. */
  get lastName(): string {
    return reader.reset(this.buffer, this.#nameStart, this.#nameEnd).text(this.#nameEnd - this.#nameStart)
  }
}

export class QueryView {
  text = ''
  /** Where the UTF-8 of `text` stands. */
  textStart = 0
  textEnd = 0
  readonly params = new ParamsView()
  payloadStart = none
  payloadEnd = none
}

export class PrepareView {
  text = ''
  textStart = 0
  textEnd = 0
  /** v5 only. */
  keyspace: string | undefined
  payloadStart = none
  payloadEnd = none
}

export class ExecuteView {
  buffer: Buffer = nothing
  /** The prepared id as the client sends it. */
  idStart = 0
  idEnd = 0
  /** v5 only, else −1. */
  resultMetadataIdStart = none
  resultMetadataIdEnd = none
  readonly params = new ParamsView()
  payloadStart = none
  payloadEnd = none
}

export interface BatchPart {
  /** The statement, or undefined where the part names a prepared one. */
  readonly text: string | undefined
  /** The prepared id, or −1 where the part is a text. */
  readonly idStart: number
  readonly idEnd: number
  readonly valuesStart: number
  readonly valuesEnd: number
  readonly valueCount: number
}

export class BatchView {
  buffer: Buffer = nothing
  version: ProtocolVersion = 4
  /** Logged, unlogged, counter. */
  type: 0 | 1 | 2 = 0
  parts: BatchPart[] = []
  consistency = 0
  flags = 0
  serialConsistency: number | undefined
  /** Where the default timestamp stands, a [long]; −1 where there is none. */
  timestampStart = none
  /** v5 only. */
  keyspace: string | undefined
  /** v5 only. */
  nowInSeconds: number | undefined
  payloadStart = none
  payloadEnd = none

  /** Set by `valueAt`. */
  valueStart = 0
  valueEnd = 0
  #cursorPart: BatchPart | undefined
  #cursorIndex = 0
  #cursorAt = 0

  /** Microseconds since 1970. Read when it is asked for: most requests have one, and few are asked. */
  get timestamp(): bigint | undefined {
    return this.timestampStart < 0 ? undefined : this.buffer.readBigInt64BE(this.timestampStart)
  }

  /** As `ParamsView.valueAt`, for one part. */
  valueAt(part: BatchPart, index: number): number {
    if (part !== this.#cursorPart || index < this.#cursorIndex) {
      this.#cursorPart = part
      this.#cursorIndex = 0
      this.#cursorAt = part.valuesStart
    }
    reader.reset(this.buffer, this.#cursorAt, part.valuesEnd)
    let bytes = 0
    for (let i = this.#cursorIndex; i <= index; i++) bytes = reader.skipValue(this.version)
    this.#cursorIndex = index + 1
    this.#cursorAt = reader.at
    this.valueEnd = reader.at
    this.valueStart = bytes > 0 ? reader.at - bytes : reader.at
    return bytes
  }
}
