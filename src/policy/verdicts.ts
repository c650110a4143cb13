/**
 * Verdicts on single accesses.
 *
 *   access ─▶ questions (the table, or each column where a rule tells columns apart) ─▶ answers (`answers.ts`) ─▶ one verdict
 *
 * Rule: no part of an access is left unasked. Where a rule could tell columns apart, each class of columns is a question of its own.
 */
import type { Access, Permission } from '../cql/statement/facts.ts'
import { type Answer, type AnyRule, broken, silence } from './answer.ts'
import { Answers } from './answers.ts'
import { type Asking, ofParty, type PartyAsking } from './asking.ts'
import type { Target } from './cedar/entities.ts'
import type { Pace } from './pace.ts'
import { unpaced } from './pace.ts'
import type { CedarRule, CompiledPolicy } from './policy.ts'
import { permissionsOf } from './policy.ts'
import type { Principal } from './principal.ts'
import type { PartyPolicy, PrincipalPolicy } from './slices.ts'
import { both, type Verdict, verdictOf } from './verdict.ts'
import { Views } from './views.ts'

export interface VerdictsLimits {
  /** Principals whose view of the policy is kept; the least recently used go first. */
  readonly principalViewsMax: number
  /** Answers to single questions that are remembered; the least recently used go first. */
  readonly answersMax: number
}

export class Verdicts {
  readonly policy: CompiledPolicy
  readonly #views: Views
  readonly #answers: Answers
  readonly speaksOfColumns: boolean
  /** Enforced forbids in Cedar that can tell columns apart. */
  readonly #columnForbids: readonly CedarRule[]

  constructor(policy: CompiledPolicy, limits: VerdictsLimits) {
    this.policy = policy
    this.#views = new Views(policy, limits.principalViewsMax)
    this.#answers = new Answers(policy, limits.answersMax)
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
    if (resource.kind !== 'table' || target.kind !== 'table')
      return verdictOf([this.#answers.ask(asking, permission, target)])
    if (columns !== '*' && columns.length > 0) {
      if (!this.#tellsColumns(asking.view, permission, target.keyspace)) {
        return verdictOf([this.#answers.ask(asking, permission, target)])
      }
      return verdictOf(this.#askColumns(asking, permission, target, columns), [], true)
    }
    const whole = this.#answers.ask(asking, permission, target)
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
      this.#answers.ask(asking, permission, { ...target, kind: 'column', column }),
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
      const answer = this.#answers.ask(asking, permission, { ...target, kind: 'column', column })
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
}

/** Undefined for a name without keyspace, or with characters that are no valid UTF-8. */
function targetOf({ resource }: Access): Target | undefined {
  const names = Object.values(resource) as readonly (string | undefined)[]
  if (names.some((name) => name === undefined || !name.isWellFormed())) return undefined
  return resource as Target
}
