/** Passports of gateway1 for one session at a sidecar: a good one of `svc/<who>`, and others. */
import { createPrivateKey } from 'node:crypto'
import { certificatesOf } from '../../src/identity/chain.ts'
import { type PassportRequest, signPassport } from '../../src/identity/passport.ts'
import type { SpiffeId } from '../../src/identity/spiffe.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import type { RunningSidecar, World } from './world.ts'

/** What a client with these certificates shows. */
export function shownBy({
  spiffeId,
  certificatePem,
}: Pick<Credentials, 'spiffeId' | 'certificatePem'>): Pick<PassportRequest, 'subject' | 'evidence'> {
  return { subject: spiffeId, evidence: { kind: 'svid', chain: certificatesOf(certificatePem).map(({ raw }) => raw) } }
}

type Shown = Pick<PassportRequest, 'subject' | 'evidence'>

export async function passportOf(world: World, sidecar: RunningSidecar, who: string): Promise<string> {
  return await passportWith(world, sidecar, shownBy(await world.credentials(`svc/${who}`)))
}

/** One for a session of half a minute, but for what is given. */
export async function passportWith(
  world: World,
  sidecar: RunningSidecar,
  given: Shown & Partial<PassportRequest>,
): Promise<string> {
  const gateway = await world.credentials('ringfence/gateway/gateway1')
  const request: PassportRequest = {
    clientAddress: '192.0.2.1',
    clientPort: 1,
    driverName: undefined,
    expiresAtMs: Date.now() + 30_000,
    audience: sidecar.endpoint.spiffeId as SpiffeId,
    ...given,
  }
  return signPassport(request, { spiffeId: gateway.spiffeId, key: createPrivateKey(gateway.keyPem) }, Date.now())
}
