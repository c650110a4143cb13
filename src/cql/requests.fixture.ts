/** Parts of requests that Ringfence reads past: for tests. */

import { limits } from '../base/limits.ts'
import type { Envelope } from './envelope.ts'
import { envelopeHeaderBytes } from './protocol.ts'
import { BodyReader } from './reader.ts'

/** OPTIONS has no body. */
export function readOptions({ bytes, start, end }: Envelope): void {
  new BodyReader().reset(bytes, start + envelopeHeaderBytes, end).assertDone()
}

/** The custom payload of a view, copied; empty where there is none. */
export function readPayload(
  view: { readonly payloadStart: number; readonly payloadEnd: number },
  buf: Buffer,
): Map<string, Buffer | null> {
  if (view.payloadStart < 0) return new Map()
  const reader = new BodyReader().reset(buf, view.payloadStart, view.payloadEnd)
  const payload = new Map<string, Buffer | null>()
  for (let i = reader.entries(limits.mapEntriesMax); i > 0; i--) {
    const key = reader.string()
    const value = reader.bytes()
    payload.set(key, value && Buffer.from(value))
  }
  return payload
}
