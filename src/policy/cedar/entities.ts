/**
 * One access as Cedar is asked about it: principal, action, resource and context as JSON. Names are data here, never text.
 */
import type { CedarValueJson, EntityJson, EntityUidJson } from '@cedar-policy/cedar-wasm/nodejs'
import type { Permission } from '../../cql/statement/facts.ts'
import { matchesSpiffePattern, trustDomainOf } from '../../identity/spiffe.ts'
import { canonicalAddress } from '../address.ts'
import { dayOfWeek, minuteOfDay } from '../conditions.ts'
import { isSystemKeyspace } from '../names.ts'
import { operationGroups } from '../policy.ts'
import { claimTexts, type Party, type Principal, waysOf } from '../principal.ts'
import type { RequestContext } from '../request.ts'
import { matchesName, matchesRole, type Subject, type SubjectKey } from '../subjects.ts'
import { clusterId } from './schema.ts'

/** What one question is about: a resource of `facts.ts` with its keyspace resolved, or one column of a table. */
export type Target =
  | { readonly kind: 'cluster' }
  | { readonly kind: 'keyspace'; readonly keyspace: string }
  | { readonly kind: 'table'; readonly keyspace: string; readonly table: string }
  | { readonly kind: 'column'; readonly keyspace: string; readonly table: string; readonly column: string }
  | { readonly kind: 'function'; readonly keyspace: string; readonly name: string }
  | { readonly kind: 'role'; readonly role: string }

export interface CedarQuestion {
  readonly principal: EntityUidJson
  readonly action: EntityUidJson
  readonly resource: EntityUidJson
  readonly entities: EntityJson[]
}

/** Names joined by dots. Dots and percent signs inside a name are written `%2E` and `%25`, so no two objects share an id. */
export function entityId(...names: readonly string[]): string {
  return names.map((name) => name.replace(/[.%]/g, (mark) => (mark === '.' ? '%2E' : '%25'))).join('.')
}

/** The parts that `entityId` joined; a part that it would not have written is left as it stands. */
export function namesOfId(id: string): string[] {
  return id.split('.').map((part) => part.replaceAll('%2E', '.').replaceAll('%25', '%'))
}

/** What principals are said to be in: patterns that some rules name, and the Roles that RoleBindings give. */
export class Members {
  readonly #patterns: { readonly [Key in SubjectKey]: ReadonlySet<string> }
  readonly #more: More

  constructor(subjects: readonly Subject[], more: More = {}) {
    const all = (key: SubjectKey): ReadonlySet<string> => new Set(subjects.flatMap((subject) => subject[key] ?? []))
    this.#patterns = { spiffeId: all('spiffeId'), person: all('person'), group: all('group'), role: all('role') }
    this.#more = more
  }

  /** The party as the principal of a question. One of a pair is also a member of the workload, and of all that the pair is a member of. */
  entityOf({ who, pair }: Party): EntityJson {
    const { spiffeId, person, role, groups = [] } = who
    const { roles = [], claims = [], isWhole = false } = this.#more
    const parents = this.#parentsOf(who)
    if (pair !== undefined) parents.push(...this.#parentsOf(pair))
    // Nothing may be in itself.
    if (pair !== undefined && pair.spiffeId !== spiffeId) parents.push({ type: 'Workload', id: pair.spiffeId })
    for (const id of roles) parents.push({ type: 'Role', id })
    // Which of a pair's claims a rule may look at was seen before (`slices.ts`).
    const said = claims.map((name): [string, string[]] => [name, [...claimTexts((pair ?? who).claims?.[name])]])
    const attrs: Record<string, CedarValueJson> = {
      spiffeId,
      trustDomain: trustDomainOf(spiffeId),
      claims: Object.fromEntries(said),
    }
    // A person may be in hundreds.
    if (isWhole) attrs.groups = [...groups]
    if (person !== undefined) attrs.person = person
    if (role !== undefined) attrs.role = role
    return { uid: { type: 'Workload', id: spiffeId }, attrs, parents }
  }

  #parentsOf({ spiffeId, person, groups = [], role }: Principal): EntityUidJson[] {
    const { spiffeId: ids, person: persons, group, role: cloudRoles } = this.#patterns
    const parents: EntityUidJson[] = []
    const add = (type: string, patterns: Iterable<string>, isIn: (pattern: string) => boolean): void => {
      for (const id of patterns) if (isIn(id)) parents.push({ type, id })
    }
    add('Group', ids, (pattern) => matchesSpiffePattern(pattern, spiffeId))
    if (person !== undefined) add('Person', new Set([person, ...persons]), (pattern) => matchesName(pattern, person))
    add('ProviderGroup', group, (pattern) => groups.some((one) => matchesName(pattern, one)))
    if (role !== undefined) add('CloudRole', cloudRoles, (pattern) => matchesRole(pattern, role))
    return parents
  }
}

