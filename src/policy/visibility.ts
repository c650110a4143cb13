/**
 * What a principal may see of the schema: names in `system_schema`, in DESCRIBE and in events.
 *
 * Rule: a thing is visible where the principal has any permission on it or in it that a deny of the whole thing does not take away. A deny
 * of DESCRIBE hides it. Conditions (`when:`) are taken as met by an allow and as not met by a deny. Rules in observe mode count as allows
 * only: names are no data, and drivers read them once for a whole session.
 */
import { createCache } from '../base/cache.ts'
import type { Access, Permission } from '../cql/statement/facts.ts'
import { Questions } from './asking.ts'
import type { Target } from './cedar/entities.ts'
import { isOfSession } from './conditions.ts'
import { matchesAnyName, matchesKeyspace, matchesName } from './names.ts'
import { type Pace, unpaced } from './pace.ts'
import type { CompiledRule } from './policy.ts'
import { permissions } from './policy.ts'
import type { RequestContext } from './request.ts'
import type { PartyPolicy, PrincipalPolicy } from './slices.ts'
import type { Verdicts } from './verdicts.ts'

export interface Visibility {
  /** Everything: the principal may DESCRIBE the cluster. */
  readonly all: boolean
  keyspace(name: string): boolean
  /** Tables, views and virtual tables. */
  table(keyspace: string, name: string): boolean
  /** Functions and aggregates. */
  function(keyspace: string, name: string): boolean
}

/** Keyspaces that every node has and every driver looks for. What is in them is not thereby readable. */
const visibleToAll: ReadonlySet<string> = new Set(['system', 'system_schema', 'system_virtual_schema', 'system_views'])
const rememberedMax = 10_000

/**
 * What all parties of a session may see.
 * @throws `mustWait` where it has to wait
 */
export function visibilityOf(
  view: PrincipalPolicy,
  verdicts: Verdicts,
  request: RequestContext,
  pace: Pace = unpaced,
): Visibility {
  const [first, second] = view.parties.map((party) => new PartyVisibility(party, verdicts, request, pace))
  return second === undefined ? first! : new SharedVisibility(first!, second)
}

/** What both of two may see. */
class SharedVisibility implements Visibility {
  readonly all: boolean
  readonly #first: Visibility
  readonly #second: Visibility

  constructor(first: Visibility, second: Visibility) {
    this.all = first.all && second.all
    this.#first = first
    this.#second = second
  }

  keyspace(name: string): boolean {
    return this.#first.keyspace(name) && this.#second.keyspace(name)
  }

  table(keyspace: string, name: string): boolean {
    return this.#first.table(keyspace, name) && this.#second.table(keyspace, name)
  }

  function(keyspace: string, name: string): boolean {
    return this.#first.function(keyspace, name) && this.#second.function(keyspace, name)
  }
}

class PartyVisibility implements Visibility {
  readonly all: boolean
  readonly #view: PartyPolicy
  readonly #verdicts: Verdicts
  readonly #request: RequestContext
  readonly #remembered = createCache<boolean>(rememberedMax)

  constructor(view: PartyPolicy, verdicts: Verdicts, request: RequestContext, pace: Pace) {
    this.#view = view
    this.#verdicts = verdicts
    this.#request = request
    this.all = this.#may({ permission: 'DESCRIBE', resource: { kind: 'cluster' }, columns: [] }, pace)
  }

