/** A good passport of gateway1 for one session of `svc/<who>` at a sidecar. */
import { createPrivateKey } from 'node:crypto'
import { certificatesOf } from '../../src/identity/chain.ts'
import { signPassport } from '../../src/identity/passport.ts'
import type { SpiffeId } from '../../src/identity/spiffe.ts'
import type { RunningSidecar, World } from './world.ts'

export async function passportOf(world: World, sidecar: RunningSidecar, who: string): Promise<string> {
  const client = await world.credentials(`svc/${who}`)
  const gateway = await world.credentials('ringfence/gateway/gateway1')
  const [leafDer, ...intermediatesDer] = certificatesOf(client.certificatePem).map(({ raw }) => raw)
  const request = {
    evidence: { kind: 'svid', leafDer: leafDer!, intermediatesDer },
    clientAddress: '192.0.2.1',
    clientPort: 1,
    driverName: 'test',
    expiresAtMs: Date.now() + 60_000,
    audience: sidecar.endpoint.spiffeId as SpiffeId,
  } as const
  return signPassport(request, { spiffeId: gateway.spiffeId, key: createPrivateKey(gateway.keyPem) }, Date.now())
}
