/**
 * Policies that people write in Cedar: parsed, validated against our schema, and searched for the attributes that they use.
 *
 * Rule: a text is measured before Cedar sees it. Its parser and evaluator recurse, and a stack that runs over is a trap of the whole
 * module (`sets.ts`).
 */
import type { DetailedError } from '@cedar-policy/cedar-wasm/nodejs'
import { foreignFault, parseSpiffeId } from '../../identity/spiffe.ts'
import type { ContextAttribute } from '../conditions.ts'
import { contextAttributes } from '../conditions.ts'
import { type Providers, subjectFault } from '../load/subjects.ts'
import { isSystemKeyspace } from '../names.ts'
import type { CedarRule } from '../policy.ts'
import { claimsOf, trustDomainsOf } from '../providers.ts'
import type { Subject, SubjectKey } from '../subjects.ts'
import { namesOfId } from './entities.ts'
import { cedarSchemaOf, clusterId } from './schema.ts'
import { onCedar } from './sets.ts'

/** A fault in the text; line and column count from 1 and are of the text. */
export interface CedarFault {
  readonly line: number
  readonly column: number
  readonly message: string
}

export type ParsedCedar = Omit<CedarRule, 'index' | 'name' | 'label' | 'mode'> & { readonly id: string | undefined }

const cedarTextCharactersMax = 65_536
/** Brackets inside one another: Cedar's stack holds about 100 (measured). */
const nestingMax = 32
/** Characters of operators in one policy: Cedar's stack holds some hundreds of operators in a chain (measured). */
const operatorsMax = 250

/** What of other documents a text may name. */
export interface Elsewhere {
  /** Names that a RoleBinding binds. */
  readonly roles: ReadonlySet<string>
  readonly providers: Providers
  /** See `loadPolicy`. */
  readonly trustDomain: string | undefined
}

/** The policies of a text, in its order; faults in what else it is. */
export function parseCedar(text: string, elsewhere: Elsewhere): { policies: ParsedCedar[]; faults: CedarFault[] } {
  const faults: CedarFault[] = []
  const tooMuch = measure(text)
  if (tooMuch !== undefined) return { policies: [], faults: [tooMuch] }
  try {
    return onCedar((cedar) => {
      const checked = cedar.checkParsePolicySet({ staticPolicies: text })
      if (checked.type === 'failure') return { policies: [], faults: faultsOf(text, checked.errors) }
      const parts = cedar.policySetTextToParts(text)
      if (parts.type === 'failure') return { policies: [], faults: faultsOf(text, parts.errors) }
      if (parts.policy_templates.length > 0)
        faults.push(at(text, 0, 'a template (?principal, ?resource) links to nothing'))
      if (parts.policies.length === 0) faults.push(at(text, 0, 'the text holds no policy'))
      const validated = cedar.validate({
        schema: cedarSchemaOf(claimsOf(elsewhere.providers ?? [])),
        policies: { staticPolicies: text },
        validationSettings: { mode: 'strict' },
      })
      if (validated.type === 'failure') return { policies: [], faults: faultsOf(text, validated.errors) }
      // Where there are errors, the warnings mostly repeat them.
      const { validationErrors, validationWarnings } = validated
      const found = validationErrors.length > 0 ? validationErrors : validationWarnings
      // Claims are in a document that has faults of its own.
      const isEcho = elsewhere.providers === undefined && /\bclaims\b/.test(text)
      if (!isEcho) faults.push(...faultsOf(text, [...found.map(({ error }) => error), ...validated.otherWarnings]))
      // Their order among themselves is that of their places in the text.
      const placed = parts.policies.map((one) => ({ one, at: text.indexOf(one) })).sort((a, b) => a.at - b.at)
      const policies: ParsedCedar[] = []
      for (const { one, at: place } of placed) {
        const json = cedar.policyToJson(one)
        if (json.type === 'failure') return { policies: [], faults: faultsOf(text, json.errors) }
        const mentions = new Mentions(elsewhere)
        mentions.read(json.json)
        for (const message of mentions.faults()) faults.push(at(text, Math.max(place, 0), message))
        policies.push({
          id: json.json.annotations?.id,
          effect: json.json.effect === 'permit' ? 'allow' : 'deny',
          text: one,
          asPermit: withPermit(one),
          contextUsed: mentions.contextUsed,
          subjects: mentions.subjects,
          speaksOfColumns: mentions.speaksOfColumns,
          keyspaces: mentions.keyspaces,
          tables: mentions.tables,
          functions: mentions.functions,
          columns: mentions.columns,
        })
      }
      return { policies, faults }
    })
  } catch {
    return { policies: [], faults: [at(text, 0, 'Cedar cannot read this text')] }
  }
}

