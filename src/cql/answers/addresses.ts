/**
 * Hides addresses in the node's answers from clients that are shown a topology of their own. They stand in texts of errors and warnings, in
 * the failure map of READ_FAILURE and WRITE_FAILURE (native_protocol_v5.spec §9), and in the node's own tables, traces among them.
 *
 * Rule: what replaces an address can be parsed as one. In a failure map each is another one, because drivers make maps of them.
 */
import type { Envelope } from '../envelope.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  Flag,
  headerFlags,
  headerOpcode,
  Opcode,
  type ProtocolVersion,
} from '../protocol.ts'
import { BodyReader } from '../reader.ts'
import type { Column } from '../responses.ts'
import type { CqlType } from '../types.ts'
import { BodyWriter } from '../writer.ts'
import { RowsChange } from './mask.ts'
import { maskerOf } from './masker.ts'
import type { ValueMasker } from './masking/value-masker.ts'
import { joined, writeLength } from './splice.ts'
import { tracingIdBytes } from './tracing.ts'

/** Of warnings. */
const stepBytes = 64 * 1024
/** Whatever an address may stand in, in one pass over the text. */
const runs = /[\da-f:.%[\]]{3,}/gi
const dotted = /(?:\d{1,3}\.){3}\d{1,3}(?:\]?:\d{1,5})?/g
const hiddenText = '0.0.0.0'

const reader = new BodyReader()

/** The text with `0.0.0.0` in the place of each address, its port and its host's name (Java writes `host/address:port`). */
export function withoutAddressText(text: string): string {
  const hidden = text.replace(runs, (run) => (isColons(run) ? hiddenText : run.replace(dotted, hiddenText)))
  return hidden === text ? text : withoutHosts(hidden)
}

/** Each piece in one pass: a text may be made of nothing else. */
function withoutHosts(text: string): string {
  const pieces = text.split(`/${hiddenText}`)
  const last = pieces.pop()!
  let hidden = ''
  for (const piece of pieces) {
    // The name of the host stands at the end of it.
    let end = piece.length
    while (end > 0 && isOfName(piece.charCodeAt(end - 1))) end--
    hidden += `${piece.slice(0, end)}/${hiddenText}`
  }
  return hidden + last
}

/** `[\w.-]` */
function isOfName(code: number): boolean {
  if (code >= 0x30 && code <= 0x39) return true
  const letter = code | 0x20
  return (letter >= 0x61 && letter <= 0x7a) || code === 0x5f || code === 0x2e || code === 0x2d
}

/** IPv6, mapped IPv4 included: eight groups, or `::` for some of them. A time of day or a MAC address is neither. */
function isColons(run: string): boolean {
  return run.includes('::') || run.split(':').length > 7
}

/** The same response without addresses in its warnings and, where it is an ERROR, in that; undefined where it can have none. */
export function withoutAddresses(envelope: Envelope, version: ProtocolVersion): Buffer | undefined {
  if (!mayHaveAddresses(envelope)) return undefined
  const { bytes: buf, start, end } = envelope
  const flags = headerFlags(buf, start)
  const opcode = headerOpcode(buf, start)
  const body = new BodyWriter()
  reader.reset(buf, start + envelopeHeaderBytes, end)
  if ((flags & Flag.TRACING) !== 0) body.raw(view(buf, reader.skip(tracingIdBytes), reader.at))
  if ((flags & Flag.WARNING) !== 0) {
    const warnings = reader.stringList()
    body.short(warnings.length)
    for (const warning of warnings) body.cutString(withoutAddressText(warning))
  }
  const payloadAt = reader.at
  if ((flags & Flag.CUSTOM_PAYLOAD) !== 0) reader.skipBytesMap()
  body.raw(view(buf, payloadAt, reader.at))
  if (opcode === Opcode.ERROR) writeError(body, version)
  body.raw(view(buf, reader.at, end))
  return body.envelope(buf[start]!, buf.readInt16BE(start + 2), opcode, flags)
}

/** Whether `withoutAddresses` would look at it. */
export function mayHaveAddresses({ bytes, start }: Envelope): boolean {
  return headerOpcode(bytes, start) === Opcode.ERROR || (headerFlags(bytes, start) & Flag.WARNING) !== 0
}

