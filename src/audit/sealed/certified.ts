/** Whose a log is: the statement in it, by which a sidecar's certificate vouches for the log's key. */
import { verify, X509Certificate } from 'node:crypto'
import { readLeaf } from '../../identity/certificate.ts'
import { verifyChain } from '../../identity/chain.ts'
import { pathSegmentsOf } from '../../identity/spiffe.ts'
import { meshPaths } from '../../mesh/roles.ts'
import { originOf, statementText } from './log-key.ts'
import type { NoteKey } from './note.ts'

export interface Certified {
  readonly spiffeId: string
}

/**
 * Undefined for what is no statement about this key, or none of the sidecar whose log it is: any other certificate of the mesh vouches for
 * nothing. @param ms when it was made
 */
export function certifies(json: Buffer, key: NoteKey, bundlePem: string, ms: number): Certified | undefined {
  try {
    const event = JSON.parse(json.toString('utf8')) as Record<string, unknown>
    const { certificates, signature } = event
    if (event.event !== 'log key' || event.key !== key.text) return undefined
    if (!Array.isArray(certificates) || typeof signature !== 'string') return undefined
    const [leaf, ...intermediates] = certificates.map((der) => Buffer.from(String(der), 'base64'))
    if (leaf === undefined) return undefined
    verifyChain(leaf, intermediates, bundlePem, ms)
    const { spiffeId } = readLeaf(leaf)
    const [mesh, role] = pathSegmentsOf(spiffeId)
    if (mesh !== 'ringfence' || role !== meshPaths.sidecar || originOf(spiffeId) !== key.name) return undefined
    const { publicKey } = new X509Certificate(leaf)
    const isSigned = verify('sha256', Buffer.from(statementText(key.text)), publicKey, Buffer.from(signature, 'base64'))
    return isSigned ? { spiffeId } : undefined
  } catch {
    // It may be anything: whoever could write the file wrote it.
    return undefined
  }
}
