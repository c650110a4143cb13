/** Who a sidecar is that a gateway has connected to, and what it speaks. */
import type { TLSSocket } from 'node:tls'
import { RingfenceError } from '../base/errors.ts'
import { verifyPeer } from '../identity/certificate.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { linkProtocols } from '../link/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { SidecarEndpoint } from '../mesh/endpoints.ts'

export interface ExpectedSidecar {
  readonly endpoint: SidecarEndpoint
  readonly credentials: Credentials
}

/** When its certificate ends, and the protocol that was agreed on. Throws `IDENTITY` where it is another, `LINK` where it speaks no link. */
export function verifySidecar(
  socket: TLSSocket,
  { endpoint, credentials }: ExpectedSidecar,
): { readonly notAfterMs: number; readonly protocol: string } {
  const leaf = socket.getPeerX509Certificate()
  if (leaf === undefined) throw new RingfenceError('IDENTITY', 'the sidecar showed no certificate')
  const { spiffeId, notAfterMs } = verifyPeer(leaf.raw, Date.now(), trustDomainOf(credentials.spiffeId))
  if (spiffeId !== endpoint.spiffeId) {
    throw new RingfenceError('IDENTITY', `the sidecar is ${spiffeId}, expected ${endpoint.spiffeId}`)
  }
  const protocol = socket.alpnProtocol
  if (typeof protocol !== 'string' || !linkProtocols.includes(protocol)) {
    throw new RingfenceError('LINK', 'the peer speaks no mesh link')
  }
  return { notAfterMs, protocol }
}