/** The same of a RESULT that is long, in steps; nobody writes to it meanwhile. */
export function* withoutAddressesInSteps(buf: Buffer): Generator<undefined, Buffer> {
  if (headerOpcode(buf, 0) !== Opcode.RESULT || (headerFlags(buf, 0) & Flag.WARNING) === 0) return buf
  const at = new BodyReader().reset(buf, envelopeHeaderBytes, buf.length)
  if ((headerFlags(buf, 0) & Flag.TRACING) !== 0) at.skip(tracingIdBytes)
  const listAt = at.at
  const list = new BodyWriter()
  let stepEnd = listAt + stepBytes
  const count = at.short()
  list.short(count)
  for (let i = 0; i < count; i++) {
    list.cutString(withoutAddressText(at.string()))
    if (at.at < stepEnd) continue
    stepEnd = at.at + stepBytes
    yield
  }
  const hidden = yield* joined([buf.subarray(0, listAt), list.take(), buf.subarray(at.at)])
  writeLength(hidden)
  return hidden
}

/** From code to failure map; what stands behind it is copied as it is. */
function writeError(body: BodyWriter, version: ProtocolVersion): void {
  const code = reader.int()
  body.int(code).cutString(withoutAddressText(reader.string()))
  if (version < 5 || (code !== CqlErrorCode.READ_FAILURE && code !== CqlErrorCode.WRITE_FAILURE)) return
  const failures = body.short(reader.consistency()).int(reader.int()).int(reader.int()) && reader.count()
  body.int(failures)
  for (let i = 1; i <= failures; i++) {
    reader.inetAddress()
    // Each its own, for a map with equal keys would count fewer failures. 0.0.0.0/8 is no node's.
    body
      .byte(4)
      .int(i & 0x00ff_ffff)
      .short(reader.short())
  }
}

/**
 * The same RESULT of kind Rows without addresses in values of type inet and text. Collections with addresses, in texts too, come empty.
 * @throws RingfenceError UPSTREAM where it came without its columns, PROTOCOL where it is malformed
 */
export function withoutRowAddresses(envelope: Envelope, version: ProtocolVersion): Buffer {
  return new RowsChange(envelope, version, addressChangerOf).whole()
}

/** What makes `withoutRowAddresses`. */
export function addressChangerOf(column: Column): ValueMasker | undefined {
  const { kind } = column.type
  if (texts.has(kind)) return textChanger
  if (holds(column.type, addresses)) return maskerOf(column, { kind: 'full' }, undefined)
  return holds(column.type, texts) ? unlessPlain(maskerOf(column, { kind: 'full' }, undefined)) : undefined
}

const addresses: ReadonlySet<CqlType['kind']> = new Set<CqlType['kind']>(['inet'])
const texts: ReadonlySet<CqlType['kind']> = new Set<CqlType['kind']>(['text', 'ascii'])

/** Of values with texts inside: those that have an address in them are hidden whole. */
function unlessPlain(hide: ValueMasker): ValueMasker {
  return (out, buf, start, end) => {
    // The lengths between the texts are bytes like others: at worst too much is hidden.
    const text = buf.toString('latin1', start, end)
    if (withoutAddressText(text) === text) out.copy(buf, start, end)
    else hide(out, buf, start, end)
  }
}

function textChanger(...[out, buf, start, end]: Parameters<ValueMasker>): void {
  const text = Buffer.from(withoutAddressText(buf.toString('utf8', start, end)))
  out.copy(text, 0, text.length)
}

/** Whether a value of the type has one of these kinds inside, or is one. */
function holds(type: CqlType, kinds: ReadonlySet<CqlType['kind']>): boolean {
  if (kinds.has(type.kind)) return true
  switch (type.kind) {
    case 'list':
    case 'set':
    case 'vector':
      return holds(type.element, kinds)
    case 'map':
      return holds(type.key, kinds) || holds(type.value, kinds)
    case 'tuple':
      return type.elements.some((element) => holds(element, kinds))
    case 'udt':
      return type.fields.some((field) => holds(field.type, kinds))
    default:
      return false
  }
}

function view(buf: Buffer, from: number, to: number): Buffer {
  return buf.subarray(from, to)
}
