/**
 * What a verified token of a Kubernetes service account says: `sub` is `system:serviceaccount:<namespace>:<name>`, and the claim
 * `kubernetes.io`, which every token of the TokenRequest API has, says the same.
 */
import { z } from 'zod'
import { LogInRefused } from '../refusal.ts'
import { parseSpiffeId, type SpiffeId } from '../spiffe.ts'

const kubernetesClaimsName = 'kubernetes.io'

export interface ServiceAccount {
  readonly namespace: string
  readonly name: string
  /** The claim `kubernetes.io`, of which policy may ask for some. */
  readonly claims: Readonly<Record<string, unknown>>
}

const payloadSchema = z.looseObject({
  sub: z.string().max(512),
  [kubernetesClaimsName]: z.looseObject({
    namespace: z.string(),
    serviceaccount: z.looseObject({ name: z.string() }),
  }),
})

/** A DNS label, and a DNS subdomain: what Kubernetes lets these names be. */
const namespacePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const namePattern = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/

/** @throws LogInRefused */
export function serviceAccountOf(payload: unknown): ServiceAccount {
  const read = payloadSchema.safeParse(payload)
  if (!read.success)
    throw new LogInRefused('malformed', 'the token is none of a Kubernetes service account with an audience')
  const claims = read.data[kubernetesClaimsName]
  const [system, kind, namespace = '', name = '', ...more] = read.data.sub.split(':')
  const isOne = system === 'system' && kind === 'serviceaccount' && more.length === 0
  if (!isOne || !namespacePattern.test(namespace) || !namePattern.test(name)) {
    throw new LogInRefused('claims', 'the token is of no Kubernetes service account')
  }
  if (claims.namespace !== namespace || claims.serviceaccount.name !== name) {
    throw new LogInRefused('malformed', 'the token names two Kubernetes service accounts')
  }
  return { namespace, name, claims }
}

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` */
export function serviceAccountSubject({ namespace, name }: ServiceAccount, trustDomain: string): SpiffeId {
  return parseSpiffeId(`spiffe://${trustDomain}/ns/${namespace}/sa/${name}`)
}