// ---- inside ----

/** What a policy's JSON form speaks of (docs.cedarpolicy.com/policies/json-format.html). */
class Mentions {
  readonly contextUsed = new Set<ContextAttribute>()
  readonly subjects: Subject[] = []
  readonly keyspaces = new Set<string>()
  readonly tables: (readonly [string, string])[] = []
  readonly functions: (readonly [string, string])[] = []
  readonly columns: (readonly [string, string, string])[] = []
  speaksOfColumns = false
  readonly #roles = new Set<string>()
  readonly #faults: string[] = []
  readonly #elsewhere: Elsewhere

  constructor(elsewhere: Elsewhere) {
    this.#elsewhere = elsewhere
  }

  read(json: unknown): void {
    if (Array.isArray(json)) {
      for (const one of json) this.read(one)
      return
    }
    if (typeof json !== 'object' || json === null) return
    const map = new Map<string, unknown>(Object.entries(json))
    const type = map.get('type')
    const id = map.get('id')
    if (typeof type === 'string' && typeof id === 'string') {
      this.#entity(type, id)
      return
    }
    if (map.get('Var') === 'context') {
      // The context is used as a whole, so every attribute counts as used.
      for (const attribute of contextAttributes) this.contextUsed.add(attribute)
      return
    }
    if (map.get('entity_type') === 'Column') this.speaksOfColumns = true
    const access = map.get('.') ?? map.get('has')
    if (isRecord(access)) {
      const attribute = Array.isArray(access.attr) ? access.attr[0] : access.attr
      if (attribute === 'column') this.speaksOfColumns = true
      if (isRecord(access.left) && access.left.Var === 'context') {
        for (const known of contextAttributes) if (known === attribute) this.contextUsed.add(known)
        return
      }
    }
    for (const value of map.values()) this.read(value)
  }

  faults(): string[] {
    const unbound = [...this.#roles].filter((role) => !this.#elsewhere.roles.has(role))
    return [...this.#faults, ...unbound.map((role) => `no RoleBinding gives Role::${JSON.stringify(role)} to anybody`)]
  }

  #entity(type: string, id: string): void {
    const names = namesOfId(id)
    const shown = `${type}::${JSON.stringify(id)}`
    const shaped = (parts: number, shape: string): boolean => {
      if (names.length === parts && names.every((name) => name !== '')) return true
      this.#faults.push(`${shown} can never match: an id is written ${shape}`)
      return false
    }
    switch (type) {
      case 'Group':
        this.#subject('spiffeId', shown, id)
        break
      case 'Person':
        this.#subject('person', shown, id)
        break
      case 'ProviderGroup':
        this.#subject('group', shown, id)
        break
      case 'CloudRole':
        this.#subject('role', shown, id)
        break
      case 'Workload':
        this.#identity(shown, () => parseSpiffeId(id))
        break
      case 'Role':
        this.#roles.add(id)
        break
      case 'Cluster':
        if (id !== clusterId) this.#faults.push(`${shown} can never match: there is one, Cluster::"${clusterId}"`)
        break
      case 'Keyspace':
        if (shaped(1, 'keyspace')) this.keyspaces.add(names[0]!)
        break
      case 'Table':
        if (shaped(2, 'keyspace.table')) this.#named(this.tables, names)
        break
      case 'Function':
        if (shaped(2, 'keyspace.function')) this.#named(this.functions, names)
        break
      case 'Column':
        this.speaksOfColumns = true
        if (shaped(3, 'keyspace.table.column')) {
          this.columns.push([names[0]!, names[1]!, names[2]!])
          this.#named(this.tables, names)
        }
        break
    }
  }

  #named(list: (readonly [string, string])[], [keyspace, name]: readonly string[]): void {
    list.push([keyspace!, name!])
    this.keyspaces.add(keyspace!)
  }

