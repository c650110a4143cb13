/** One GET of a document in JSON, of a server that the policy names. */
import { rootCertificates } from 'node:tls'
import { RingfenceError } from '../../base/errors.ts'
import { urlFault } from '../../identity/providers/common.ts'
import { callOutside, type OutsideCall, type Resolve, resolveBySystem } from '../../mesh/outside-call.ts'

const bytesMax = 512 * 1024
const msMax = 10_000

export interface GetOptions {
  /** Roots besides those of the system, PEM. */
  readonly caPem: string | undefined
  readonly allowPrivate: boolean
  readonly signal?: AbortSignal | undefined
  /** For tests: in the place of the system's resolver. */
  readonly resolve?: Resolve
  readonly onServer?: OutsideCall['onServer']
}

/** @throws RingfenceError UNAVAILABLE with the address of what was asked for and why not */
export async function getJson(address: string, options: GetOptions): Promise<unknown> {
  const { caPem, allowPrivate, signal, onServer, resolve = resolveBySystem } = options
  const fault = urlFault(address, allowPrivate)
  if (fault !== undefined) throw new RingfenceError('UNAVAILABLE', fault)
  const { protocol, hostname, port, origin, pathname, search } = new URL(address)
  const isPlain = protocol === 'http:'
  try {
    const { body } = await callOutside(
      {
        protocol: isPlain ? 'http:' : 'https:',
        method: 'GET',
        host: hostname.replace(/^\[(.*)\]$/, '$1'),
        port: Number(port === '' ? (isPlain ? 80 : 443) : port),
        path: pathname + search,
        headers: { accept: 'application/json', 'user-agent': 'ringfence' },
        ca: caPem === undefined ? undefined : [...rootCertificates, caPem],
        ...{ allowPrivate, signal, msMax, answerBytesMax: bytesMax, statusFault, onServer },
      },
      resolve,
    )
    return JSON.parse(body.toString('utf8'))
  } catch (reason) {
    const why = reason instanceof Error ? reason.message : String(reason)
    throw new RingfenceError('UNAVAILABLE', `${origin}${pathname}: ${why}`, { cause: reason })
  }
}

function statusFault(status: number): string | undefined {
  if (status === 200) return undefined
  return status >= 300 && status < 400 ? `status ${status}: redirects are not followed` : `status ${status}`
}
