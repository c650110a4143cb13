/**
 * From YAML to a `CompiledPolicy`: rules in YAML (`load/rules.ts`), policies in Cedar (`load/cedar.ts`) and the data rules (`data/`). A rule
 * that could never do anything is refused with its line and column, because its author believes that it does something.
 */
import type { z } from 'zod'
import type { DocumentPath, Documents, ParsedDocument, Problem } from '../base/document.ts'
import { configError, parseDocuments } from '../base/document.ts'
import { assert } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import type { ProviderSpec } from '../identity/providers/provider.ts'
import { foreignFault, parseSpiffePattern } from '../identity/spiffe.ts'
import { compileDataRules } from './data/compile.ts'
import type { DataSpec } from './data/kinds.ts'
import { dataSchemas } from './data/kinds.ts'
import { compileRateLimits } from './limits/compile.ts'
import { type RateLimitSpec, rateLimitKind, rateLimitSchemas } from './limits/kinds.ts'
import { compileCedarPolicies } from './load/cedar.ts'
import {
  compileImpersonations,
  type ImpersonationSpec,
  impersonationKind,
  impersonationSchemas,
} from './load/impersonation.ts'
import type { AccessSpec, CedarPolicySpec, RoleBindingSpec } from './load/kinds.ts'
import { accessSchemas } from './load/kinds.ts'
import { RuleCompiler } from './load/rules.ts'
import type { CompiledPolicy } from './policy.ts'
import { compileProviders, providerKind, providerSchemas, trustDomainsOf } from './providers.ts'
import { type RoutingSpec, routingSchemas } from './routing.ts'

type Spec = AccessSpec | DataSpec | ProviderSpec | ImpersonationSpec | RateLimitSpec | RoutingSpec

const schemas: ReadonlyMap<string, z.ZodType<Spec>> = new Map<string, z.ZodType<Spec>>([
  ...accessSchemas,
  ...dataSchemas,
  ...providerSchemas,
  ...impersonationSchemas,
  ...rateLimitSchemas,
  // Gateways act on it (`routing.ts`); here it is only held to its form.
  ...routingSchemas,
])

/** Kinds whose names no verdict says; each has names of its own. */
const kindsOfTheirOwn: ReadonlySet<string> = new Set(['Role', 'DataClass', 'RoutingPolicy', providerKind])

/**
 * Reads a whole policy of at most `policyBytesMax`. A blank source is refused too: a policy that denies everything is one that was never
 * installed.
 *
 * @param trustDomain of the mesh, where it is known: subjects of another are a fault
 * @throws RingfenceError CONFIG, one line `file:line:column: message` for each problem
 */
export function loadPolicy(source: string, fileName: string, trustDomain?: string): CompiledPolicy {
  const bytes = Buffer.byteLength(source)
  if (bytes > limits.policyBytesMax) {
    const problem = { line: 1, column: 1, message: `${bytes} bytes exceed policyBytesMax ${limits.policyBytesMax}` }
    throw configError(fileName, [problem])
  }
  let compiled: CompiledPolicy | undefined
  parseDocuments<Spec>(source, fileName, schemas, (found, problems) => {
    compiled = compile(found, problems, trustDomain)
  })
  assert(compiled !== undefined, 'a source without a document is refused')
  return compiled
}

/** Faults that are the echo of another document which could not be read: what is referred to may stand there, and who refers to it. */
function isEcho({ kind }: ParsedDocument, path: DocumentPath): boolean {
  const at = path.join('.')
  return (
    at === 'spec.role' ||
    at === 'spec.dataClass' ||
    (at === 'metadata.name' && (kind === 'Role' || kind === 'DataClass'))
  )
}

function compile(
  { documents, complete }: Documents<Spec>,
  problems: Problem[],
  trustDomain: string | undefined,
): CompiledPolicy {
  const tell = (document: ParsedDocument, path: DocumentPath, message: string): void => {
    problems.push({ ...document.position(path), message })
  }
  const fault = (document: ParsedDocument, path: DocumentPath, message: string): void => {
    if (complete || !isEcho(document, path)) tell(document, path, message)
  }
  const of = <Of>(kind: string) => documents.filter((one) => one.kind === kind) as unknown as ParsedDocument<Of>[]
  const roles = new Set(of<RoleBindingSpec>('RoleBinding').map(({ spec }) => spec.role))
  const providers = compileProviders(of<ProviderSpec>(providerKind), tell)
  const known = complete ? providers : undefined
  const rules = new RuleCompiler(documents, known, fault).compile()
  const cedar = compileCedarPolicies(
    of<CedarPolicySpec>('CedarPolicy'),
    rules.length,
    { roles, providers: known, trustDomain },
    fault,
  )
  const data = compileDataRules(documents, known, fault)
  const impersonations = compileImpersonations(of<ImpersonationSpec>(impersonationKind), known, fault)
  const rateLimits = compileRateLimits(of<RateLimitSpec>(rateLimitKind), known, fault)
  refuseDuplicates(documents, cedar.ids, tell)
  // An IdentityProvider that could not be read may federate with any.
  if (trustDomain !== undefined && known !== undefined) {
    const federated = trustDomainsOf(known)
    for (const document of documents) {
      for (const { path, spiffeId } of identitiesIn(document.spec, ['spec'])) {
        const foreign = foreignFault(spiffeId, trustDomain, federated)
        if (foreign !== undefined) tell(document, path, foreign)
      }
    }
  }
  return { rules, cedar: cedar.rules, data, providers, impersonations, rateLimits }
}

/** Wherever a document of any kind names one. What is none was told before. */
function* identitiesIn(value: unknown, path: DocumentPath): Generator<{ path: DocumentPath; spiffeId: string }> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, part] of Object.entries(value)) {
    const at = [...path, Array.isArray(value) ? Number(key) : key]
    if (key === 'spiffeId' && typeof part === 'string' && isSpiffePattern(part)) yield { path: at, spiffeId: part }
    else yield* identitiesIn(part, at)
  }
}

function isSpiffePattern(text: string): boolean {
  try {
    parseSpiffePattern(text)
    return true
  } catch {
    return false
  }
}

/** Documents whose names verdicts say share one set of names, and with them the `@id`s of policies in Cedar. */
function refuseDuplicates(
  documents: readonly ParsedDocument[],
  ids: readonly { readonly id: string; readonly document: ParsedDocument }[],
  fault: (document: ParsedDocument, path: DocumentPath, message: string) => void,
): void {
  const seen = new Map<string, ParsedDocument>()
  for (const document of documents) {
    const key = `${kindsOfTheirOwn.has(document.kind) ? document.kind : ''} ${document.name}`
    const first = seen.get(key)
    if (first === undefined) seen.set(key, document)
    else {
      const { line } = first.position(['metadata', 'name'])
      const message = `the name ${JSON.stringify(document.name)} is taken by the ${first.kind} at line ${line}`
      fault(document, ['metadata', 'name'], message)
    }
  }
  const taken = new Set<string>()
  for (const { id, document } of ids) {
    const holder = seen.get(` ${id}`)
    if (taken.has(id) || (holder !== undefined && holder !== document)) {
      const by =
        taken.has(id) || holder === undefined
          ? 'another @id'
          : `the ${holder.kind} at line ${holder.position(['metadata', 'name']).line}`
      fault(document, ['spec', 'cedar'], `the name ${JSON.stringify(id)} of an @id is taken by ${by}`)
    }
    taken.add(id)
  }
}
