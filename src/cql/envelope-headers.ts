/**
 * Whether the header of an envelope may be: its version, its direction, and the length that it announces.
 *
 * Rule: a header is refused before anything is done for the body that it announces, and the fault says which stream and version it had.
 */
import { RingfenceError } from '../base/errors.ts'
import { Framer } from '../base/framer.ts'
import type { EnvelopeSink } from './envelope-sink.ts'
import { envelopeHeaderBytes, headerBodyBytes, headerStream, headerVersion, responseBit } from './protocol.ts'

/** No envelope is longer (native_protocol_v4.spec §2.5): what announces more is none. */
const protocolBodyBytesMax = 256 * 1024 * 1024

const v1V2StreamAt = 2
const versionFaultBytes = 4

export abstract class EnvelopeHeaders extends Framer<EnvelopeSink> {
  /** Longest body accepted, after decompression. May be raised when the session is authenticated; holds from the next header on. */
  bodyBytesMax: number
  /** Best effort for the answer to a fault: the stream and version of the header that was refused; 0 when none was read. */
  faultStream = 0
  faultVersion = 0

  /** A request whose body is longer than `bodyBytesMax` is dropped, and does not end the stream; one that no envelope can have ends it. */
  dropsTooLong = false

  readonly #directionBit: number
  #version = 0

  constructor(direction: 'requests' | 'responses', bodyBytesMax: number) {
    super()
    this.#directionBit = direction === 'responses' ? responseBit : 0
    this.bodyBytesMax = bodyBytesMax
  }

  /** The one version that this connection speaks from now on. */
  expectVersion(version: number): void {
    this.#version = version
  }

  /** The length of the whole envelope whose header stands at `at`, or throws. */
  protected checkHeader(buf: Buffer, at: number, sink: EnvelopeSink): number {
    if (buf[at]! !== (this.#directionBit | this.#version) || this.#version === 0) this.#checkVersion(buf, at)
    const bodyBytes = headerBodyBytes(buf, at)
    if (bodyBytes < 0) this.refuse(buf, at, 'PROTOCOL', 'negative body length')
    const mayPass = this.dropsTooLong && bodyBytes <= protocolBodyBytesMax
    if (bodyBytes > this.bodyBytesMax && ((this.#directionBit === 0 && !mayPass) || sink.onLarge === undefined)) {
      this.refuse(buf, at, 'TOO_LARGE', this.tooLarge(bodyBytes))
    }
    return envelopeHeaderBytes + bodyBytes
  }

  /** v1 and v2 headers are eight bytes long, so a ninth may never come. */
  protected checkVersionEarly(buf: Buffer, at: number, available: number): void {
    if (available >= versionFaultBytes) this.#checkVersion(buf, at)
  }

  #checkVersion(buf: Buffer, at: number): void {
    const version = headerVersion(buf, at)
    if (version < 3 || version > 5) {
      this.noteFault(buf, at)
      if (version < 3) this.faultStream = buf.readInt8(at + v1V2StreamAt)
      // Cassandra's own words: drivers look for them to go down a version.
      const spoken = 'supported versions are (3/v3, 4/v4, 5/v5)'
      throw new RingfenceError('VERSION', `Invalid or unsupported protocol version (${version}); ${spoken}`)
    }
    if ((buf[at]! & responseBit) !== this.#directionBit) {
      this.refuse(
        buf,
        at,
        'PROTOCOL',
        this.#directionBit === 0 ? 'a response came from a client' : 'a request came from a node',
      )
    }
    if (this.#version !== 0 && version !== this.#version) {
      this.refuse(buf, at, 'PROTOCOL', `message of version ${version} on a connection of version ${this.#version}`)
    }
  }

  protected tooLarge(bodyBytes: number): string {
    return `body of ${bodyBytes} bytes is longer than ${this.bodyBytesMax}`
  }

  protected noteFault(buf: Buffer, at: number): void {
    this.faultVersion = headerVersion(buf, at)
    this.faultStream = headerStream(buf, at)
  }

  protected forgetFault(): void {
    this.faultVersion = 0
    this.faultStream = 0
  }

  protected refuse(buf: Buffer, at: number, code: 'PROTOCOL' | 'TOO_LARGE', message: string): never {
    this.noteFault(buf, at)
    throw new RingfenceError(code, message)
  }

  protected isTooLong(envelopeBytes: number): boolean {
    return envelopeBytes - envelopeHeaderBytes > this.bodyBytesMax
  }
}
