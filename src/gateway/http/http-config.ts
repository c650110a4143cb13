/** `http` of a gateway's configuration: where NGINX asks it who a browser or an API's client is, and for which applications. */
import { z } from 'zod'
import { isReserved, parseSpiffeId, personOf } from '../../identity/spiffe.ts'
import { isLoopback } from '../../mesh/public-address.ts'

const text = z.string().min(1).max(1024)

const logIn = z.strictObject({
  /** As the policy's IdentityProvider has it. */
  issuer: z.url(),
  clientId: text,
  /** Of a confidential client; a public one has none. */
  clientSecretFile: text.optional(),
  scopes: z.array(text).min(1).max(32).optional(),
  resource: text.optional(),
  audience: text.optional(),
  /** Which of the provider's tokens the doors verify. */
  token: z.enum(['auto', 'access', 'id']).default('id'),
  /** Roots of the provider's server. */
  caFile: text.optional(),
})

const application = z
  .strictObject({
    /** What NGINX calls it. */
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and "-"'),
    /** Who may use the transaction tokens: the SPIFFE id of the application's certificate. */
    workload: z.string().refine(isWorkload, 'expected the SPIFFE id of a workload'),
    /** Where browsers find it. */
    url: z
      .url({ protocol: /^https?$/ })
      .refine(isOrigin, 'expected https:// and a host, with nothing behind it; http:// at loopback only')
      .optional(),
    logIn: logIn.optional(),
  })
  .refine(({ url, logIn: given }) => given === undefined || url !== undefined, 'a log-in comes back to "url"')

export const httpSchema = z.strictObject({
  /** Loopback: what NGINX sends here is not encrypted. */
  address: z.string().refine(isLoopbackAddress, 'expected an address of loopback, where NGINX stands'),
  port: z.int().min(0).max(65_535),
  applications: z
    .array(application)
    .min(1)
    .max(64)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'two applications have one name'),
})

export type HttpConfig = z.infer<typeof httpSchema>
export type ApplicationConfig = HttpConfig['applications'][number]
export type LogInConfig = z.infer<typeof logIn>

function isWorkload(id: string): boolean {
  try {
    const parsed = parseSpiffeId(id)
    return !isReserved(parsed) && personOf(parsed) === undefined
  } catch {
    return false
  }
}

function isOrigin(address: string): boolean {
  const url = URL.parse(address)
  if (url === null || url.origin !== address.replace(/\/$/, '') || url.username !== '') return false
  return url.protocol === 'https:' || isLoopbackAddress(url.hostname.replace(/^\[(.*)\]$/, '$1'))
}

function isLoopbackAddress(address: string): boolean {
  return /^[\d.]+$|^[\da-f:]+$/.test(address) && isLoopback(address)
}
