/** Certificates of the mesh's authority for those who have no agent: Cassandra's nodes, the web application's pages, and identities to try. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyStoreText } from '../../src/agent/certificate-files.ts'
import type { AdminClient } from '../../src/cli/admin-client.ts'
import { type Layout, spiffeIds } from './layout.ts'
import { siteFiles } from './people.ts'

export interface IdentityFiles {
  readonly spiffeId: string
  readonly certFile: string
  readonly keyFile: string
  readonly caFile: string
}

export const nodeCertificateMs = 24 * 60 * 60 * 1000

export async function writeNodeCertificates(admin: AdminClient, { nodes }: Layout): Promise<void> {
  for (const { index, cql, cassandraDir } of nodes) {
    const ipAddresses = [cql.address, `127.0.0.${index}`]
    const minted = await admin.mint({ spiffeId: spiffeIds.cassandra(index), ttlMs: nodeCertificateMs, ipAddresses })
    const dir = join(cassandraDir, 'tls')
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    writeFileSync(join(dir, 'node.pem'), keyStoreText(minted), { mode: 0o600 })
    writeFileSync(join(dir, 'ca.pem'), minted.bundlePem)
  }
}

/** Of the web application's pages; a browser is told of the mesh's authority, or warns. */
export async function writeSiteCertificate(admin: AdminClient, layout: Layout): Promise<void> {
  const spiffeId = spiffeIds.service('pages')
  const minted = await admin.mint({ spiffeId, ttlMs: nodeCertificateMs, ipAddresses: [layout.site.address] })
  mkdirSync(layout.dirs.nginx, { recursive: true })
  writeCertificate(siteFiles(layout), minted)
}

/** Below `<stateDir>/identities`. */
export async function writeIdentity(
  admin: AdminClient,
  { stateDir }: Layout,
  spiffeId: string,
  ttlMs = nodeCertificateMs,
): Promise<IdentityFiles> {
  const minted = await admin.mint({ spiffeId, ttlMs })
  const dir = join(stateDir, 'identities', spiffeId.split('/').slice(3).join('-'))
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const files = { certFile: join(dir, 'svid.pem'), keyFile: join(dir, 'key.pem'), caFile: join(dir, 'bundle.pem') }
  writeCertificate(files, minted)
  return { spiffeId, ...files }
}

function writeCertificate(
  { certFile, keyFile, caFile }: Omit<IdentityFiles, 'spiffeId'>,
  minted: Awaited<ReturnType<AdminClient['mint']>>,
): void {
  writeFileSync(keyFile, minted.keyPem, { mode: 0o600 })
  writeFileSync(certFile, minted.certificatePem)
  writeFileSync(caFile, minted.bundlePem)
}
