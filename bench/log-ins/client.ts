/** One fresh session: a connection with its own TLS handshake, and a log-in, if any. It closes at once. */
import { connect, type SecureContext } from 'node:tls'
import { envelopeHeaderBytes, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { envelope, longString, short, string } from '../wire.ts'

/** What a fresh session shows. `nothing`: it goes after the TLS handshake. */
export type Shown = 'nothing' | 'certificate' | { readonly token: string }

export interface Place {
  readonly port: number
  /** A loopback address to come from. */
  readonly from: string
  /** With a certificate of its own, where it is to show one. */
  readonly secureContext: SecureContext
}

const timeoutMs = 5_000
const startup = envelope(4, Opcode.STARTUP, Buffer.concat([short(1), string('CQL_VERSION'), string('3.0.0')]))

/** Rejects in the words of an ERROR, or where the connection ends or nothing comes in time. */
export function logIn({ port, from, secureContext }: Place, shown: Shown): Promise<void> {
  return new Promise((resolve, reject) => {
    // A SPIFFE certificate names no host; the bench knows whom it started.
    const checkServerIdentity = (): undefined => undefined
    const place = { host: '127.0.0.1', port, localAddress: from }
    const socket = connect({ ...place, secureContext, checkServerIdentity }, () => {
      if (shown === 'nothing') return end()
      socket.write(startup)
    })
    const timer = setTimeout(() => end(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs)
    const end = (reason?: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      if (reason === undefined) resolve()
      else reject(reason)
    }
    socket.setNoDelay(true)
    socket.on('error', end)
    socket.on('close', () => end(new Error('the connection was closed')))
    // Answers before the end of a log-in are short, and one comes for each request.
    socket.on('data', (answer: Buffer) => {
      const opcode = headerOpcode(answer, 0)
      if (opcode === Opcode.AUTHENTICATE && typeof shown === 'object')
        socket.write(envelope(4, Opcode.AUTH_RESPONSE, longString(`\0token\0${shown.token}`)))
      else if (opcode === (shown === 'certificate' ? Opcode.READY : Opcode.AUTH_SUCCESS)) end()
      else end(new Error(`answered by opcode ${opcode}: ${answer.toString('latin1', envelopeHeaderBytes + 6)}`))
    })
  })
}
