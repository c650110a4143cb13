/**
 * The policy cut down to each principal that asks, remembered. A policy may have thousands of rules for one, so they are gathered a few at a
 * time, at the pace of whoever asks.
 *
 *   rules ─ concern a party? ─▶ its slice, and whom they name ─▶ PrincipalPolicy
 */
import { type Cache, createCache } from '../base/cache.ts'
import { Members } from './cedar/entities.ts'
import { ContextUse } from './conditions.ts'
import { namesWholeMax } from './divided.ts'
import { mustWait, type Pace } from './pace.ts'
import type { CompiledPolicy, CompiledRule } from './policy.ts'
import { asEachSays, type Party, type Principal, partiesOf, principalKey } from './principal.ts'
import { claimsOf } from './providers.ts'
import { type CedarPrincipal, type PartyPolicy, PrincipalPolicy, Slice, saidOf } from './slices.ts'
import { isPair, namesParty, type Subject, subjectsOf } from './subjects.ts'

/** Names of rules and of their subjects that are looked at in one go: about half a millisecond. */
const namesAtOnce = 1_000
const slicesMax = 1_000

export class Views {
  readonly #policy: CompiledPolicy
  readonly #claims: readonly string[]
  /** Whom policies in Cedar name. */
  readonly #named: readonly Subject[]
  readonly #made: Cache<PrincipalPolicy>
  /** Those that are not whole yet. */
  readonly #making: Cache<Generator<void, PrincipalPolicy>>
  /** By the rules that they are of. */
  readonly #slices = createCache<Slice>(slicesMax)
  #nextSlice = 0

  constructor(policy: CompiledPolicy, viewsMax: number) {
    this.#policy = policy
    this.#claims = claimsOf(policy.providers)
    this.#named = policy.cedar.flatMap(({ subjects }) => subjects)
    this.#made = createCache(viewsMax)
    this.#making = createCache(viewsMax)
  }

  /** @throws `mustWait` where it has to wait; what was gathered is kept */
  of(principal: Principal, pace: Pace): PrincipalPolicy {
    const key = principalKey(principal)
    const made = this.#made.get(key)
    if (made !== undefined) return made
    const making = this.#making.get(key) ?? this.#make(key, principal)
    for (;;) {
      if (!pace.begin()) {
        this.#making.set(key, making)
        throw mustWait
      }
      try {
        const step = making.next()
        if (step.done !== true) continue
        this.#making.delete(key)
        this.#made.set(key, step.value)
        return step.value
      } finally {
        pace.end()
      }
    }
  }

  *#make(key: string, principal: Principal): Generator<void, PrincipalPolicy> {
    const contextUse = new ContextUse()
    for (const { contextUsed } of this.#policy.cedar) for (const attribute of contextUsed) contextUse.add(attribute)
    const parties = partiesOf(principal)
    const looksAtEvidence = contextUse.needs.authentication || principal.claimsOf !== undefined
    const gathered: Gathered[] = []
    for (const party of parties) gathered.push(yield* this.#gather(party, contextUse))
    const { claims } = principal
    const alone = parties.map(({ who, pair }, at) =>
      this.#cedarPrincipal(JSON.stringify([key, at]), pair === undefined ? who : { ...who, claims }, [gathered[at]!]),
    )
    const together =
      parties.length === 2 ? this.#cedarPrincipal(JSON.stringify([key, 2]), principal, gathered) : undefined
    const each = asEachSays(principal).map((said, at) =>
      this.#cedarPrincipal(JSON.stringify([key, 'each', at]), said, gathered),
    )
    const policies: PartyPolicy[] = []
    for (const [at, party] of parties.entries()) {
      const { rules, ids, subjects } = gathered[at]!
      policies.push({
        party,
        slice: yield* this.#sliceOf(ids, rules),
        entity: new Members(subjects, { claims: this.#claims }).entityOf(party),
        alone: alone[at]!,
        pair: together && {
          other: alone[1 - at]!,
          together,
          each,
          own: looksAtEvidence
            ? this.#cedarPrincipal(JSON.stringify([key, at, 'own']), party.who, [gathered[at]!], party.side)
            : alone[at]!,
        },
      })
    }
    return new PrincipalPolicy(principal, policies, contextUse)
  }

  /** The rules that speak of a party. */
  *#gather(party: Party, contextUse: ContextUse): Generator<void, Gathered> {
    const rules: CompiledRule[] = []
    const subjects = new Map<string, Subject>()
    const roles = new Set<string>()
    let ids = ''
    let names = 0
    // The rules of a RoleBinding have one list of subjects.
    let asked: readonly Subject[] | undefined
    let those = none
    for (const rule of this.#policy.rules) {
      names += 1 + (rule.subjects === asked ? 0 : rule.subjects.length)
      if (names >= namesAtOnce) {
        names = 0
        yield
      }
      if (rule.subjects !== asked) {
        asked = rule.subjects
        // What is given to a pair is met by more than what is given to one of it, so whose it is must be seen of the rule itself.
        const isMixed = party.pair !== undefined && asked.some(isPair)
        if (asked.length > namesWholeMax || isMixed) those = subjectsOf(asked, party)
        else those = namesParty(asked, party) ? asked : none
        for (const subject of those) subjects.set(JSON.stringify(subject), subject)
      }
      if (those.length === 0 || !saidOf(rule, party)) continue
      ids += those === asked ? `${rule.index},` : `${rule.index}${JSON.stringify(those)},`
      rules.push(those === asked ? rule : { ...rule, subjects: those })
      if (rule.role !== undefined) roles.add(rule.role)
      if (rule.when !== undefined) contextUse.addConditions(rule.when)
    }
    return { rules, ids, subjects: [...subjects.values()], roles }
  }

  #cedarPrincipal(
    key: string,
    who: Principal,
    gathered: readonly Gathered[],
    side: Party['side'] = undefined,
  ): CedarPrincipal {
    const roles = new Set(gathered.flatMap((of) => [...of.roles]))
    const members = new Members(this.#named, { roles, claims: this.#claims, isWhole: true })
    return { key, side, entity: members.entityOf({ who, pair: undefined }) }
  }

  *#sliceOf(ids: string, rules: readonly CompiledRule[]): Generator<void, Slice> {
    const known = this.#slices.get(ids)
    if (known !== undefined) return known
    const slice = new Slice(this.#nextSlice++)
    let names = 0
    for (const rule of rules) {
      names += namesOf(rule)
      if (names >= namesAtOnce) {
        names = 0
        yield
      }
      slice.add(rule)
    }
    // Views hold on to the slice that they were made with, so forgetting one here only means that it is made again.
    this.#slices.set(ids, slice)
    return slice
  }
}

// ---- inside ----

const none: readonly Subject[] = []

interface Gathered {
  readonly rules: readonly CompiledRule[]
  /** The indexes of the rules. */
  readonly ids: string
  readonly subjects: readonly Subject[]
  readonly roles: ReadonlySet<string>
}

function namesOf({ keyspaces, tables, columns, functions, roles }: CompiledRule): number {
  return (
    3 + 2 * keyspaces.length + 2 * (tables?.length ?? 1) + (columns?.length ?? 0) + 4 * functions.length + roles.length
  )
}
