/** Whose a log is: the statement in it, by which a sidecar's certificate vouches for the log's key. */
import { verify, X509Certificate } from 'node:crypto'
import { readLeaf } from '../../identity/certificate.ts'
import { verifyChain } from '../../identity/chain.ts'
import { statementText } from './log-key.ts'
import type { NoteKey } from './note.ts'

export interface Certified {
  readonly spiffeId: string
}

/** Undefined for what is no statement about this key, or none that the roots vouch for. @param ms when it was made */
export function certifies(json: Buffer, key: NoteKey, bundlePem: string, ms: number): Certified | undefined {
  try {
    const event = JSON.parse(json.toString('utf8')) as Record<string, unknown>
    const { certificates, signature } = event
    if (event.event !== 'log key' || event.key !== key.text) return undefined
    if (!Array.isArray(certificates) || typeof signature !== 'string') return undefined
    const [leaf, ...intermediates] = certificates.map((der) => Buffer.from(String(der), 'base64'))
    if (leaf === undefined) return undefined
    verifyChain(leaf, intermediates, bundlePem, ms)
    const { publicKey } = new X509Certificate(leaf)
    const isSigned = verify('sha256', Buffer.from(statementText(key.text)), publicKey, Buffer.from(signature, 'base64'))
    return isSigned ? { spiffeId: readLeaf(leaf).spiffeId } : undefined
  } catch {
    // It may be anything: whoever could write the file wrote it.
    return undefined
  }
}
