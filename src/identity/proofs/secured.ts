/** What the methods in a record and in metrics say. For who tells of log-ins and verifies nobody, so it reads nothing of the proofs themselves. */

/** The listener's identity stood for whoever came: nothing was proved. */
export const methodWithoutProof = 'listener'
/** Part of each method by which the client's connection was mutual TLS. */
export const methodByMutualTls = 'certificate'

/** Of a log-in that was refused: what proves somebody is a token or a certificate; what showed neither could not be read. */
export function methodRefused(cause: string, isToken: boolean): string {
  if (isToken) return 'token'
  return cause === 'certificate' || cause === 'revoked' ? methodByMutualTls : 'unknown'
}
