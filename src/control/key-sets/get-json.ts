/**
 * One GET of a document in JSON, of a server that the policy names.
 *
 * Rule: the address that was looked at is the one that is called, no redirect is followed, and neither the length nor the time of an answer
 * is the server's to choose.
 */
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP } from 'node:net'
import { rootCertificates } from 'node:tls'
import { contained, type Owner } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { urlFault } from '../../identity/providers/common.ts'
import { addressFault, isLoopback } from '../../mesh/public-address.ts'

const bytesMax = 512 * 1024
const msMax = 10_000

export interface GetOptions {
  /** Roots besides those of the system, PEM. */
  readonly caPem: string | undefined
  readonly allowPrivate: boolean
  readonly signal?: AbortSignal | undefined
  /** For tests: in the place of the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly LookupAddress[]>
}

const resolveBySystem = (host: string): Promise<LookupAddress[]> => lookup(host, { all: true })

/** @throws RingfenceError UNAVAILABLE with the address of what was asked for and why not */
export async function getJson(address: string, options: GetOptions): Promise<unknown> {
  const fault = urlFault(address, options.allowPrivate)
  if (fault !== undefined) throw new RingfenceError('UNAVAILABLE', fault)
  const url = new URL(address)
  const signal = AbortSignal.any([
    AbortSignal.timeout(msMax),
    ...(options.signal === undefined ? [] : [options.signal]),
  ])
  try {
    const pinned = await within(signal, addressOf(url, options))
    return JSON.parse(await get(url, pinned, options, signal))
  } catch (reason) {
    const why = signal.aborted
      ? `no answer within ${msMax} ms`
      : reason instanceof Error
        ? reason.message
        : String(reason)
    throw new RingfenceError('UNAVAILABLE', `${url.origin}${url.pathname}: ${why}`, { cause: reason })
  }
}

/** All addresses of the host may be called, or none is: which one is taken is the resolver's word. */
async function addressOf(url: URL, { allowPrivate, resolve = resolveBySystem }: GetOptions): Promise<LookupAddress> {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const family = isIP(host)
  const found = family === 0 ? await resolve(host) : [{ address: host, family }]
  for (const { address } of found) {
    const fault = addressFault(address, allowPrivate)
    if (fault !== undefined) throw new Error(fault)
    if (url.protocol === 'http:' && !isLoopback(address)) throw new Error(`${address} is not loopback, and http:// is`)
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

function get(
  url: URL,
  { address, family }: LookupAddress,
  { caPem }: GetOptions,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      method: 'GET',
      headers: { accept: 'application/json', 'user-agent': 'ringfence' },
      // Neither a pool nor a proxy of the environment: this very address.
      agent: false as const,
      signal,
      lookup: (
        _host: string,
        { all }: { all?: boolean | undefined },
        done: (error: null, found: string | LookupAddress[], family?: number) => void,
      ) => (all === true ? done(null, [{ address, family }]) : done(null, address, family)),
    }
    const roots = caPem === undefined ? {} : { ca: [...rootCertificates, caPem] }
    const request = url.protocol === 'http:' ? requestPlain(url, options) : requestTls(url, { ...options, ...roots })
    const ends: Owner = { onFault: reject }
    const answered = (response: IncomingMessage): void => {
      const { statusCode = 0 } = response
      const chunks: Buffer[] = []
      let bytes = 0
      const fail = (message: string): void => {
        response.destroy()
        reject(new Error(message))
      }
      response.on('error', reject)
      if (statusCode !== 200) {
        fail(
          statusCode >= 300 && statusCode < 400
            ? `status ${statusCode}: redirects are not followed`
            : `status ${statusCode}`,
        )
        return
      }
      const take = (chunk: Buffer): void => {
        bytes += chunk.length
        if (bytes > bytesMax) fail(`the answer is longer than ${bytesMax} bytes`)
        else chunks.push(chunk)
      }
      response.on('data', contained(ends, 'an answer of an identity provider', take))
      const whole = (): void => resolve(Buffer.concat(chunks).toString('utf8'))
      response.on('end', contained(ends, 'the end of an answer of an identity provider', whole))
    }
    request.on('error', reject)
    request.on('response', contained(ends, 'an identity provider', answered))
    request.end()
  })
}
