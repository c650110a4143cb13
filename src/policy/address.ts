/**
 * Addresses of clients, as text and as bytes. `node:net` is closed to this layer, and Cedar reads fewer forms than there are.
 */

/** The 4 or 16 bytes of an IPv4 or IPv6 address; undefined for anything else, a zone (`%eth0`) too. */
export function parseAddress(text: string): readonly number[] | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text)
}

/**
 * An address as Cedar reads it: without zone, and IPv4 where it was written inside IPv6 (RFC 4291 §2.5.5.2). Undefined for what is none,
 * such as the '' of a Unix socket.
 */
export function canonicalAddress(text: string): string | undefined {
  const bytes = parseAddress(text.split('%', 1)[0]!)
  if (bytes === undefined) return undefined
  if (bytes.length === 4) return bytes.join('.')
  if (isMapped(bytes)) return bytes.slice(12).join('.')
  const groups: string[] = []
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16))
  return groups.join(':')
}

/** `::ffff:0:0/96`: IPv4 inside IPv6. */
export function isMapped(bytes: readonly number[]): boolean {
  return bytes.length === 16 && bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
}

function parseIpv4(text: string): number[] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (match === null) return undefined
  // A leading zero means octal to some readers.
  if (match.slice(1).some((part) => Number(part) > 255 || (part.length > 1 && part.startsWith('0')))) return undefined
  return match.slice(1).map(Number)
}

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const parsed = halves.map((half, index) => parseGroups(half, index === halves.length - 1))
  const [head, tail] = parsed
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined
  if (tail === undefined) return head.length === 16 ? head : undefined
  // `::` stands for one group of zeros at least.
  const missing = 16 - head.length - tail.length
  return missing < 2 ? undefined : [...head, ...new Array<number>(missing).fill(0), ...tail]
}

/** Groups between colons; the last may be an IPv4 address where nothing follows it. */
function parseGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    if (isLast && index === groups.length - 1 && group.includes('.')) {
      const inner = parseIpv4(group)
      if (inner === undefined) return undefined
      bytes.push(...inner)
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 255)
    }
  }
  return bytes
}
