/**
 * The bound values of one request as policy asks for them: by the place of a marker, read where they lie.
 *
 * Rule: what a marker is bound to is found as the node finds it (`cql3/QueryOptions.java`): by place, or by name where the request
 * names its values; the first of two equal names counts. A marker whose value cannot be told apart is `unresolved`, and then refused.
 */
import type { BatchPart, BatchView, ParamsView } from '../cql/requests.ts'
import type { RequestValues } from '../policy/request.ts'

const nullAt = -1
const unsetAt = -2
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class BoundValues implements RequestValues {
  #params: ParamsView | undefined
  #batch: BatchView | undefined
  #part: BatchPart | undefined
  #partitions: { readonly count: number } | undefined
  #markers: readonly (string | undefined)[] = []
  /** Where each named value of the request stands, found in one go when a name is first asked for: a request may have 65,535. */
  #named: Map<string, NamedValue> | undefined

  /** Of a QUERY or EXECUTE; good until the view is filled anew. */
  ofRequest(params: ParamsView, markers: readonly (string | undefined)[]): this {
    this.#params = params
    this.#part = undefined
    this.#markers = markers
    this.#named = undefined
    return this
  }

  /** Of one statement of a BATCH; `partitions` counts those of the whole. */
  ofPart(
    batch: BatchView,
    part: BatchPart,
    markers: readonly (string | undefined)[],
    partitions?: { readonly count: number },
  ): this {
    this.#params = undefined
    this.#batch = batch
    this.#partitions = partitions
    this.#part = part
    this.#markers = markers
    return this
  }

  /** Asked for by few checks, so the clock is not read for the others. */
  get nowMs(): number {
    return Date.now()
  }

  /** The request names its values, and a marker of the statement has no name of its own to be found by (attack A14). */
  get unresolved(): boolean {
    return this.#params?.named === true && this.#markers.includes(undefined)
  }

  get pageSize(): number | undefined {
    return this.#params?.pageSize
  }

  get defaultTimestampMicros(): bigint | undefined {
    return this.#params === undefined ? this.#batch?.timestamp : this.#params.timestamp
  }

  get nowInSeconds(): number | undefined {
    return this.#params === undefined ? this.#batch?.nowInSeconds : this.#params.nowInSeconds
  }

  integer(marker: number): bigint | null {
    const bytes = this.bytes(marker)
    if (bytes?.length === 4) return BigInt(bytes.readInt32BE(0))
    return bytes?.length === 8 ? bytes.readBigInt64BE(0) : null
  }

  listSize(marker: number): number | null {
    const bytes = this.bytes(marker)
    if (bytes === null || bytes.length < 4) return null
    const count = bytes.readInt32BE(0)
    // Each element has its length before it, so there cannot be more than have room.
    return count < 0 || count > (bytes.length - 4) / 4 ? null : count
  }

  text(marker: number): string | null {
    const bytes = this.bytes(marker)
    if (bytes === null) return null
    try {
      return utf8.decode(bytes)
    } catch {
      return null
    }
  }

  get partitions(): number {
    return this.#params === undefined ? (this.#partitions?.count ?? 1) : 1
  }

  unset(marker: number): boolean {
    return this.#lengthOf(marker) === unsetAt
  }

  isNull(marker: number): boolean {
    return this.#lengthOf(marker) === nullAt
  }

  /** A view of the value; null for null, unset and absent. */
  bytes(marker: number): Buffer | null {
    if (this.#params?.named === true) {
      const value = this.#valueNamed(this.#params, marker)
      return value === undefined || value.length < 0 ? null : this.#params.buffer.subarray(value.start, value.end)
    }
    if (this.#lengthOf(marker) < 0) return null
    const view = this.#params ?? this.#batch
    const buffer = this.#params?.buffer ?? this.#batch?.buffer
    return view === undefined || buffer === undefined ? null : buffer.subarray(view.valueStart, view.valueEnd)
  }

  /** Of the value bound to a marker, whose place is in the view then; nullAt also where there is no such value. */
  #lengthOf(marker: number): number {
    const params = this.#params
    if (params === undefined) {
      const batch = this.#batch
      const part = this.#part
      if (batch === undefined || part === undefined || marker >= part.valueCount) return nullAt
      return batch.valueAt(part, marker)
    }
    if (params.named) return this.#valueNamed(params, marker)?.length ?? nullAt
    return marker >= params.valueCount ? nullAt : params.valueAt(marker)
  }

  #valueNamed(params: ParamsView, marker: number): NamedValue | undefined {
    const name = this.#markers[marker]
    if (name === undefined) return undefined
    this.#named ??= namedValues(params)
    return this.#named.get(name)
  }
}

/** The length of a value, −1 for null and −2 for unset, and its place in the request. */
interface NamedValue {
  readonly length: number
  readonly start: number
  readonly end: number
}

function namedValues(params: ParamsView): Map<string, NamedValue> {
  const named = new Map<string, NamedValue>()
  params.rewind()
  for (let i = 0; i < params.valueCount; i++) {
    const length = params.valueAt(i)
    const { valueStart: start, valueEnd: end } = params
    const name = params.lastName
    if (!named.has(name)) named.set(name, { length, start, end })
  }
  return named
}
