/** Which certificate a server shows, seen by a handshake of our own after which nothing is asked. */
import { connect } from 'node:tls'
import { after, contained, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { Credentials } from '../mesh/credentials.ts'

/** Its leaf; undefined where nobody listens. It is not judged. @throws RingfenceError UNAVAILABLE where who listens does no TLS with us */
export function servedCertificate(
  { address, port }: { readonly address: string; readonly port: number },
  { keyPem: key, certificatePem: cert, bundlePem: ca }: Credentials,
): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, key, cert, ca, rejectUnauthorized: false })
    let isThere = false
    const timer = after(nothingEnds, 'the look at a certificate', limits.handshakeTimeoutMs, () =>
      socket.destroy(new Error('no TLS handshake in time')),
    )
    const end = (): void => {
      clearTimeout(timer)
      socket.destroy()
    }
    socket.once(
      'connect',
      contained(nothingEnds, 'the look at a certificate', () => {
        isThere = true
      }),
    )
    socket.on(
      'error',
      contained(nothingEnds, 'the look at a certificate', (cause: Error) => {
        end()
        if (!isThere) resolve(undefined)
        else reject(new RingfenceError('UNAVAILABLE', `no TLS with ${address}:${port}: ${cause.message}`, { cause }))
      }),
    )
    socket.once(
      'secureConnect',
      contained(nothingEnds, 'the look at a certificate', () => {
        const leaf = socket.getPeerX509Certificate()
        end()
        resolve(leaf?.raw)
      }),
    )
    socket.once(
      'close',
      contained(nothingEnds, 'the look at a certificate', () => {
        clearTimeout(timer)
        // It was ended without a word, where nothing above has come.
        resolve(undefined)
      }),
    )
  })
}
