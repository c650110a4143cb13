/**
 * Addresses in the node's answers, for clients that are shown a topology of their own: texts of errors and warnings, the failure map of
 * READ_FAILURE and WRITE_FAILURE (native_protocol_v5.spec §9), and the node's own tables, traces among them.
 *
 * Rule: what stands for an address is as good to parse as the address was, and as many stay as there were: drivers make maps of them.
 */
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
import { maskerOf, type ValueMasker } from './masker.ts'
import { tracingIdBytes } from './tracing.ts'

/** Whatever an address may stand in, in one pass over the text. */
const runs = /[\da-f:.%[\]]{3,}/gi
const dotted = /(?:\d{1,3}\.){3}\d{1,3}(?:\]?:\d{1,5})?/g
const hiddenText = '0.0.0.0'

const reader = new BodyReader()

/** The text with `0.0.0.0` in the place of each address, its port and its host's name (Java writes `host/address:port`). */
export function withoutAddressText(text: string): string {
  let hidden = text.replace(runs, (run) => (isColons(run) ? hiddenText : run.replace(dotted, hiddenText)))
  if (hidden === text) return text
  for (let slash = hidden.indexOf(`/${hiddenText}`); slash >= 0; slash = hidden.indexOf(`/${hiddenText}`, slash + 1)) {
    let from = slash
    while (from > 0 && /[\w.-]/.test(hidden[from - 1]!)) from--
    hidden = hidden.slice(0, from) + hidden.slice(slash)
    slash = from
  }
  return hidden
}

/** IPv6, mapped IPv4 included: eight groups, or `::` for some of them. A time of day or a MAC address is neither. */
function isColons(run: string): boolean {
  return run.includes('::') || run.split(':').length > 7
}

/** The same response without addresses in its warnings and, where it is an ERROR, in that; undefined where it can have none. */
export function withoutAddresses(
  buf: Buffer,
  start: number,
  end: number,
  version: ProtocolVersion,
): Buffer | undefined {
  const flags = headerFlags(buf, start)
  const opcode = headerOpcode(buf, start)
  if (opcode !== Opcode.ERROR && (flags & Flag.WARNING) === 0) return undefined
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
export function withoutRowAddresses(buf: Buffer, start: number, end: number, version: ProtocolVersion): Buffer {
  return new RowsChange(buf, start, end, version, addressChangerOf).whole()
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