  #subject(key: SubjectKey, shown: string, id: string): void {
    this.subjects.push({ [key]: id })
    const fault = subjectFault(key, id, this.#elsewhere.providers)
    if (fault !== undefined) this.#faults.push(`${shown} can never match: ${fault}`)
    else if (key === 'spiffeId') this.#ownTrustDomain(id)
  }

  #ownTrustDomain(id: string): void {
    const { trustDomain, providers } = this.#elsewhere
    if (trustDomain === undefined || providers === undefined) return
    const foreign = foreignFault(id, trustDomain, trustDomainsOf(providers))
    if (foreign !== undefined) this.#faults.push(foreign)
  }

  #identity(shown: string, parse: () => string): void {
    try {
      this.#ownTrustDomain(parse())
    } catch (reason) {
      this.#faults.push(`${shown} can never match: ${reason instanceof Error ? reason.message : 'not an identity'}`)
    }
  }
}

/** The effect is the first word that is no annotation's. Cedar's JSON form would round large numbers. */
function withPermit(text: string): string {
  let found = false
  return text.replace(/@\s*\w+|"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\b(?:permit|forbid)\b/gs, (token) => {
    if (found || !/^[pf]/.test(token)) return token
    found = true
    return 'permit'
  })
}

/** A permit in Cedar reaches a system keyspace only where it names it, as a wildcard does not either. */
export function mayReach(rule: CedarRule, keyspace: string): boolean {
  return !isSystemKeyspace(keyspace) || rule.keyspaces.has(keyspace)
}

const tokenPattern =
  /\/\/[^\n]*|"(?:[^"\\]|\\.)*"|&&|\|\||[([{]|[)\]}]|[.!+*<>=-]+|\b(?:if|in|has|like|is)\b|;|\bwhen\b|\bunless\b/gs

function measure(text: string): CedarFault | undefined {
  if (text.length > cedarTextCharactersMax) {
    return at(text, 0, `${text.length} characters exceed ${cedarTextCharactersMax}`)
  }
  if (!text.isWellFormed()) return at(text, 0, 'the text has half a surrogate pair')
  let depth = 0
  let operators = 0
  for (const { 0: token, index } of text.matchAll(tokenPattern)) {
    if (token.startsWith('"') || token.startsWith('//')) continue
    if (/^[([{]/.test(token)) {
      if (++depth > nestingMax) return at(text, index, `brackets are nested deeper than ${nestingMax}`)
    } else if (/^[)\]}]/.test(token)) depth--
    else if (token === ';') operators = 0
    else {
      operators += token.length
      if (operators > operatorsMax) {
        const advice = 'write [a, b].contains(x), or several policies'
        return at(text, index, `a policy has more than ${operatorsMax} characters of operators; ${advice}`)
      }
    }
  }
  return undefined
}

function faultsOf(text: string, errors: readonly DetailedError[]): CedarFault[] {
  return errors.map(({ message, help, sourceLocations, related }) => {
    const place = sourceLocations?.[0]
    const more = [help, place?.label, ...(related ?? []).map((one) => one.message)].filter(Boolean).join('; ')
    // Cedar counts bytes.
    const before = Buffer.from(text)
      .subarray(0, place?.start ?? 0)
      .toString('utf8')
    const words = message.replace(/^for policy `[^`]*`, /, '').replace(/^failed to parse policies from string: /, '')
    return at(text, before.length, (more === '' ? words : `${words}; ${more}`).replace(/\s+/g, ' ').slice(0, 500))
  })
}

function at(text: string, offset: number, message: string): CedarFault {
  const before = text.slice(0, offset)
  const line = before.split('\n').length
  return { line, column: offset - before.lastIndexOf('\n'), message }
}

function isRecord(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
