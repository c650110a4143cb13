/** Reads the captured bytes that the tests of this folder compare with; see `source` in each file for who made them. */
import { gunzipSync } from 'node:zlib'
import type { EnvelopeSink } from './envelope-sink.ts'
import javaBytes from './fixtures/java-driver.json' with { type: 'json' }
import pythonBytes from './fixtures/python-driver.json' with { type: 'json' }
import type { Inbound } from './inbound.ts'
import type { ProtocolVersion } from './protocol.ts'

export interface Capture {
  readonly name: string
  readonly version: ProtocolVersion
  readonly stream: number
  readonly hex: string
}

export interface RequestCapture extends Capture {
  readonly expect: {
    readonly kind: string
    readonly text?: string
    readonly consistency?: number
    readonly serial?: number
    readonly pageSize?: number
    readonly pagingState?: string
    readonly timestamp?: string
    readonly keyspace?: string
    readonly id?: string
    readonly resultId?: string | null
    readonly values?: (string | null)[]
    readonly type?: number
    readonly parts?: [string | null, string | null, (string | null)[]][]
    readonly payload?: Record<string, string>
    readonly options?: Record<string, string>
    readonly token?: string
    readonly types?: string[]
  }
}

interface Wire {
  readonly name: string
  readonly mode: 'bare' | 'bare-lz4' | 'segments' | 'segments-lz4'
  readonly wire: Buffer
  readonly envelopes: readonly Buffer[]
}

export const pythonDriver = pythonBytes as unknown as {
  requests: RequestCapture[]
  wires: { name: string; mode: Wire['mode']; wire: string; envelopes: string[] }[]
  large: { name: string; mode: Wire['mode']; wireGzip: string; envelopesGzip: string[] }[]
  values: { type: string; hex: string; value: unknown }[]
}

export const javaDriver = javaBytes as unknown as { responses: Capture[]; requests: Capture[] }

const unhex = (hex: string) => Buffer.from(hex, 'hex')
const unzip = (base64: string) => gunzipSync(Buffer.from(base64, 'base64'))

export const smallWires: Wire[] = pythonDriver.wires.map((capture) => ({
  ...capture,
  wire: unhex(capture.wire),
  envelopes: capture.envelopes.map(unhex),
}))

export const largeWires: Wire[] = pythonDriver.large.map((capture) => ({
  ...capture,
  wire: unzip(capture.wireGzip),
  envelopes: capture.envelopesGzip.map(unzip),
}))

/** Turns an Inbound to a capture's mode. */
export function setMode(inbound: Inbound, mode: Wire['mode']): Inbound {
  if (mode === 'bare-lz4') inbound.useBodyCompression()
  if (mode === 'segments') inbound.useSegments('none')
  if (mode === 'segments-lz4') inbound.useSegments('lz4')
  return inbound
}

/** Keeps copies of what it is given. */
export class Collected implements EnvelopeSink {
  readonly envelopes: Buffer[] = []

  onEnvelope(buffer: Buffer, start: number, end: number): void {
    this.envelopes.push(Buffer.from(buffer.subarray(start, end)))
  }
}
