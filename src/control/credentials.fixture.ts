/** Credentials of a mesh for tests that have no control plane; its authority is in a folder of theirs. */
import { systemClock } from '../base/clock.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import { CertificateAuthority } from './ca.ts'

/** Others each time; all of one folder are of one authority. */
export async function credentialsIn(folder: string, path: string): Promise<Credentials> {
  const ca = await CertificateAuthority.open(folder, 'demo.local', systemClock)
  const spiffeId = parseSpiffeId(`spiffe://demo.local/${path}`)
  const { certificatePem, keyPem } = await ca.mint({ spiffeId, ttlMs: 60_000 })
  return credentialsOf(certificatePem, keyPem, ca.bundlePem)
}
