/**
 * Whose process is at the other end of a connection on loopback: Linux lists the owner of each TCP socket (proc(5), /proc/net/tcp).
 *
 * Rule: only a socket that is established counts. One that its process has closed belongs to nobody any more, and is listed as root's.
 */
import { readFile } from 'node:fs/promises'
import { isIPv4 } from 'node:net'
import { endianness } from 'node:os'

const established = '01'

export interface Ends {
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
}

/** The user id of who connected to us; undefined where the system does not tell. */
export async function userAtOtherEnd(ends: Ends): Promise<number | undefined> {
  const { remoteAddress, remotePort, localAddress, localPort } = ends
  const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(rowsOf))
  for (const table of tables) {
    // An IPv4 connection of a program that uses IPv6 sockets only stands in the second table.
    for (const isMapped of [false, true]) {
      const here = endText(localAddress, localPort, isMapped)
      const there = endText(remoteAddress, remotePort, isMapped)
      const found = table.find(([local, remote, state]) => local === there && remote === here && state === established)
      if (found !== undefined) return found[3]
    }
  }
  return undefined
}

type Row = readonly [local: string, remote: string, state: string, uid: number]

async function rowsOf(path: string): Promise<Row[]> {
  let text: string
  try {
    text = await readFile(path, 'latin1')
  } catch {
    return []
  }
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length > 7)
    .map(([, local = '', remote = '', state = '', , , , uid]) => [local, remote, state, Number(uid)])
}

/** `0100007F:2352`: words of four bytes, each as the machine has it in memory. */
function endText(address: string, port: number, isMapped: boolean): string {
  const bytes = bytesOf(address.replace(/^::ffff:(?=\d+\.)/i, ''), isMapped)
  let hex = ''
  for (let at = 0; at < bytes.length; at += 4) {
    const word = bytes.subarray(at, at + 4)
    hex += Buffer.from(endianness() === 'LE' ? word.toReversed() : word).toString('hex')
  }
  return `${hex}:${port.toString(16).padStart(4, '0')}`.toUpperCase()
}

/** Loopback: an IPv4 address, or `::1`. */
function bytesOf(address: string, isMapped: boolean): Uint8Array {
  if (!isIPv4(address)) return Uint8Array.from({ length: 16 }, (_, at) => (at === 15 ? 1 : 0))
  const ipv4 = address.split('.').map(Number)
  return Uint8Array.from(isMapped ? [...Array.from({ length: 10 }, () => 0), 255, 255, ...ipv4] : ipv4)
}
