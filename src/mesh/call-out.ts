/**
 * Calls to servers outside the mesh while somebody logs in: AWS STS, and the API server of a Kubernetes cluster.
 *
 * Rule: what is sent proves somebody's identity, so that no error quotes it.
 */
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import type { StsRequest } from '../identity/aws/presigned.ts'
import type { OutsideAnswer } from '../identity/outside/answer.ts'
import type { OutsideCalls } from '../identity/outside/outside.ts'
import { LogInRefused } from '../identity/refusal.ts'
import { callOutside, type OutsideCall, type Resolve, resolveBySystem } from './outside-call.ts'

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
  readonly resolve: Resolve
  readonly stsPort: number
  readonly stsCaPem: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
}

const asItIs: OutsideWorld = {
  resolve: resolveBySystem,
  stsPort: 443,
  stsCaPem: undefined,
  environment: process.env,
}

interface Call extends Pick<OutsideCall, 'method' | 'host' | 'port' | 'path' | 'headers' | 'body' | 'allowPrivate'> {
  /** For people. */
  readonly whom: string
  /** The only roots; those of the system where it is undefined. */
  readonly caPem: string | undefined
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

async function call({ whom, caPem, ...one }: Call, { resolve }: OutsideWorld): Promise<OutsideAnswer> {
  const ca = caPem === undefined ? undefined : [caPem]
  try {
    return await callOutside({ ...one, protocol: 'https:', ca, msMax, answerBytesMax }, resolve)
  } catch (reason) {
    throw away(`${whom} (${one.host}) can't be asked: ${(reason as Error).message}`, whom)
  }
}

function away(message: string, whom: string): LogInRefused {
  return new LogInRefused('verifier-away', message, { words: `${whom} can't be asked now; try again` })
}
