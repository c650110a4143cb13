/** The bytes of what is written in letters: uuids and addresses. The other way: `uuidText` and `inetText` of `reader.ts`. */
import { assert } from '../base/errors.ts'

/** Sixteen bytes of a uuid in the usual letters. */
export function uuidBytes(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex')
  assert(bytes.length === 16, 'a uuid has 16 bytes')
  return bytes
}

/** Four or sixteen bytes of an address that has been found well-formed before. */
export function inetBytes(address: string): Buffer {
  if (!address.includes(':')) {
    const parts = address.split('.').map(Number)
    assert(parts.length === 4 && parts.every((part) => part >= 0 && part <= 255), 'an ipv4 address has four parts')
    return Buffer.from(parts)
  }
  // A dotted tail is two groups.
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const plain = dotted
    ? `${dotted[1]}${inetBytes(dotted[2]!)
        .toString('hex')
        .replace(/(....)(....)/, '$1:$2')}`
    : address
  const [head = '', tail] = plain.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const zeroes = 8 - front.length - back.length
  assert(tail === undefined ? zeroes === 0 : zeroes >= 0, 'an ipv6 address has eight groups')
  const bytes = Buffer.alloc(16)
  ;[...front, ...Array<number>(zeroes).fill(0), ...back].forEach((group, i) => {
    bytes.writeUInt16BE(group, i * 2)
  })
  return bytes
}
