/** What the Workload API says of credentials. */
import { createPrivateKey } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import { certificatesOf } from '../../identity/chain.ts'
import { trustDomainOf } from '../../identity/spiffe.ts'
import type { Credentials } from '../../mesh/credentials.ts'
import {
  type X509BundlesResponse,
  type X509SvidResponse,
  x509BundlesResponse,
  x509SvidResponse,
} from '../../mesh/workload-api/messages.ts'

/** Our one SVID with its key, and the roots that it is known by. */
export function svidsOf({ spiffeId, certificatePem, keyPem, bundlePem }: Credentials): X509SvidResponse {
  const x509Svid = derOf(certificatePem)
  const x509SvidKey = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
  return create(x509SvidResponse, { svids: [{ spiffeId, x509Svid, x509SvidKey, bundle: derOf(bundlePem), hint: '' }] })
}

/** The roots of our own trust domain. */
export function bundlesOf({ spiffeId, bundlePem }: Credentials): X509BundlesResponse {
  return create(x509BundlesResponse, { bundles: { [`spiffe://${trustDomainOf(spiffeId)}`]: derOf(bundlePem) } })
}

/** One behind the other. */
function derOf(pem: string): Buffer {
  return Buffer.concat(certificatesOf(pem).map(({ raw }) => raw))
}
