/** What supervisor and worker say to each other over Node's IPC channel, which carries plain data and bytes. */
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'

/** Keys as PEM. */
export interface WireCredentials {
  readonly certificatePem: string
  readonly keyPem: string
  readonly bundlePem: string
}

export type ToWorker =
  | { readonly kind: 'start'; readonly credentials: WireCredentials; readonly values: ReadonlyMap<string, unknown> }
  | { readonly kind: 'credentials'; readonly credentials: WireCredentials }
  | { readonly kind: 'value'; readonly name: string; readonly value: unknown }
  | { readonly kind: 'ask'; readonly number: number; readonly what: string }

export type FromWorker =
  | { readonly kind: 'connected' }
  | { readonly kind: 'report'; readonly report: ProxyReport }
  /** Undefined where nobody in the worker answers such a question. */
  | { readonly kind: 'answer'; readonly number: number; readonly answer: unknown }

export function wireCredentials({ certificatePem, keyPem, bundlePem }: Credentials): WireCredentials {
  return { certificatePem, keyPem, bundlePem }
}

export function credentialsFromWire({ certificatePem, keyPem, bundlePem }: WireCredentials): Credentials {
  return credentialsOf(certificatePem, keyPem, bundlePem)
}