  keyspace(name: string): boolean {
    if (this.all || visibleToAll.has(name)) return true
    return this.#remember({ kind: 'keyspace', keyspace: name }, () => {
      const whole = (rule: CompiledRule): boolean =>
        rule.tables === undefined && rule.columns === undefined && matchesKeyspace(rule.keyspaces, name)
      const part = ({ keyspaces, functions }: CompiledRule): boolean =>
        matchesKeyspace(keyspaces, name) || functions.some((one) => matchesKeyspace([one.keyspace], name))
      const { cedar } = this.#verdicts.policy
      return (
        this.#sees(part, whole, (permission) => ({
          permission,
          resource: { kind: 'keyspace', keyspace: name },
          columns: [],
        })) ||
        // A policy in Cedar may give a part of a keyspace that nothing else is said of.
        cedar.some(
          ({ effect, tables, functions }) =>
            effect === 'allow' &&
            (tables.some((one) => one[0] === name && this.table(name, one[1])) ||
              functions.some((one) => one[0] === name && this.function(name, one[1]))),
        )
      )
    })
  }

  table(keyspace: string, name: string): boolean {
    if (this.all || visibleToAll.has(keyspace)) return true
    return this.#remember({ kind: 'table', keyspace, table: name }, () => {
      const part = (rule: CompiledRule): boolean =>
        matchesKeyspace(rule.keyspaces, keyspace) && matchesAnyName(rule.tables, name)
      const whole = (rule: CompiledRule): boolean => rule.columns === undefined && part(rule)
      const resource = { kind: 'table', keyspace, table: name } as const
      if (this.#sees(part, whole, (permission) => ({ permission, resource, columns: [] }))) return true
      return this.#verdicts.policy.cedar.some(({ effect, columns }) =>
        columns.some(
          (one) =>
            effect === 'allow' &&
            one[0] === keyspace &&
            one[1] === name &&
            this.#may({ permission: 'SELECT', resource, columns: [one[2]] }),
        ),
      )
    })
  }

  function(keyspace: string, name: string): boolean {
    if (this.all || visibleToAll.has(keyspace)) return true
    return this.#remember({ kind: 'function', keyspace, name }, () => {
      const covers = ({ functions }: CompiledRule): boolean =>
        functions.some((one) => matchesKeyspace([one.keyspace], keyspace) && matchesName(one.name, name))
      return this.#sees(covers, covers, (permission) => ({
        permission,
        resource: { kind: 'function', keyspace, name },
        columns: [],
      }))
    })
  }

  /**
   * @param part whether a rule speaks of the thing or of something in it
   * @param whole whether it speaks of all of it
   */
  #sees(
    part: (rule: CompiledRule) => boolean,
    whole: (rule: CompiledRule) => boolean,
    access: (permission: Permission) => Access,
  ): boolean {
    const resource = access('DESCRIBE').resource
    const about = this.#view.slice.byName.about(resource)
    const denies = about.filter((rule) => isDeny(rule) && whole(rule))
    const denied = (permission: Permission): boolean => denies.some((rule) => rule.permissions.has(permission))
    if (denied('DESCRIBE')) return false
    if (this.#verdicts.policy.cedar.length > 0) {
      const verdict = this.#judge(access('DESCRIBE'))
      if (verdict.outcome === 'denied' && !('permissions' in verdict.rules[0]!)) return false
      if (verdict.outcome === 'allowed') return true
      if (this.#may(access('SELECT')) || this.#may(access('MODIFY')) || this.#may(access('EXECUTE'))) return true
    }
    const allows = about.filter((rule) => rule.effect === 'allow' && part(rule))
    return permissions.some((one) => !denied(one) && allows.some((rule) => rule.permissions.has(one)))
  }

  #may(access: Access, pace?: Pace): boolean {
    return this.#judge(access, pace).outcome === 'allowed'
  }

  #judge(access: Access, pace: Pace = unpaced) {
    const asking = {
      view: this.#view,
      request: this.#request,
      schema: undefined,
      conditional: false,
      questions: new Questions(1_000),
      pace,
    }
    return this.#verdicts.judgeParty(asking, access)
  }

  /** Names that no rule distinguishes share an answer. A policy in Cedar may distinguish any two names. */
  #remember(target: Target, find: () => boolean): boolean {
    const byName = this.#verdicts.policy.cedar.length > 0
    const key = JSON.stringify(byName ? Object.values(target) : this.#view.slice.classOf(target))
    let found = this.#remembered.get(key)
    if (found === undefined) {
      found = find()
      this.#remembered.set(key, found)
    }
    return found
  }
}

/** Of whatever is asked. */
function isDeny({ effect, mode, when }: CompiledRule): boolean {
  return effect === 'deny' && mode === 'enforce' && (when === undefined || isOfSession(when))
}
