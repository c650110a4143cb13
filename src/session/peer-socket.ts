/**
 * A TLS connection that this end opens, to a part of the mesh or to a node.
 *
 * Rule: the peer is known by the SPIFFE id of its certificate, read from the DER, and never by a host name. Whoever opens a connection looks at
 * it before anything is believed; bytes may come earlier.
 */
import { constants } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { connect as connectTls } from 'node:tls'
import type { Credentials } from '../mesh/credentials.ts'
import { reusedReads } from './reads.ts'

export interface PeerAddress {
  readonly address: string
  readonly port: number
  /** Application protocols that this end offers. */
  readonly protocols?: readonly string[]
}

/** @param onData gets what was read, borrowed for the call (`reads.ts`) */
export function connectToPeer(
  { address, port, protocols = [] }: PeerAddress,
  { keyPem, certificatePem, bundlePem }: Credentials,
  onData: (chunk: Buffer) => void,
): TLSSocket {
  const socket = connectTls({
    host: address,
    port,
    key: keyPem,
    cert: certificatePem,
    ca: bundlePem,
    minVersion: 'TLSv1.3',
    ...(protocols.length > 0 ? { ALPNProtocols: [...protocols] } : {}),
    secureOptions: constants.SSL_OP_NO_TICKET,
    checkServerIdentity: () => undefined,
    ...reusedReads(onData),
  })
  socket.setNoDelay(true)
  return socket
}
