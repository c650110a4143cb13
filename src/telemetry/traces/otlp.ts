/**
 * Spans as OTLP writes them, and what a collector answers: an `ExportTraceServiceRequest` and its response (opentelemetry/proto/collector/trace/v1). Numbers of fields are those of the published
 * files; a test reads what is written with classes that were made from these.
 *
 * Loaded where traces are configured only.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Attribute, Span } from './span.ts'

/** `service.name` and its like: of the process. */
export type Resource = readonly Attribute[]

const scopeName = 'ringfence'
/** Whose attributes these are. */
const schemaUrl = 'https://opentelemetry.io/schemas/1.44.0'
const statusError = 2
/** W3C: the trace is recorded. */
const sampledFlag = 1

export function exportRequest(resource: Resource, spans: readonly Span[]): Uint8Array {
  const to = new BinaryWriter()
  // resource_spans
  open(to, 1)
  open(to, 1)
  for (const attribute of resource) write(to, 1, attribute)
  to.join()
  // scope_spans
  open(to, 2)
  open(to, 1)
  text(to, 1, scopeName)
  to.join()
  for (const span of spans) writeSpan(to, span)
  text(to, 3, schemaUrl)
  to.join()
  text(to, 3, schemaUrl)
  to.join()
  return to.finish()
}

/** How many spans a collector that answered with success did not take all the same; 0 where its answer does not say so, or cannot be read. */
export function rejectedSpans(answer: Uint8Array): number {
  try {
    const partial = fieldOf(answer, 1, WireType.LengthDelimited, (reader) => reader.bytes())
    const rejected = partial && fieldOf(partial, 1, WireType.Varint, (reader) => reader.int64())
    return Math.max(0, Number(rejected ?? 0))
  } catch (reason) {
    if (reason instanceof Error) return 0
    throw reason
  }
}

function fieldOf<T>(
  message: Uint8Array,
  wanted: number,
  type: WireType,
  read: (from: BinaryReader) => T,
): T | undefined {
  const reader = new BinaryReader(message)
  let found: T | undefined
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === wanted && wire === type) found = read(reader)
    else reader.skip(wire, field)
  }
  return found
}

function writeSpan(to: BinaryWriter, span: Span): void {
  open(to, 2)
  hex(to, 1, span.traceId)
  hex(to, 2, span.spanId)
  if (span.parentId !== undefined) hex(to, 4, span.parentId)
  text(to, 5, span.name)
  to.tag(6, WireType.Varint).uint32(span.kind)
  to.tag(7, WireType.Bit64).fixed64(nanoseconds(span.startMicros))
  to.tag(8, WireType.Bit64).fixed64(nanoseconds(span.endMicros))
  for (const attribute of span.attributes) write(to, 9, attribute)
  if (span.link !== undefined) {
    open(to, 13)
    hex(to, 1, span.link.traceId)
    hex(to, 2, span.link.parentId)
    to.join()
  }
  if (span.failed) {
    open(to, 15)
    to.tag(3, WireType.Varint).uint32(statusError)
    to.join()
  }
  to.tag(16, WireType.Bit32).fixed32(sampledFlag)
  to.join()
}

function write(to: BinaryWriter, field: number, [name, value]: Attribute): void {
  open(to, field)
  text(to, 1, name)
  open(to, 2)
  if (typeof value === 'string') text(to, 1, value)
  else if (Number.isInteger(value)) to.tag(3, WireType.Varint).int64(value)
  else to.tag(4, WireType.Bit64).double(value)
  to.join()
  to.join()
}

/** A message; ended by `join`. */
function open(to: BinaryWriter, field: number): void {
  to.tag(field, WireType.LengthDelimited).fork()
}

function text(to: BinaryWriter, field: number, value: string): void {
  // Half of a surrogate pair has no UTF-8.
  to.tag(field, WireType.LengthDelimited).string(value.toWellFormed())
}

function hex(to: BinaryWriter, field: number, value: string): void {
  to.tag(field, WireType.LengthDelimited).bytes(Buffer.from(value, 'hex'))
}

function nanoseconds(micros: number): bigint {
  return BigInt(micros) * 1000n
}
