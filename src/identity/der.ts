/**
 * A reader of DER (ITU-T X.690 §8, §10) for the parts of a certificate that we decide on. Strict where BER would be lenient:
 * definite, minimal lengths; one-byte tags; nothing left over.
 */
import { RingfenceError } from '../base/errors.ts'

/** Tags as they stand in the first byte. */
export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const

export interface DerElement {
  readonly tag: number
  /** The element with its header; a view. */
  readonly whole: Buffer
  /** What the header announces; a view. */
  readonly content: Buffer
}

/** Walks the elements that stand one after the other in `bytes`. Every method throws RingfenceError IDENTITY on other bytes. */
export class DerReader {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#offset === this.#bytes.length
  }

  peekTag(): number | undefined {
    return this.#bytes[this.#offset]
  }

  next(): DerElement {
    const start = this.#offset
    const bytes = this.#bytes
    const first = bytes[start]
    const lengthByte = bytes[start + 1]
    if (first === undefined || lengthByte === undefined) throw derFault('ends inside a header')
    if ((first & 0x1f) === 0x1f) throw derFault('has a tag of several bytes')
    let length = lengthByte
    let at = start + 2
    if (lengthByte >= 0x80) {
      const count = lengthByte & 0x7f
      // 0 is BER's indefinite length; more than 3 bytes would be a certificate beyond 16 MiB.
      if (count === 0 || count > 3) throw derFault('has a length that is not allowed')
      length = 0
      for (let i = 0; i < count; i++) {
        const digit = bytes[at++]
        if (digit === undefined) throw derFault('ends inside a length')
        length = length * 256 + digit
      }
      if (length < 0x80 || length < 256 ** (count - 1)) throw derFault('has a length that is not minimal')
    }
    const end = at + length
    if (end > bytes.length) throw derFault('ends inside an element')
    this.#offset = end
    return { tag: first, whole: bytes.subarray(start, end), content: bytes.subarray(at, end) }
  }

  expect(wanted: number, what: string): DerElement {
    const element = this.next()
    if (element.tag !== wanted) throw derFault(`has tag 0x${element.tag.toString(16)} where ${what} should be`)
    return element
  }

  /** The next element's own elements. */
  enter(wanted: number, what: string): DerReader {
    return new DerReader(this.expect(wanted, what).content)
  }

  /** The next element if it has this tag. */
  optional(wanted: number): DerElement | undefined {
    return this.peekTag() === wanted ? this.next() : undefined
  }

  end(what: string): void {
    if (!this.done) throw derFault(`has bytes left over after ${what}`)
  }
}

/** `2.5.29.17` and the like (X.690 §8.19). */
export function objectIdText(content: Buffer): string {
  if (content.length === 0 || content.length > 64) throw derFault('has an object identifier of a wrong length')
  const arcs: number[] = []
  let value = 0
  let fresh = true
  for (const byte of content) {
    if (fresh && byte === 0x80) throw derFault('has an object identifier that is not minimal')
    value = value * 128 + (byte & 0x7f)
    if (!Number.isSafeInteger(value)) throw derFault('has an object identifier that is too large')
    fresh = (byte & 0x80) === 0
    if (fresh) {
      arcs.push(value)
      value = 0
    }
  }
  if (!fresh) throw derFault('ends inside an object identifier')
  const first = arcs[0] ?? 0
  const root = Math.min(2, Math.floor(first / 40))
  return [root, first - 40 * root, ...arcs.slice(1)].join('.')
}

/** DER knows only 0x00 and 0xff (X.690 §11.1). */
export function booleanValue(element: DerElement): boolean {
  const [byte] = element.content
  if (element.tag !== tag.boolean || element.content.length !== 1 || (byte !== 0 && byte !== 0xff)) {
    throw derFault('has a boolean that is neither true nor false')
  }
  return byte === 0xff
}

/** The named bits of a BIT STRING, bit 0 first. */
export function bitStringBits(content: Buffer): Set<number> {
  const unused = content[0]
  if (unused === undefined || unused > 7 || (content.length === 1 && unused !== 0))
    throw derFault('has a bad bit string')
  const bits = new Set<number>()
  const count = (content.length - 1) * 8 - unused
  for (let bit = 0; bit < count; bit++) {
    const byte = content[1 + (bit >> 3)] ?? 0
    if ((byte & (0x80 >> (bit & 7))) !== 0) bits.add(bit)
  }
  return bits
}

/** UTCTime or GeneralizedTime in the one form that RFC 5280 §4.1.2.5 allows; milliseconds since 1970. */
export function timeMs(element: DerElement): number {
  const text = element.content.toString('latin1')
  const digits = element.tag === tag.utcTime ? 12 : element.tag === tag.generalizedTime ? 14 : 0
  if (digits === 0 || text.length !== digits + 1 || !/^\d+Z$/.test(text))
    throw derFault('has a time in a form that is not allowed')
  const yearDigits = digits - 10
  const shortYear = Number(text.slice(0, yearDigits))
  const year = yearDigits === 4 ? shortYear : shortYear >= 50 ? 1900 + shortYear : 2000 + shortYear
  const part = (index: number): number => Number(text.slice(yearDigits + 2 * index, yearDigits + 2 * index + 2))
  const ms = Date.UTC(year, part(0) - 1, part(1), part(2), part(3), part(4))
  const iso = Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)
  if (iso !== `${year}`.padStart(4, '0') + text.slice(yearDigits, -1)) throw derFault('has a time that does not exist')
  return ms
}

export function derFault(what: string): RingfenceError {
  return new RingfenceError('IDENTITY', `certificate ${what}`)
}
