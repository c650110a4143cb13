/**
 * The closed set of things that can go wrong, and the one class that carries them.
 *
 * A peer's fault is an expected value: it becomes a `RingfenceError` with a code, is answered or logged, and costs at most
 * that peer's connection. Our own fault is an `AssertionError` (see `assert`) and ends one connection, never the others.
 */

/** Every code, grouped by who is at fault. The code is stable; the message is for people. */
export type ErrorCode =
  // a CQL peer
  | 'PROTOCOL' // 0x000A: bytes that the specification does not allow; the connection is closed after the answer
  | 'VERSION' // 0x000A: a protocol version that is not spoken; drivers downgrade on its wording
  | 'TOO_LARGE' // a named limit of base/limits.ts was reached
  | 'CHECKSUM' // a segment's CRC24 or CRC32 does not match
  | 'SYNTAX' // 0x2000: CQL that Cassandra would not parse
  | 'INVALID' // 0x2200: CQL that parses and cannot be meant
  | 'UNAUTHORIZED' // 0x2100: policy says no
  | 'OVERLOADED' // 0x1001: a queue or rate is at its bound
  | 'LEAVING' // 0x1002: nothing was done, for this connection is about to end; another is to be asked
  // identity and transport
  | 'CREDENTIALS' // 0x0100: what a client answered to AUTHENTICATE is refused; it may answer again
  | 'IDENTITY' // a certificate, id, token or passport that does not prove who is calling
  | 'PROXY_HEADER' // a PROXY protocol header that is missing, malformed or from an address that may not send one
  | 'LINK' // the mesh link protocol was broken
  | 'UPSTREAM' // the Cassandra node is away or answered what it should not
  // people
  | 'CONFIG' // a file or flag; the message names file, line, column and what is valid
  | 'USAGE'
  | 'UNAVAILABLE' // a part that is needed is not there (control plane, node, program); try again

/** An expected failure. `message` is lower case, without secrets or a full stop at its end; `cause` is for logs only. */
export class RingfenceError extends Error {
  readonly code: ErrorCode
  /** What to do about it, for people at a terminal. */
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RingfenceError'
    this.code = code
    this.hint = options.hint
  }

  /** The single place where a stranger's error becomes ours. */
  static from(reason: unknown, code: ErrorCode): RingfenceError {
    if (reason instanceof RingfenceError) return reason
    const message = reason instanceof Error ? reason.message : String(reason)
    return new RingfenceError(code, message, { cause: reason })
  }
}

export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** What Node.js throws where a call of ours cannot be meant, such as a read behind the end of a buffer. */
const ownCodes: ReadonlySet<unknown> = new Set(['ERR_OUT_OF_RANGE', 'ERR_INVALID_ARG_TYPE', 'ERR_BUFFER_OUT_OF_BOUNDS'])

/**
 * Whether it is our own fault, for a loop that goes on whatever was thrown. What a peer, the system or the network says is none: that has
 * another code, or is a `RingfenceError`.
 */
export function isOwnFault(reason: unknown): boolean {
  if (reason instanceof AssertionError) return true
  const isOfTheLanguage =
    reason instanceof TypeError || reason instanceof RangeError || reason instanceof ReferenceError
  return isOfTheLanguage && (!('code' in reason) || ownCodes.has(reason.code))
}

/** Throws on our own fault. Never used for what a peer sends. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}
