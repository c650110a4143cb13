/**
 * Kind `IdentityProvider`: whose tokens prove who somebody is. It permits nothing: rules name people and groups by the provider's word. It
 * stands among the documents of the policy, so it is checked, revised and pushed with them.
 */
import { parseDocument } from 'yaml'
import type { z } from 'zod'
import type { DocumentPath, ParsedDocument } from '../base/document.ts'
import { documentApiVersion } from '../base/document.ts'
import { issuerOf } from '../identity/providers/in-force.ts'
import { providerSchema, typeOf } from '../identity/providers/index.ts'
import type { ProviderDocument, ProviderSpec } from '../identity/providers/provider.ts'

export const providerKind = 'IdentityProvider'

/** By kind, for `parseDocuments`. */
export const providerSchemas: ReadonlyMap<string, z.ZodType<ProviderSpec>> = new Map([[providerKind, providerSchema]])

/** Its word stands in ids and is matched in patterns. */
const wordPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const providersMax = 64

type Fault = (document: ParsedDocument, path: DocumentPath, message: string) => void

/** The providers of a policy, with what a schema can't see of them. */
export function compileProviders(documents: readonly ParsedDocument<ProviderSpec>[], fault: Fault): ProviderDocument[] {
  const issuers = new Map<string, ParsedDocument>()
  for (const [index, document] of documents.entries()) {
    const { name, spec } = document
    if (index === providersMax) fault(document, [], `a policy has at most ${providersMax} identity providers`)
    if (!wordPattern.test(name))
      fault(
        document,
        ['metadata', 'name'],
        'the word of an identity provider is 1 to 63 letters, digits, ".", "_" or "-"',
      )
    for (const { path, message } of typeOf(spec).faults?.(spec) ?? []) fault(document, ['spec', ...path], message)
    const issuer = issuerOf({ name, spec })
    const first = issuers.get(issuer)
    if (first === undefined) issuers.set(issuer, document)
    else {
      const { line } = first.position(['spec', 'issuer'])
      fault(document, ['spec', 'issuer'], `the issuer is that of the ${providerKind} ${first.name} at line ${line}`)
    }
  }
  return documents.map(({ name, spec }) => ({ name, spec }))
}

/** Names of the claims that providers give to policy, each once. */
export function claimsOf(providers: readonly ProviderDocument[]): readonly string[] {
  const names = providers.flatMap(({ spec }) => {
    return (spec as { readonly claims?: { readonly forPolicy?: readonly string[] } }).claims?.forPolicy ?? []
  })
  return [...new Set(names)]
}

/** Trust domains, our own perhaps among them, of which a JWT-SVID logs in. */
export function trustDomainsOf(providers: readonly ProviderDocument[]): readonly string[] {
  return providers.flatMap(({ spec }) => typeOf(spec).trustDomain?.(spec) ?? [])
}

/**
 * The providers of a policy that a control plane has compiled. Only what may be about one is read, since a large policy takes long to
 * compile, and a gateway compiles none.
 */
export function loadProviders(source: string): ProviderDocument[] {
  const found: ProviderDocument[] = []
  for (const text of source.split(/^---/m)) {
    if (!text.includes(providerKind)) continue
    const content: unknown = parseDocument(text, { stringKeys: true }).toJS()
    if (typeof content !== 'object' || content === null) continue
    const { apiVersion, kind, metadata, spec } = content as Partial<
      Record<'apiVersion' | 'kind' | 'metadata' | 'spec', unknown>
    >
    if (kind !== providerKind || apiVersion !== documentApiVersion) continue
    const { name } = (metadata ?? {}) as { name?: unknown }
    const parsed = providerSchema.safeParse(spec)
    if (typeof name === 'string' && parsed.success) found.push({ name, spec: parsed.data })
  }
  return found
}
