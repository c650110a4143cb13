/**
 * The PROXY protocol, versions 1 and 2 (haproxy.org, "The PROXY protocol", 2020-03-05): the client's own address, as NGINX saw it.
 * Pure: bytes in, header out. Every length is checked before it is used; TLVs are skipped, as they are claims of the proxy only.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'

export interface ProxyHeader {
  /** Bytes of the header; what follows them is the client's. */
  readonly bytes: number
  /** `undefined` for LOCAL and UNKNOWN: the proxy's own connection, such as a health check. */
  readonly source: { readonly address: string; readonly port: number } | undefined
  readonly destination: { readonly address: string; readonly port: number } | undefined
}

const v2Signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const v1Prefix = Buffer.from('PROXY ')
/** "PROXY UNKNOWN" with two IPv6 addresses and CRLF (specification §2.1). */
const v1BytesMax = 107
const v2HeaderBytes = 16

/** The header at the start of `bytes`, or `undefined` while it is incomplete. Throws `PROXY_HEADER` for anything else. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (startsLike(bytes, v2Signature)) return bytes.length < v2HeaderBytes ? undefined : readV2(bytes)
  if (startsLike(bytes, v1Prefix)) return readV1(bytes)
  throw new RingfenceError('PROXY_HEADER', 'the connection does not begin with a PROXY protocol header')
}

function startsLike(bytes: Buffer, prefix: Buffer): boolean {
  const length = Math.min(bytes.length, prefix.length)
  return bytes.compare(prefix, 0, length, 0, length) === 0
}

function readV1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.subarray(0, v1BytesMax).indexOf('\r\n')
  if (end < 0) {
    if (bytes.length >= v1BytesMax) throw new RingfenceError('PROXY_HEADER', 'PROXY v1 header without an end')
    return undefined
  }
  const words = bytes.toString('latin1', 0, end).split(' ')
  const size = end + 2
  if (words[1] === 'UNKNOWN') return { bytes: size, source: undefined, destination: undefined }
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = ''] = words
  const valid = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined
  if (words.length !== 6 || valid === undefined || !valid(source) || !valid(destination)) {
    throw new RingfenceError('PROXY_HEADER', 'malformed PROXY v1 header')
  }
  return {
    bytes: size,
    source: { address: source, port: port(sourcePort) },
    destination: { address: destination, port: port(destinationPort) },
  }
}

function port(text: string): number {
  if (!/^(0|[1-9][0-9]{0,4})$/.test(text) || Number(text) > 65_535) {
    throw new RingfenceError('PROXY_HEADER', 'malformed port in PROXY v1 header')
  }
  return Number(text)
}

/** Specification §2.2: signature, version and command, family and transport, length, addresses, TLVs. */
function readV2(bytes: Buffer): ProxyHeader | undefined {
  const versionAndCommand = bytes[12]!
  if (versionAndCommand >>> 4 !== 2) throw new RingfenceError('PROXY_HEADER', 'unknown PROXY protocol version')
  const command = versionAndCommand & 0x0f
  if (command > 1) throw new RingfenceError('PROXY_HEADER', 'unknown PROXY v2 command')
  const length = bytes.readUInt16BE(14)
  const size = v2HeaderBytes + length
  if (size > limits.proxyHeaderBytesMax) {
    throw new RingfenceError('PROXY_HEADER', `PROXY v2 header of ${size} bytes exceeds proxyHeaderBytesMax`)
  }
  if (bytes.length < size) return undefined
  if (command === 0) {
    skipTlvs(bytes, v2HeaderBytes + addressBytes(bytes[13]! >>> 4), size)
    return { bytes: size, source: undefined, destination: undefined }
  }
  const family = bytes[13]!
  if (family !== 0x11 && family !== 0x21) {
    throw new RingfenceError('PROXY_HEADER', 'PROXY v2 header is not for TCP over IPv4 or IPv6')
  }
  const each = family === 0x11 ? 4 : 16
  const portsAt = v2HeaderBytes + 2 * each
  if (portsAt + 4 > size) throw new RingfenceError('PROXY_HEADER', 'PROXY v2 header is too short for its addresses')
  skipTlvs(bytes, portsAt + 4, size)
  return {
    bytes: size,
    source: { address: address(bytes, v2HeaderBytes, each), port: bytes.readUInt16BE(portsAt) },
    destination: { address: address(bytes, v2HeaderBytes + each, each), port: bytes.readUInt16BE(portsAt + 2) },
  }
}

function addressBytes(family: number): number {
  return [0, 12, 36, 216][family] ?? 0
}

function address(bytes: Buffer, at: number, each: number): string {
  if (each === 4) return bytes.subarray(at, at + 4).join('.')
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(at + i).toString(16))
  return groups.join(':')
}

/** TLVs are not believed, but a header whose TLVs overrun it is refused. */
function skipTlvs(bytes: Buffer, from: number, end: number): void {
  let at = from
  while (at < end) {
    if (at + 3 > end) throw new RingfenceError('PROXY_HEADER', 'PROXY v2 header ends inside a TLV')
    at += 3 + bytes.readUInt16BE(at + 1)
  }
  if (at > end && from <= end) throw new RingfenceError('PROXY_HEADER', 'a TLV of the PROXY v2 header overruns it')
}
