/** A good passport of gateway1 for one session of `svc/<who>` at a sidecar. */
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

export async function passportOf(world: World, sidecar: RunningSidecar, who: string): Promise<string> {
  const gateway = await world.credentials('ringfence/gateway/gateway1')
  const request = {
    ...shownBy(await world.credentials(`svc/${who}`)),
    clientAddress: '192.0.2.1',
    clientPort: 1,
    driverName: 'test',
    expiresAtMs: Date.now() + 60_000,
    audience: sidecar.endpoint.spiffeId as SpiffeId,
  } as const
  return signPassport(request, { spiffeId: gateway.spiffeId, key: createPrivateKey(gateway.keyPem) }, Date.now())
}
