/**
 * What Node's own TLS takes of a loop, without anything of ours: a bare `tls.Server` with a certificate of the mesh's own authority and the
 * settings of our listeners. It answers a log-in by the same bytes, whatever is shown, and the neighbour's questions with nothing. Asked with
 * credentials it says where it listens.
 */
import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import type { Credentials } from '../certificates.ts'
import { envelope, int, string, WireReader } from '../wire.ts'
import { serveQuestions } from './children.ts'

export interface FloorPlan {
  readonly credentials: Credentials
}

const answerVersion = 0x84
const ready = envelope(answerVersion, Opcode.READY, Buffer.alloc(0))
const authenticate = envelope(
  answerVersion,
  Opcode.AUTHENTICATE,
  string('org.apache.cassandra.auth.PasswordAuthenticator'),
)
const success = envelope(answerVersion, Opcode.AUTH_SUCCESS, int(-1))
const nothing = envelope(answerVersion, Opcode.RESULT, int(1))

function answerTo(opcode: number, isKnown: boolean): Buffer {
  if (opcode === Opcode.STARTUP) return isKnown ? ready : authenticate
  return opcode === Opcode.AUTH_RESPONSE ? success : nothing
}

serveQuestions(async (question) => {
  const { cert, key, ca } = (question as { plan: FloorPlan }).plan.credentials
  // As `session/listener.ts` has them.
  const server = createServer({
    cert: readFileSync(cert),
    key: readFileSync(key),
    ca: readFileSync(ca),
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    noDelay: true,
  })
  server.on('secureConnection', (socket) => {
    const isKnown = socket.getPeerX509Certificate() !== undefined
    const reader = new WireReader((bytes, at) => void socket.write(answerTo(headerOpcode(bytes, at), isKnown)))
    socket.on('data', (chunk: Buffer) => reader.feed(chunk))
    socket.on('error', () => socket.destroy())
  })
  server.on('tlsClientError', (_error, socket) => void socket.destroy())
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, resolve))
  return (server.address() as AddressInfo).port
})