interface More {
  /** Roles that RoleBindings give the principal. */
  readonly roles?: Iterable<string>
  /** Names of claims that policy may ask for. */
  readonly claims?: readonly string[]
  /** Policies in Cedar are asked, which may look at every attribute. */
  readonly isWhole?: boolean
}

export function questionOf(principal: EntityJson, permission: Permission, target: Target): CedarQuestion {
  const resource = resourceEntity(target)
  const action = actions.get(permission) ?? actionEntity(permission)
  return {
    principal: principal.uid,
    action: action.uid,
    resource: resource.uid,
    entities: [principal, action, resource],
  }
}

/** @param side of a pair, whose own ways are `methods`; else those of the session are */
export function contextOf(
  request: RequestContext,
  conditional: boolean,
  side: Party['side'],
): Record<string, CedarValueJson> {
  const methods = waysOf(request.authentication, side)
  const context: Record<string, CedarValueJson> = {
    authentication: methods.join('+'),
    methods: [...methods],
    sessionMethods: request.authentication.split('+'),
    protocol: request.protocol,
    preparing: request.preparing,
    conditional,
    minuteOfDay: minuteOfDay(request.nowMs),
    dayOfWeek: dayOfWeek(request.nowMs),
  }
  const address = canonicalAddress(request.clientAddress)
  if (address !== undefined) context.clientAddress = { __extn: { fn: 'ip', arg: address } }
  if (request.consistency !== '') context.consistency = request.consistency
  if (request.rows !== undefined) context.rows = request.rows
  if (request.ttlSeconds !== undefined) context.ttlSeconds = request.ttlSeconds
  return context
}

function resourceEntity(target: Target): EntityJson {
  switch (target.kind) {
    case 'cluster':
      return { uid: theCluster, attrs: {}, parents: [] }
    case 'role':
      return { uid: { type: 'DbRole', id: target.role }, attrs: { role: target.role }, parents: [theCluster] }
  }
  const { keyspace } = target
  const attrs: Record<string, CedarValueJson> = { keyspace, system: isSystemKeyspace(keyspace) }
  const within = { type: 'Keyspace', id: entityId(keyspace) }
  switch (target.kind) {
    case 'keyspace':
      return { uid: within, attrs, parents: [theCluster] }
    case 'function':
      attrs.function = target.name
      return { uid: { type: 'Function', id: entityId(keyspace, target.name) }, attrs, parents: [within, theCluster] }
    case 'table':
      attrs.table = target.table
      return { uid: { type: 'Table', id: entityId(keyspace, target.table) }, attrs, parents: [within, theCluster] }
    case 'column': {
      attrs.table = target.table
      attrs.column = target.column
      const table = { type: 'Table', id: entityId(keyspace, target.table) }
      const id = entityId(keyspace, target.table, target.column)
      return { uid: { type: 'Column', id }, attrs, parents: [table, within, theCluster] }
    }
  }
}

const theCluster: EntityUidJson = { type: 'Cluster', id: clusterId }

function actionEntity(permission: string): EntityJson {
  const parents: EntityUidJson[] = []
  for (const [group, members] of operationGroups) {
    if (group !== 'ALL' && members.some((member) => member === permission)) parents.push({ type: 'Action', id: group })
  }
  return { uid: { type: 'Action', id: permission }, attrs: {}, parents }
}

const actions: ReadonlyMap<string, EntityJson> = new Map(
  (operationGroups.get('ALL') ?? []).map((permission) => [permission, actionEntity(permission)]),
)
