/**
 * Verdicts on single accesses, by Cedar, remembered.
 *
 *   access ─▶ questions (the table, or each column where a rule tells columns apart)
 *          ─▶ Cedar on the rules in YAML that could speak of it, and on the policies in Cedar ─▶ remembered answers ─▶ one verdict
 *
 * Rule: what is remembered is filed under all that its answer can depend on. Rules in YAML test names only against the names and
 * beginnings that are written in them, so names that no rule distinguishes share an answer, for all principals that the same rules concern.
 * Policies in Cedar may test anything, so their answers are filed under principal and full names.
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs'
import { type Cache, createCache } from '../base/cache.ts'
import { assert } from '../base/errors.ts'
import type { Access, Permission } from '../cql/statement/facts.ts'
import { driverKeyspaces } from './builtin.ts'
import { builtinTexts, compileRule } from './cedar/compile.ts'
import type { Target } from './cedar/entities.ts'
import { contextOf, questionOf } from './cedar/entities.ts'
import { mayReach } from './cedar/raw.ts'
import { CedarSet } from './cedar/sets.ts'
import { ContextUse } from './conditions.ts'
import { type AskedRule, divide } from './divided.ts'
import type { Pace } from './pace.ts'
import { mustWait, unpaced } from './pace.ts'
import type { CedarRule, CompiledPolicy, CompiledRule } from './policy.ts'
import { permissionsOf } from './policy.ts'
import type { Principal } from './principal.ts'
import type { RequestContext, SchemaView } from './request.ts'
import type { CedarPrincipal, PartyPolicy, PrincipalPolicy } from './slices.ts'
import { Views } from './views.ts'

export type AnyRule = CompiledRule | CedarRule

/** What the rules say of one access. */
export interface Verdict {
  /** `unknown`: a rule could not be evaluated, and so the answer is no. */
  readonly outcome: 'allowed' | 'denied' | 'unspoken' | 'unknown'
  /** Of a denial: the rule that stands first in the policy. Of an allow: every rule that gave some of the columns; empty for the built-in rule. */
  readonly rules: readonly AnyRule[]
  /** Rules in observe mode that matter: denies that would refuse, and allows without which it would be refused. */
  readonly observed: readonly AnyRule[]
  /** Of a pair: whom it refuses, where that is one of the two; or that the built-in rule allows one of them. */
  readonly refused?: Principal | undefined
  readonly builtin?: boolean
}

/** What Cedar said to one question. */
interface Answer {
  readonly failed: boolean
  readonly deny: readonly AnyRule[]
  readonly allow: readonly AnyRule[]
  readonly builtin: boolean
  readonly observedDeny: readonly AnyRule[]
  readonly observedAllow: readonly AnyRule[]
}

const silence: Answer = { failed: false, deny: [], allow: [], builtin: false, observedDeny: [], observedAllow: [] }
const broken: Answer = { ...silence, failed: true }

/** One statement's judgement: what it is judged with, and the different questions that it came to. */
export interface Asking extends Circumstances {
  readonly view: PrincipalPolicy
}

/** The same of one party. */
export interface PartyAsking extends Circumstances {
  readonly view: PartyPolicy
}

interface Circumstances {
  readonly request: RequestContext
  readonly schema: SchemaView | undefined
  /** The statement has an IF. */
  readonly conditional: boolean
  readonly questions: Questions
  readonly pace: Pace
}

/** The different questions that one statement came to; of a pair, those of each party by themselves. */
export class Questions {
  readonly #keys = new Set<string>()
  readonly #max: number
  #exceeded = false
  /** One could not be answered. */
  failed = false
  #second: Questions | undefined

  constructor(max: number) {
    this.#max = max
  }

  /** Those of a party, by its place. */
  of(party: number): Questions {
    if (party === 0) return this
    this.#second ??= new Questions(this.#max)
    return this.#second
  }

  /** More were asked than are answered, so the verdict cannot be used. */
  get exceeded(): boolean {
    return this.#exceeded || this.#second?.exceeded === true
  }

