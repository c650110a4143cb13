/** How a connection to the node becomes ready: who the node is, then STARTUP to READY; then the keyspace, which is a request like any other. */

import type { TLSSocket } from 'node:tls'
import { RingfenceError } from '../base/errors.ts'
import { authResponseEnvelope, queryEnvelope, startupEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../cql/protocol.ts'
import { readAuthenticate } from '../cql/responses.ts'
import { verifyPeer } from '../identity/certificate.ts'
import { type SpiffeId, trustDomainOf } from '../identity/spiffe.ts'
import { nodeError } from './node-error.ts'

/**
 * The node is known by the SPIFFE id of its certificate, never by a host name.
 * @param spiffeId what its certificate must say; where that is not configured, any Cassandra node of the sidecar's trust domain
 * @throws RingfenceError IDENTITY
 */
export function verifyNode(socket: TLSSocket, ownSpiffeId: SpiffeId, spiffeId: string | undefined): void {
  const leaf = socket.getPeerX509Certificate()
  if (leaf === undefined) throw new RingfenceError('IDENTITY', 'the node showed no certificate')
  const trustDomain = trustDomainOf(ownSpiffeId)
  const node = verifyPeer(leaf.raw, Date.now(), trustDomain)
  const expected = spiffeId ?? `spiffe://${trustDomain}/cassandra/`
  const matches = spiffeId === undefined ? node.spiffeId.startsWith(expected) : node.spiffeId === expected
  if (!matches) throw new RingfenceError('IDENTITY', `the node is ${node.spiffeId}, expected ${expected}`)
}

/** The connection; an `Upstream`. */
interface Connection {
  readonly version: ProtocolVersion
  /** Empty for none. */
  readonly keyspace: string
  ask(envelope: Buffer): Promise<Buffer>
}

/** @throws RingfenceError UPSTREAM, or `NodeError` */
export async function nodeHandshake(connection: Connection): Promise<void> {
  const { version } = connection
  const options = new Map([
    ['CQL_VERSION', '3.0.0'],
    ['DRIVER_NAME', 'ringfence'],
  ])
  let answer = await connection.ask(startupEnvelope(version, 0, options))
  if (headerOpcode(answer, 0) === Opcode.AUTHENTICATE) {
    const authenticator = readAuthenticate(wholeEnvelope(answer))
    if (authenticator.endsWith('.PasswordAuthenticator')) {
      throw new RingfenceError(
        'UPSTREAM',
        'the node wants a password, where it should know the sidecar by its certificate',
        {
          hint: 'its authenticator must be MutualTlsAuthenticator, or MutualTlsWithPasswordFallbackAuthenticator while both are in use',
        },
      )
    }
    answer = await connection.ask(authResponseEnvelope(version, 0, Buffer.alloc(0)))
  }
  const opcode = headerOpcode(answer, 0)
  if (opcode !== Opcode.READY && opcode !== Opcode.AUTH_SUCCESS) throw nodeError(answer)
}

/** May take as long as any request: the client that asked for it would wait as long for the node itself. @throws NodeError what the node says of it */
export async function useKeyspace(connection: Connection): Promise<void> {
  const { version, keyspace } = connection
  if (keyspace === '') return
  const used = await connection.ask(queryEnvelope(version, 0, `USE "${keyspace.replaceAll('"', '""')}"`, {}))
  if (headerOpcode(used, 0) !== Opcode.RESULT) throw nodeError(used)
}
