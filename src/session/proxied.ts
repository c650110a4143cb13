/**
 * A connection that came through a proxy: its first bytes say whose it is.
 *
 * Rule: whoever sends no header, or none that is understood, is cut off; nobody is taken for the proxy.
 */
import type { Socket } from 'node:net'
import { after, contained, containOwnFault } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ClientAddresses } from './backend.ts'
import type { Doors } from './doors.ts'
import { type ProxyHeader, readProxyHeader } from './proxy-header.ts'
import { endsSocket, reset } from './reset.ts'

export function awaitProxyHeader(
  raw: Socket,
  doors: Doors,
  log: Logger,
  addressed: (raw: Socket, addresses: ClientAddresses) => void,
): void {
  let seen: Buffer = Buffer.alloc(0)
  const headerCame = doors.handshake(undefined, raw)
  const timer = after(endsSocket(raw), 'a PROXY header', limits.proxyHeaderTimeoutMs, () => reset(raw))
  const onReadable = contained(endsSocket(raw), 'a PROXY header', (): void => {
    const chunk = raw.read() as Buffer | null
    if (chunk === null) return
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    let header: ProxyHeader | undefined
    try {
      header = readProxyHeader(seen)
    } catch (reason) {
      containOwnFault('a PROXY header', reason)
      log.warn({ peer: raw.remoteAddress, reason: String(reason) }, 'PROXY header refused')
      clearTimeout(timer)
      reset(raw)
      return
    }
    if (header === undefined) return
    clearTimeout(timer)
    raw.off('readable', onReadable)
    headerCame?.()
    const rest = seen.subarray(header.bytes)
    if (rest.length > 0) raw.unshift(rest)
    addressed(raw, {
      address: header.source?.address ?? raw.remoteAddress ?? '',
      port: header.source?.port ?? raw.remotePort ?? 0,
      dialledAddress: header.destination?.address ?? raw.localAddress ?? '',
      dialledPort: header.destination?.port ?? raw.localPort ?? 0,
    })
  })
  raw.on('readable', onReadable)
  raw.once('close', () => clearTimeout(timer))
}
