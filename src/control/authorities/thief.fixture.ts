/** Whoever has read the root's key: he has an issuing key of his own, of which the control plane knows nothing. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { type Credentials, credentialsOf } from '../../mesh/credentials.ts'
import { CertificateAuthority } from '../ca.ts'

/** @param folder is made */
export async function thiefOf(stateDir: string, folder: string, spiffeId: string, clock: Clock): Promise<Credentials> {
  mkdirSync(folder)
  copyFileSync(join(stateDir, 'ca', 'root.pem'), join(folder, 'root.pem'))
  const ca = await CertificateAuthority.open(folder, 'demo.local', clock)
  const { certificatePem, keyPem } = await ca.mint({ spiffeId: parseSpiffeId(spiffeId), ttlMs: 3_600_000 })
  return credentialsOf(certificatePem, keyPem, ca.bundlePem)
}
