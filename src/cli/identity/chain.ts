/**
 * From evidence to permissions, in words: what proves somebody, who that is to policy, which rules name it and what they give.
 *
 * The rule one must not break: it reads the compiled policy by the functions that decide (`concerns`), and decides nothing.
 */
import { personOf } from '../../identity/spiffe.ts'
import type { CompiledPolicy, CompiledRule } from '../../policy/policy.ts'
import { type Party, type Principal, partiesOf } from '../../policy/principal.ts'
import { concerns } from '../../policy/slices.ts'
import { namesParty, type Subject, subjectKeys } from '../../policy/subjects.ts'

export interface NamedBy {
  readonly rule: string
  /** Where it stands: `RoleBinding analysts, Role read-only, rule 2`. */
  readonly label: string
  readonly effect: 'allow' | 'deny'
  readonly mode: 'enforce' | 'observe'
  /** The subject by which it speaks of the party. */
  readonly by: string
  readonly role: string | undefined
  readonly gives: string
  /** It names the workload and the person together. */
  readonly isPair: boolean
}

export interface Link {
  readonly kind: 'workload' | 'person'
  readonly spiffeId: string
  readonly person: string | undefined
  readonly groups: readonly string[]
  readonly role: string | undefined
  /** Ways to prove it that the policy knows of. */
  readonly evidence: readonly string[]
  readonly rules: readonly NamedBy[]
  /** Policies in Cedar that name it. */
  readonly cedar: readonly string[]
}

/** A link for each party: the workload, the person behind it. */
export function chainOf(policy: CompiledPolicy, principal: Principal): readonly Link[] {
  return partiesOf(principal).map((party) => {
    const { spiffeId, person, groups = [], role } = party.who
    const isPerson = person !== undefined
    return {
      kind: isPerson ? 'person' : 'workload',
      spiffeId,
      person,
      groups,
      role,
      evidence: evidenceOf(policy, party.who),
      rules: policy.rules.filter((rule) => concerns(rule, party)).map((rule) => namedBy(rule, party)),
      cedar: policy.cedar.filter(({ subjects }) => namesParty(subjects, party)).map(({ label }) => label),
    }
  })
}

function evidenceOf({ providers }: CompiledPolicy, { spiffeId, person, role }: Principal): string[] {
  const found = [`a certificate of the mesh with the id ${spiffeId}`]
  const word = person?.slice(0, person.indexOf('/'))
  for (const { name, spec } of providers) {
    const { issuer } = spec as { readonly issuer?: unknown }
    const from = typeof issuer === 'string' ? `, issuer ${issuer}` : ''
    const ofRole = role !== undefined && /^aws/.test(spec.type)
    if (name === word || ofRole) found.push(`a token of the identity provider ${name} (${spec.type}${from})`)
  }
  const isOnlyNamed = person !== undefined && person !== personOf(spiffeId)
  return isOnlyNamed ? found.slice(1) : found
}

function namedBy(rule: CompiledRule, party: Party): NamedBy {
  const { name, label, effect, mode, role, subjects } = rule
  const alone: Party = { ...party, pair: undefined }
  const isPair = !namesParty(subjects, alone)
  const by = subjects.find((subject) => namesParty([subject], isPair ? party : alone))
  return { rule: name, label, effect, mode, by: subjectText(by ?? {}), role, gives: givesText(rule), isPair }
}

function subjectText(subject: Subject): string {
  return subjectKeys.flatMap((key) => (subject[key] === undefined ? [] : `${key} ${subject[key]}`)).join(' and ')
}

/** What a rule speaks of: `SELECT, SCAN on shop.orders, shop.stock (columns id, a) when …`. */
function givesText(rule: CompiledRule): string {
  const { permissions, keyspaces, tables, columns, functions, roles, cluster, when } = rule
  const things = [
    ...keyspaces.flatMap((keyspace) => (tables ?? ['*']).map((table) => `${keyspace}.${table}`)),
    ...functions.map(({ keyspace, name }) => `function ${keyspace}.${name}`),
    ...roles.map((name) => `role ${name}`),
    ...(cluster ? ['the cluster'] : []),
  ]
  const shown = things.length > thingsShownMax ? [...things.slice(0, thingsShownMax), '…'] : things
  const asked = Object.entries(when ?? {}).flatMap(([key, value]) => (value === undefined ? [] : key))
  return [
    `${[...permissions].join(', ')} on ${shown.join(', ')}`,
    columns === undefined ? '' : ` (columns ${columns.join(', ')})`,
    asked.length === 0 ? '' : ` when ${asked.join(' and ')} hold`,
  ].join('')
}

const thingsShownMax = 8