  admits(key: string): boolean {
    if (this.#keys.has(key)) return true
    if (this.#keys.size >= this.#max) this.#exceeded = true
    else this.#keys.add(key)
    return !this.#exceeded
  }

  /** So many different ones will be asked. Where that is more than may be, none is asked. */
  admitsMany(count: number): boolean {
    if (count > this.#max) this.#exceeded = true
    return !this.#exceeded
  }
}

export interface VerdictsLimits {
  readonly principalViewsMax: number
  readonly answersMax: number
}

export class Verdicts {
  readonly policy: CompiledPolicy
  readonly #views: Views
  readonly #answers: Cache<Answer>
  /** Of questions that are being asked in parts. */
  readonly #dividing = createCache<Divided>(dividedMax)
  readonly #cedar: CedarSets
  readonly #cedarContextUsed = new ContextUse()
  readonly speaksOfColumns: boolean
  /** Enforced forbids in Cedar that can tell columns apart. */
  readonly #columnForbids: readonly CedarRule[]

  constructor(policy: CompiledPolicy, limits: VerdictsLimits) {
    this.policy = policy
    this.#views = new Views(policy, limits.principalViewsMax)
    this.#answers = createCache(limits.answersMax)
    this.#cedar = new CedarSets(policy.cedar)
    for (const { contextUsed } of policy.cedar)
      for (const attribute of contextUsed) this.#cedarContextUsed.add(attribute)
    const speaking = policy.cedar.filter((rule) => rule.speaksOfColumns)
    this.speaksOfColumns = speaking.length > 0
    this.#columnForbids = speaking.filter(({ effect, mode }) => effect === 'deny' && mode === 'enforce')
  }

  /** @throws `mustWait` where it has to wait */
  viewOf(principal: Principal, pace: Pace = unpaced): PrincipalPolicy {
    return this.#views.of(principal, pace)
  }

  /** Names must be resolved; one that is not matches nothing. */
  judge(asking: Asking, access: Access): Verdict {
    const { parties } = asking.view
    const verdict = this.judgeParty(ofParty(asking, 0), access)
    if (parties.length === 1) return verdict
    return both(verdict, this.judgeParty(ofParty(asking, 1), access), parties)
  }

  judgeParty(asking: PartyAsking, access: Access): Verdict {
    const { permission, resource, columns } = access
    const target = targetOf(access)
    if (target === undefined) return { outcome: 'unspoken', rules: [], observed: [] }
    if (resource.kind !== 'table' || target.kind !== 'table') return verdictOf([this.#ask(asking, permission, target)])
    if (columns !== '*' && columns.length > 0) {
      if (!this.#tellsColumns(asking.view, permission, target.keyspace)) {
        return verdictOf([this.#ask(asking, permission, target)])
      }
      return verdictOf(this.#askColumns(asking, permission, target, columns), [], true)
    }
    const whole = this.#ask(asking, permission, target)
    if (this.#columnForbids.length === 0 || !permissionsOf.columns.has(permission)) return verdictOf([whole])
    return verdictOf([whole], this.#columnsForbidden(asking, permission, target))
  }

  /** One question for each class of columns: names that no rule distinguishes are one class, however many they are. */
  #askColumns(
    asking: PartyAsking,
    permission: Permission,
    target: Extract<Target, { kind: 'table' }>,
    columns: readonly string[],
  ): readonly Answer[] {
    const classes = new Map<string, string>()
    // Policies in Cedar may test the whole name.
    const byName = this.policy.cedar.length > 0
    let silent = false
    for (const column of columns) {
      if (!column.isWellFormed()) silent = true
      else {
        const of = byName ? column : asking.view.slice.columnClass(column)
        if (!classes.has(of)) classes.set(of, column)
      }
    }
    if (!asking.questions.admitsMany(classes.size)) return [broken]
    const answers = Array.from(classes.values(), (column) =>
      this.#ask(asking, permission, { ...target, kind: 'column', column }),
    )
    return silent ? [...answers, silence] : answers
  }

  /** The access is to every column, so a rule that forbids one column forbids it. Unknown columns might be any. */
  #columnsForbidden(
    asking: PartyAsking,
    permission: Permission,
    target: Extract<Target, { kind: 'table' }>,
  ): AnyRule[] {
    const { keyspace, table } = target
    const known = asking.schema?.table(keyspace, table)?.columns
    if (known === undefined) return [...this.#columnForbids]
    const named = this.policy.cedar.flatMap((rule) => rule.columns)
    const columns = new Set(known)
    for (const [inKeyspace, inTable, column] of named)
      if (inKeyspace === keyspace && inTable === table) columns.add(column)
    const forbidden: AnyRule[] = []
    for (const column of columns) {
      const answer = this.#ask(asking, permission, { ...target, kind: 'column', column })
      if (answer.failed) forbidden.push(...this.#columnForbids)
      forbidden.push(...answer.deny)
    }
    return forbidden
  }

  /** Whether an access to every column depends on which there are. */
  get forbidsColumns(): boolean {
    return this.#columnForbids.length > 0
  }

  #tellsColumns(view: PartyPolicy, permission: Permission, keyspace: string): boolean {
    if (this.speaksOfColumns) return true
    return view.slice.tellsColumns(permission, keyspace)
  }

  #ask(asking: PartyAsking, permission: Permission, target: Target): Answer {
    const { view, request, conditional, questions } = asking
    if (questions.exceeded) return broken
    const { slice } = view
    const classKey = JSON.stringify([
      slice.id,
      permission,
      conditional && slice.rules.length > 0,
      slice.contextUse.key(request),
      ...slice.classOf(target),
    ])
    const askYaml = (): Answer => this.#askYaml(asking, classKey, permission, target)
    if (this.policy.cedar.length === 0) return questions.admits(classKey) ? askYaml() : broken
    const circumstances = JSON.stringify([permission, conditional, this.#cedarContextUsed.key(request), target])
    if (!questions.admits(circumstances)) return broken
    const askCedar = ({ key, entity }: CedarPrincipal): Answer =>
      this.#remembered(asking, `${key} ${circumstances}`, () => this.#askCedar(asking, entity, permission, target))
    const alone = askCedar(view.alone)
    if (view.pair === undefined) return union(askYaml(), alone)
    return union(askYaml(), ofPair(alone, askCedar(view.pair.other), askCedar(view.pair.together)))
  }

  /** @throws `mustWait` where a question has to wait */
  #remembered({ pace, questions }: PartyAsking, key: string, ask: () => Answer): Answer {
    let answer = this.#answers.get(key)
    if (answer === undefined) {
      if (questions.failed) return broken
      if (!pace.begin()) throw mustWait
      answer = ask()
      pace.end()
      if (answer.failed) {
        // A failure is not remembered, so the next statement asks again. This one is refused, so nothing more is asked for it.
        questions.failed = true
        return answer
      }
      this.#answers.set(key, answer)
    }
    return answer
  }

  /** Rules that are many are asked in parts, each of which may wait and is remembered. */
  #askYaml(asking: PartyAsking, key: string, permission: Permission, target: Target): Answer {
    const whole = this.#answers.get(key)
    if (whole !== undefined) return whole
    const parts = this.#divided(asking, key, permission, target)
    const answers: Answer[] = []
    for (let at = 0; at < parts.length; at++) {
      const ask = (): Answer => this.#askPart(asking, permission, target, parts, at)
      const answer = this.#remembered(asking, parts.length === 1 ? key : `${key}/${at}`, ask)
      if (answer.failed) return answer
      answers.push(answer)
    }
    this.#dividing.delete(key)
    if (answers.length === 1) return answers[0]!
    const joined = ofParts(answers)
    this.#answers.set(key, joined)
    return joined
  }

  /** @throws `mustWait` where it has to wait */
  #divided({ view, pace }: PartyAsking, key: string, permission: Permission, target: Target): Divided {
    let parts = this.#dividing.get(key)
    if (parts === undefined) {
      if (!pace.begin()) throw mustWait
      parts = divide(view.slice.speakingOf(permission, target), target)
      pace.end()
      this.#dividing.set(key, parts)
    }
    return parts
  }

  #askPart(
    { view, request, conditional }: PartyAsking,
    permission: Permission,
    target: Target,
    parts: Divided,
    at: number,
  ): Answer {
    const { slice, entity } = view
    const speaking = parts[at]!
    const question = questionOf(entity, permission, target)
    const context = contextOf(request, conditional)
    const ask = (rules: readonly AskedRule[], word: string, asPermit: boolean, withBuiltin: boolean) => {
      if (rules.length === 0 && !withBuiltin) return undefined
      const key = `${word}${withBuiltin ? '+' : ''} ${rules.map((one) => one.key).join(',')}`
      const set = slice.set(key, () => {
        const texts = new Map<string, string>()
        for (const [part, { rule, asked }] of rules.entries())
          for (const [arm, text] of compileRule(asked, asPermit).entries())
            texts.set(`${rule.index}.${part}.${arm}`, text)
        if (withBuiltin) for (const [arm, text] of builtinTexts().entries()) texts.set(`builtin.${arm}`, text)
        return texts
      })
      return set.ask(question, context)
    }
    const named = (reasons: readonly string[]): AnyRule[] => {
      const indexes = new Set(reasons.map((reason) => Number(reason.split('.', 1)[0])))
      return [...new Set(speaking.map(({ rule }) => rule))].filter(({ index }) => indexes.has(index))
    }
    const observing = (effect: 'allow' | 'deny'): AskedRule[] =>
      speaking.filter(({ rule }) => rule.mode === 'observe' && rule.effect === effect)
    const inForce = speaking.filter(({ rule }) => rule.mode === 'enforce')
    const isDrivers = 'keyspace' in target && (target.keyspace === 'system' || driverKeyspaces.has(target.keyspace))
    const enforced = ask(inForce, 'enforced', false, isDrivers && at === 0)
    if (enforced?.failed === true) return broken
    const observedAllow = ask(observing('allow'), 'allow', false, false)
    const observedDeny = ask(observing('deny'), 'deny', true, false)
    const rules = named(enforced?.reasons ?? [])
    return {
      failed: false,
      deny: enforced?.allowed === true ? [] : rules,
      allow: enforced?.allowed === true ? rules : [],
      builtin: enforced?.allowed === true && enforced.reasons.some((reason) => reason.startsWith('builtin.')),
      observedAllow: named(observedAllow?.reasons ?? []),
      observedDeny: named(observedDeny?.reasons ?? []),
    }
  }

  #askCedar({ request, conditional }: PartyAsking, entity: EntityJson, permission: Permission, target: Target): Answer {
    const question = questionOf(entity, permission, target)
    const context = contextOf(request, conditional)
    const reach = (rules: readonly CedarRule[]): CedarRule[] => {
      return 'keyspace' in target ? rules.filter((rule) => mayReach(rule, target.keyspace)) : [...rules]
    }
    const enforced = this.#cedar.enforced.ask(question, context)
    const observedAllow = this.#cedar.observedAllow.ask(question, context)
    const observedDeny = this.#cedar.observedDeny.ask(question, context)
    if (enforced.failed) return broken
    const rules = this.#cedar.named(enforced.reasons)
    return {
      failed: false,
      deny: enforced.allowed ? [] : rules,
      allow: enforced.allowed ? reach(rules) : [],
      builtin: false,
      observedAllow: reach(this.#cedar.named(observedAllow.reasons)),
      observedDeny: this.#cedar.named(observedDeny.reasons),
    }
  }
}

// ---- inside ----

type Divided = readonly (readonly AskedRule[])[]
const dividedMax = 1_000

/** All policies in Cedar, by what is done with their answers. */
class CedarSets {
  readonly enforced: CedarSet
  readonly observedAllow: CedarSet
  readonly observedDeny: CedarSet
  readonly #rules: ReadonlyMap<string, CedarRule>

  constructor(rules: readonly CedarRule[]) {
    const set = (chosen: readonly CedarRule[], text: 'text' | 'asPermit'): CedarSet =>
      new CedarSet(new Map(chosen.map((rule) => [`cedar.${rule.index}`, rule[text]])))
    this.#rules = new Map(rules.map((rule) => [`cedar.${rule.index}`, rule]))
    this.enforced = set(
      rules.filter(({ mode }) => mode === 'enforce'),
      'text',
    )
    this.observedAllow = set(modeAndEffect(rules, 'allow'), 'text')
    this.observedDeny = set(modeAndEffect(rules, 'deny'), 'asPermit')
  }

  named(reasons: readonly string[]): CedarRule[] {
    return reasons.flatMap((reason) => this.#rules.get(reason) ?? []).sort(byIndex)
  }
}

function modeAndEffect<T extends AnyRule>(rules: readonly T[], effect: 'allow' | 'deny'): T[] {
  return rules.filter((rule) => rule.mode === 'observe' && rule.effect === effect)
}

/** Of one party, by its place. */
export function ofParty({ view, questions, ...circumstances }: Asking, at: number): PartyAsking {
  return { ...circumstances, view: view.parties[at]!, questions: questions.of(at) }
}

/** What two parties may, each of whom must be allowed. What could not be evaluated comes first, for it says nothing of denies. */
function both(a: Verdict, b: Verdict, [first, second]: readonly PartyPolicy[]): Verdict {
  const all = (of: 'rules' | 'observed'): AnyRule[] => [...new Set([...a[of], ...b[of]])].sort(byIndex)
  if (a.outcome === 'allowed' && b.outcome === 'allowed') {
    const builtin = a.rules.length === 0 || b.rules.length === 0
    return { outcome: 'allowed', rules: all('rules'), observed: all('observed'), builtin }
  }
  const outcome = refusing.find((one) => a.outcome === one || b.outcome === one) ?? 'unknown'
  const [isFirst, isSecond] = [a.outcome === outcome, b.outcome === outcome]
  const isOfSecond = !isFirst || (isSecond && (b.rules[0]?.index ?? Infinity) < (a.rules[0]?.index ?? Infinity))
  const rules = isFirst && isSecond ? all('rules') : (isFirst ? a : b).rules
  return { outcome, rules, observed: [], refused: (isOfSecond ? second : first)?.party.who }
}

const refusing = ['unknown', 'denied', 'unspoken'] as const

/** What policies in Cedar say of one of a pair: what they say of it alone, and what they say of the pair and of neither alone. */
function ofPair(alone: Answer, other: Answer, together: Answer): Answer {
  const pairs = (of: 'allow' | 'observedAllow'): AnyRule[] =>
    together[of].filter((rule) => !alone[of].includes(rule) && !other[of].includes(rule))
  return {
    failed: alone.failed || together.failed,
    deny: [...alone.deny, ...together.deny],
    allow: [...alone.allow, ...pairs('allow')],
    builtin: false,
    observedDeny: [...alone.observedDeny, ...together.observedDeny],
    observedAllow: [...alone.observedAllow, ...pairs('observedAllow')],
  }
}

/** Undefined for a name without keyspace, or with characters that are no valid UTF-8. */
function targetOf({ resource }: Access): Target | undefined {
  const names = Object.values(resource) as readonly (string | undefined)[]
  if (names.some((name) => name === undefined || !name.isWellFormed())) return undefined
  return resource as Target
}

/** What several parts of the rules say. A deny of one counts before the allows of all. */
function ofParts(answers: readonly Answer[]): Answer {
  const all = (of: Exclude<keyof Answer, 'failed' | 'builtin'>): AnyRule[] => {
    // One rule may be in two parts.
    return [...new Set(answers.flatMap((answer) => answer[of]))]
  }
  const deny = all('deny')
  const denied = deny.length > 0
  return {
    failed: false,
    deny,
    allow: denied ? [] : all('allow'),
    builtin: !denied && answers.some(({ builtin }) => builtin),
    observedDeny: all('observedDeny'),
    observedAllow: all('observedAllow'),
  }
}

function union(a: Answer, b: Answer): Answer {
  if (a === silence) return b
  return {
    failed: a.failed || b.failed,
    deny: [...a.deny, ...b.deny],
    allow: [...a.allow, ...b.allow],
    builtin: a.builtin || b.builtin,
    observedDeny: [...a.observedDeny, ...b.observedDeny],
    observedAllow: [...a.observedAllow, ...b.observedAllow],
  }
}

/**
 * One access out of the answers to its questions, each of which must be allowed.
 * @param alsoDenied denies of parts, beside the answers
 * @param byColumn each question is about a column
 */
function verdictOf(answers: readonly Answer[], alsoDenied: readonly AnyRule[] = [], byColumn = false): Verdict {
  const denies = [...answers.flatMap(({ deny }) => deny), ...alsoDenied].sort(byIndex)
  if (denies.length > 0) return { outcome: 'denied', rules: denies.slice(0, 1), observed: [] }
  if (answers.some(({ failed }) => failed)) return { outcome: 'unknown', rules: [], observed: [] }
  const observed = new Set(answers.flatMap(({ observedDeny }) => observedDeny))
  const first = answers[0]
  assert(first !== undefined, 'an access comes to one question at least')
  // A rule that allows the whole access is named alone. Otherwise the rules that allow parts are named.
  const wholly = allowedByAll(first, answers, byColumn)
  const chosen = new Set<AnyRule>()
  let given = true
  let givenInTrial = true
  if (wholly !== undefined) chosen.add(wholly)
  else {
    for (const { allow, observedAllow } of answers) {
      const allowing = lowest(allow)
      const trial = lowest(observedAllow)
      if (allowing !== undefined) chosen.add(allowing)
      else {
        given = false
        if (trial === undefined) givenInTrial = false
      }
    }
  }
  if (given) return { outcome: 'allowed', rules: [...chosen].sort(byIndex), observed: [...observed].sort(byIndex) }
  if (answers.every(({ builtin }) => builtin))
    return { outcome: 'allowed', rules: [], observed: [...observed].sort(byIndex) }
  if (!givenInTrial) return { outcome: 'unspoken', rules: [], observed: [] }
  for (const { allow, observedAllow } of answers) {
    const trial = lowest(observedAllow)
    if (allow.length === 0 && trial !== undefined) {
      observed.add(trial)
      chosen.add(trial)
    }
  }
  return { outcome: 'allowed', rules: [...chosen].sort(byIndex), observed: [...observed].sort(byIndex) }
}

/** The first in the policy that allows what each answer is about. */
function allowedByAll(first: Answer, answers: readonly Answer[], byColumn: boolean): AnyRule | undefined {
  let found: AnyRule | undefined
  for (const rule of first.allow) {
    if ((found !== undefined && rule.index >= found.index) || (byColumn && isOfColumns(rule))) continue
    if (answers.every((answer) => answer === first || allows(answer, rule))) found = rule
  }
  return found
}

/** Of an answer that many rules allow. */
const allowSets = new WeakMap<Answer, ReadonlySet<AnyRule>>()
const listMax = 16

function allows(answer: Answer, rule: AnyRule): boolean {
  if (answer.allow.length <= listMax) return answer.allow.includes(rule)
  let set = allowSets.get(answer)
  if (set === undefined) {
    set = new Set(answer.allow)
    allowSets.set(answer, set)
  }
  return set.has(rule)
}

function lowest(rules: readonly AnyRule[]): AnyRule | undefined {
  let found: AnyRule | undefined
  for (const rule of rules) if (found === undefined || rule.index < found.index) found = rule
  return found
}

function isOfColumns(rule: AnyRule): boolean {
  return 'permissions' in rule && rule.columns !== undefined
}

function byIndex(a: AnyRule, b: AnyRule): number {
  return a.index - b.index
}
