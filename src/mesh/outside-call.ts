/**
 * One call to a server outside the mesh: an identity provider, AWS STS, the API server of a Kubernetes cluster.
 *
 * Rule: the address that was looked at is the one that is called, no redirect is followed, and neither time nor length of an answer is the
 * server's to choose.
 */
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import type { Agent, IncomingMessage } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP } from 'node:net'
import { TLSSocket } from 'node:tls'
import { contained } from '../base/contained.ts'
import type { OutsideAnswer } from '../identity/outside/answer.ts'
import { request as requestPlain } from './http.ts'
import { addressFault, isLoopback } from './public-address.ts'

/** All addresses of a host. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

export const resolveBySystem: Resolve = (host) => lookup(host, { all: true })

export interface OutsideCall {
  /** `http:` goes to loopback only. */
  readonly protocol: 'https:' | 'http:'
  readonly method: 'GET' | 'POST'
  /** A name or an address, without brackets. */
  readonly host: string
  readonly port: number
  /** As it is sent, with its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
  /** The only roots, PEM; those of the system where it is undefined. */
  readonly ca: readonly string[] | undefined
  readonly allowPrivate: boolean
  readonly msMax: number
  readonly answerBytesMax: number
  /** Keeps connections for the next call; none is kept where it is undefined. Each was opened to an address that was looked at. */
  readonly agent?: Agent | undefined
  /** Ends it before `msMax`. */
  readonly signal?: AbortSignal | undefined
  /** What is wrong with an answer of that status: it is not read then. */
  readonly statusFault?: (status: number) => string | undefined
  /** Is told of the server's certificate, DER, once that was verified. */
  readonly onServer?: ((host: string, der: Buffer) => void) | undefined
}

/** @throws Error that says why there is no answer, and quotes nothing that was sent */
export async function callOutside(call: OutsideCall, resolve: Resolve): Promise<OutsideAnswer> {
  const { msMax, signal: ended } = call
  const signal = AbortSignal.any([AbortSignal.timeout(msMax), ...(ended === undefined ? [] : [ended])])
  try {
    return await send(call, await within(signal, addressOf(call, resolve)), signal)
  } catch (reason) {
    const why = signal.aborted
      ? `no answer within ${msMax} ms`
      : reason instanceof Error
        ? reason.message
        : String(reason)
    throw new Error(why, { cause: reason })
  }
}

/** All addresses of the host may be called, or none is: which one is taken is the resolver's word. */
async function addressOf({ protocol, host, allowPrivate }: OutsideCall, resolve: Resolve): Promise<LookupAddress> {
  const family = isIP(host)
  const found = family === 0 ? await resolve(host) : [{ address: host, family }]
  for (const { address } of found) {
    const fault = addressFault(address, allowPrivate)
    if (fault !== undefined) throw new Error(fault)
    if (protocol === 'http:' && !isLoopback(address)) throw new Error(`${address} is not loopback, and http:// is`)
  }
  const [first] = found
  if (first === undefined) throw new Error(`${host} has no address`)
  return first
}

function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
    work.then(resolve, reject)
  })
}

function send(call: OutsideCall, { address, family }: LookupAddress, signal: AbortSignal): Promise<OutsideAnswer> {
  const { protocol, method, host, port, path, headers, body, ca, answerBytesMax, statusFault, onServer } = call
  return new Promise((resolve, reject) => {
    const options = {
      ...{ method, host, port, path, headers, signal },
      // No proxy of the environment, and no pool of others: this very address.
      agent: call.agent ?? (false as const),
      lookup: (
        _host: string,
        { all }: { all?: boolean | undefined },
        done: (error: null, found: string | LookupAddress[], family?: number) => void,
      ) => (all === true ? done(null, [{ address, family }]) : done(null, address, family)),
    }
    const tls = {
      // With the certificate of that host.
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(ca === undefined ? {} : { ca: [...ca] }),
      minVersion: 'TLSv1.2' as const,
    }
    const asking = protocol === 'http:' ? requestPlain(options) : requestTls({ ...options, ...tls })
    const owner = { onFault: reject }
    const answered = (response: IncomingMessage): void => {
      const { statusCode: status = 0, socket } = response
      const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined
      if (certificate !== undefined) onServer?.(host, certificate.raw)
      const chunks: Buffer[] = []
      let bytes = 0
      const fail = (message: string): void => {
        response.destroy()
        reject(new Error(message))
      }
      response.on('error', reject)
      const fault = statusFault?.(status)
      if (fault !== undefined) {
        fail(fault)
        return
      }
      const take = (chunk: Buffer): void => {
        bytes += chunk.length
        if (bytes > answerBytesMax) fail(`the answer is longer than ${answerBytesMax} bytes`)
        else chunks.push(chunk)
      }
      const whole = (): void => {
        const { 'content-type': contentType = '', 'retry-after': retryAfter } = response.headers
        resolve({ status, contentType, retryAfter, body: Buffer.concat(chunks) })
      }
      response.on('data', contained(owner, 'an answer from outside', take))
      response.on('end', contained(owner, 'the end of an answer from outside', whole))
    }
    asking.on('error', reject)
    asking.on('response', contained(owner, 'a server outside', answered))
    asking.end(body)
  })
}
