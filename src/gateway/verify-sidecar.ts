/** Who a sidecar is that a gateway has connected to, and what it speaks. */
import type { TLSSocket } from 'node:tls'
import { RingfenceError } from '../base/errors.ts'
import { verifyPeer } from '../identity/certificate.ts'
import { revokedText } from '../identity/revoked/revocation.ts'
import type { CallerFacts, Revocations } from '../identity/revoked/revocations.ts'
import { trustDomainOf } from '../identity/spiffe.ts'
import { linkProtocols } from '../link/protocol.ts'
import type { Credentials } from '../mesh/credentials.ts'
import type { SidecarEndpoint } from '../mesh/endpoints.ts'

export interface ExpectedSidecar {
  readonly endpoint: SidecarEndpoint
  readonly credentials: Credentials
  readonly revocations: Revocations
}

/** Who it is, when its certificate ends, and the protocol that was agreed on. Throws `IDENTITY` where it is another or thrown out, `LINK` where it speaks no link. */
export function verifySidecar(
  socket: TLSSocket,
  { endpoint, credentials, revocations }: ExpectedSidecar,
): { readonly peer: CallerFacts; readonly notAfterMs: number; readonly protocol: string } {
  const leaf = socket.getPeerX509Certificate()
  if (leaf === undefined) throw new RingfenceError('IDENTITY', 'the sidecar showed no certificate')
  const nowMs = Date.now()
  const { spiffeId, notAfterMs, certificate } = verifyPeer(leaf.raw, nowMs, trustDomainOf(credentials.spiffeId))
  if (spiffeId !== endpoint.spiffeId) {
    throw new RingfenceError('IDENTITY', `the sidecar is ${spiffeId}, expected ${endpoint.spiffeId}`)
  }
  const peer: CallerFacts = { subject: spiffeId, certificate }
  const revoked = revocations.find(peer, nowMs)
  if (revoked !== undefined)
    throw new RingfenceError('IDENTITY', `the sidecar is thrown out: ${revokedText(revoked.id)}`)
  const protocol = socket.alpnProtocol
  if (typeof protocol !== 'string' || !linkProtocols.includes(protocol)) {
    throw new RingfenceError('LINK', 'the peer speaks no mesh link')
  }
  return { peer, notAfterMs, protocol }
}
