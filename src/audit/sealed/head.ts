/** What stands as JSON in a segment: its head, and what an event says. Nothing is believed of it. */
import { frameKind, type SegmentHead } from './format.ts'
import { FrameReader } from './frames.ts'

/** What the first frame of a segment says; undefined where it is none. */
export function headOf(bytes: Buffer): SegmentHead | undefined {
  const reader = new FrameReader(bytes)
  return reader.next() && reader.kind === frameKind.head ? headIn(reader.rest()) : undefined
}

/** Undefined for what is no JSON. */
export function headIn(json: Buffer): SegmentHead | undefined {
  try {
    return JSON.parse(json.toString('utf8')) as SegmentHead
  } catch {
    return undefined
  }
}

/** What an event says; undefined for what is no JSON object. */
export function eventIn(json: Buffer): Record<string, unknown> | undefined {
  try {
    const event: unknown = JSON.parse(json.toString('utf8'))
    return typeof event === 'object' && event !== null ? (event as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Of an event that says its own number, where numbers before it were lost. */
export function seqOf(event: Record<string, unknown> | undefined): number | undefined {
  return typeof event?.seq === 'number' ? event.seq : undefined
}
