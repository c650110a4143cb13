/**
 * Calls to servers outside the mesh while somebody logs in: AWS STS, and the API server of a Kubernetes cluster.
 *
 * Rule: the address that was looked at is the one that is called, no redirect is followed, and neither time nor length of an answer is the
 * server's to choose. What is sent proves somebody's identity, so that no error quotes it.
 */
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { isIP } from 'node:net'
import { z } from 'zod'
import { contained } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { StsRequest } from '../identity/aws/presigned.ts'
import type { OutsideAnswer } from '../identity/outside/answer.ts'
import type { OutsideCalls } from '../identity/outside/outside.ts'
import { LogInRefused } from '../identity/refusal.ts'
import { addressFault } from '../mesh/public-address.ts'

const { outsideTimeoutMs: msMax, outsideAnswerBytesMax: answerBytesMax } = limits

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount'
const reviewPath = '/apis/authentication.k8s.io/v1/tokenreviews'

/** The API server that is asked, and by whom: of the process's own configuration, never of the policy, which could send its token elsewhere. */
export const kubernetesAccess = z.strictObject({
  /** Where it is not given, the one that Kubernetes tells each container. */
  apiServer: z.url({ protocol: /^https$/ }).optional(),
  tokenFile: z.string().min(1).default(`${accountFolder}/token`),
  caFile: z.string().min(1).default(`${accountFolder}/ca.crt`),
})
export type KubernetesAccess = z.infer<typeof kubernetesAccess>

/** For tests: in the place of what is so outside. */
export interface OutsideWorld {
  readonly resolve: (host: string) => Promise<readonly LookupAddress[]>
  readonly stsPort: number
  readonly stsCaPem: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
}

const asItIs: OutsideWorld = {
  resolve: (host) => lookup(host, { all: true }),
  stsPort: 443,
  stsCaPem: undefined,
  environment: process.env,
}

interface Call {
  /** For people. */
  readonly whom: string
  readonly method: 'GET' | 'POST'
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** The only roots; those of the system where it is undefined. */
  readonly caPem: string | undefined
  readonly allowPrivate: boolean
}

export function callsOutside(
  access: z.input<typeof kubernetesAccess> = {},
  world: OutsideWorld = asItIs,
): OutsideCalls {
  const kubernetes = kubernetesAccess.parse(access)
  const { apiServer = apiServerOf(world.environment) } = kubernetes
  return {
    sts: ({ host, path, headers }: StsRequest, allowPrivate) =>
      call(
        {
          whom: 'AWS STS',
          method: 'GET',
          host,
          port: world.stsPort,
          path,
          headers,
          caPem: world.stsCaPem,
          allowPrivate,
        },
        world,
      ),
    tokenReview: apiServer === undefined ? undefined : (body) => review(apiServer, body, kubernetes, world),
  }
}

/** As Kubernetes tells it to the containers of a Pod. */
function apiServerOf(environment: OutsideWorld['environment']): string | undefined {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = environment
  if (host === undefined || host === '') return undefined
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`
}

async function review(
  apiServer: string,
  body: string,
  access: KubernetesAccess,
  world: OutsideWorld,
): Promise<OutsideAnswer> {
  const whom = 'the Kubernetes API server'
  const { tokenFile, caFile } = access
  const { hostname, port } = new URL(apiServer)
  // Both are renewed while we run.
  const [token, caPem] = await Promise.all([tokenFile, caFile].map((file) => textOf(file, whom)))
  const headers = {
    accept: 'application/json',
    'content-type': 'application/json',
    authorization: `Bearer ${token?.trim()}`,
    'content-length': String(Buffer.byteLength(body)),
  }
  return call(
    {
      whom,
      method: 'POST',
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(port === '' ? 443 : port),
      path: reviewPath,
      headers,
      body,
      caPem,
      allowPrivate: true,
    },
    world,
  )
}

async function textOf(file: string, whom: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (reason) {
    throw away(`${whom} can't be asked: ${reason instanceof Error ? reason.message : String(reason)}`, whom)
  }
}

async function call(one: Call, { resolve }: OutsideWorld): Promise<OutsideAnswer> {
  const signal = AbortSignal.timeout(msMax)
  try {
    return await send(one, await within(signal, addressOf(one, resolve)), signal)
  } catch (reason) {
    const why = signal.aborted
      ? `no answer within ${msMax} ms`
      : reason instanceof Error
        ? reason.message
        : String(reason)
    throw away(`${one.whom} (${one.host}) can't be asked: ${why}`, one.whom)
  }
}

function away(message: string, whom: string): LogInRefused {
  return new LogInRefused('verifier-away', message, { words: `${whom} can't be asked now; try again` })
}

/** All addresses of the host may be called, or none is: which one is taken is the resolver's word. */
async function addressOf({ host, allowPrivate }: Call, resolve: OutsideWorld['resolve']): Promise<LookupAddress> {
  const family = isIP(host)
  const found = family === 0 ? await resolve(host) : [{ address: host, family }]
  for (const { address } of found) {
    const fault = addressFault(address, allowPrivate)
    if (fault !== undefined) throw new Error(fault)
  }
  const [first] = found
  if (first === undefined) throw new Error('the name has no address')
  return first
}

function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
    work.then(resolve, reject)
  })
}

function send(one: Call, { address, family }: LookupAddress, signal: AbortSignal): Promise<OutsideAnswer> {
  const { method, host, port, path, headers, body, caPem } = one
  return new Promise((resolve, reject) => {
    const asking = request({
      ...{ method, host, port, path, headers, signal },
      // Neither a pool nor a proxy of the environment: this very address, with the certificate of that host.
      agent: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(caPem === undefined ? {} : { ca: caPem }),
      minVersion: 'TLSv1.2',
      lookup: (
        _host: string,
        { all }: { all?: boolean | undefined },
        done: (error: null, found: string | LookupAddress[], family?: number) => void,
      ) => (all === true ? done(null, [{ address, family }]) : done(null, address, family)),
    })
    const owner = { onFault: reject }
    asking.on('error', reject)
    asking.on(
      'response',
      contained(owner, 'an answer from outside', (response: IncomingMessage) => {
        const { statusCode: status = 0 } = response
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('error', reject)
        response.on(
          'data',
          contained(owner, 'an answer from outside', (chunk: Buffer) => {
            bytes += chunk.length
            chunks.push(chunk)
            if (bytes <= answerBytesMax) return
            response.destroy()
            reject(new Error(`the answer is longer than ${answerBytesMax} bytes`))
          }),
        )
        response.on(
          'end',
          contained(owner, 'an answer from outside', () => {
            resolve({ status, contentType: response.headers['content-type'] ?? '', body: Buffer.concat(chunks) })
          }),
        )
      }),
    )
    asking.end(body)
  })
}
