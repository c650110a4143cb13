/**
 * The law as one principal sees it: its rules filed by keyspace, table, function and role, so that a verdict costs a few look-ups
 * whatever the number of policies. `explain.ts` has the same law written the long way.
 */
import { assert } from '../base/errors.ts'
import type { Access, Permission } from '../cql/statement/facts.ts'
import { NameIndex } from './names.ts'
import type { CompiledRule } from './policy.ts'
import { isSystemKeyspace } from './policy.ts'

/** What the rules say of one access: at most one of them, the lowest; neither means that no rule speaks. */
export interface Verdict {
  readonly deny?: CompiledRule
  /** Several when each gives some of the columns. */
  readonly allow?: readonly CompiledRule[]
}

/** Rules by permission, first come first kept: rules are filed in the order of the policy. */
type ByPermission = Map<Permission, CompiledRule>

/** What is said of one kind of thing: of the whole of it, and of single columns. */
class Leaf {
  readonly allow: ByPermission = new Map()
  readonly deny: ByPermission = new Map()
  readonly allowColumns = new Map<Permission, NameIndex<{ rule: CompiledRule | undefined }>>()
  readonly denyColumns = new Map<Permission, NameIndex<{ rule: CompiledRule | undefined }>>()
  /** Any deny of some columns, for accesses that do not say which. */
  readonly denySome: ByPermission = new Map()

  file(rule: CompiledRule): void {
    if (rule.columns === undefined) {
      fileEach(rule.effect === 'allow' ? this.allow : this.deny, rule)
      return
    }
    const byColumn = rule.effect === 'allow' ? this.allowColumns : this.denyColumns
    for (const permission of rule.permissions) {
      let index = byColumn.get(permission)
      if (index === undefined) {
        index = new NameIndex<{ rule: CompiledRule | undefined }>(() => ({ rule: undefined }))
        byColumn.set(permission, index)
      }
      for (const column of rule.columns) index.at(column).rule ??= rule
    }
    if (rule.effect === 'deny') fileEach(this.denySome, rule)
  }
}

class KeyspaceNode {
  /** Rules for every table, and so for the keyspace itself. */
  readonly whole = new Leaf()
  readonly tables = new NameIndex(() => new Leaf())
  readonly functions = new NameIndex(() => new Leaf())
  /** Any deny of any part. */
  readonly denyPart: ByPermission = new Map()
  /** The first rule that allows anything in here; it lets USE pass. */
  anyAllow: CompiledRule | undefined
}

export class PrincipalView {
  readonly #keyspaces = new NameIndex(() => new KeyspaceNode())
  readonly #roles = new NameIndex(() => new Leaf())
  readonly #cluster = new Leaf()
  /** Any deny of anything. */
  readonly #denyPart: ByPermission = new Map()

  /** `rules`: those whose subjects include the principal, in the order of the policy. */
  constructor(rules: readonly CompiledRule[]) {
    for (const rule of rules) this.#file(rule)
  }

  #file(rule: CompiledRule): void {
    for (const pattern of rule.keyspaces) {
      const node = this.#nodeOf(pattern, rule)
      if (rule.tables === undefined) node.whole.file(rule)
      else for (const table of rule.tables) node.tables.at(table).file(rule)
    }
    for (const { keyspace, name } of rule.functions) this.#nodeOf(keyspace, rule).functions.at(name).file(rule)
    for (const role of rule.roles) this.#roles.at(role).file(rule)
    if (rule.cluster) this.#cluster.file(rule)
    if (rule.effect === 'deny') fileEach(this.#denyPart, rule)
  }

  #nodeOf(pattern: string, rule: CompiledRule): KeyspaceNode {
    const node = this.#keyspaces.at(pattern)
    if (rule.effect === 'allow') node.anyAllow ??= rule
    else fileEach(node.denyPart, rule)
    return node
  }

  /** A name that is not resolved matches nothing. */
  judge({ permission, resource, columns }: Access): Verdict {
    const gathered = new Gathered(permission, columns)
    switch (resource.kind) {
      case 'table':
        this.#nodes(resource.keyspace, (node) => {
          gathered.take(node.whole)
          node.tables.match(resource.table, true, (leaf) => gathered.take(leaf))
        })
        break
      case 'keyspace':
        this.#nodes(resource.keyspace, (node) => {
          gathered.takeDeny(node.whole.deny.get(permission))
          gathered.takeAllow(node.whole.allow.get(permission))
          if (permission === 'USE') gathered.takeAllow(node.anyAllow)
          else if (deniedWithItsParts(permission)) gathered.takeDeny(node.denyPart.get(permission))
        })
        break
      case 'function':
        this.#nodes(resource.keyspace, (node) => {
          node.functions.match(resource.name, true, (leaf) => gathered.take(leaf))
        })
        break
      case 'role':
        this.#roles.match(resource.role, true, (leaf) => gathered.take(leaf))
        break
      case 'cluster':
        gathered.take(this.#cluster)
        if (deniedWithItsParts(permission)) gathered.takeDeny(this.#denyPart.get(permission))
        break
    }
    return gathered.verdict()
  }

  #nodes(keyspace: string | undefined, visit: (node: KeyspaceNode) => void): void {
    if (keyspace !== undefined) this.#keyspaces.match(keyspace, !isSystemKeyspace(keyspace), visit)
  }
}

/** Whoever is denied a part is denied the whole, or DROP KEYSPACE would reach what DROP TABLE may not. Making and entering do not touch parts. */
export function deniedWithItsParts(permission: Permission): boolean {
  return permission !== 'CREATE' && permission !== 'USE'
}

/** Collects the lowest rule of each effect while leaves are visited. */
class Gathered {
  readonly #permission: Permission
  readonly #columns: readonly string[] | '*'
  #deny: CompiledRule | undefined
  #allow: CompiledRule | undefined
  /** The lowest rule for each mentioned column, by place; made when a rule speaks of columns. */
  #byColumn: (CompiledRule | undefined)[] | undefined

  constructor(permission: Permission, columns: readonly string[] | '*') {
    this.#permission = permission
    this.#columns = columns
  }

  take(leaf: Leaf): void {
    this.takeDeny(leaf.deny.get(this.#permission))
    this.takeAllow(leaf.allow.get(this.#permission))
    const columns = this.#columns
    if (columns === '*' || columns.length === 0) {
      this.takeDeny(leaf.denySome.get(this.#permission))
      return
    }
    const denied = leaf.denyColumns.get(this.#permission)
    const allowed = leaf.allowColumns.get(this.#permission)
    for (let i = 0; i < columns.length; i++) {
      denied?.match(columns[i]!, true, (slot) => this.takeDeny(slot.rule))
      allowed?.match(columns[i]!, true, (slot) => {
        this.#byColumn ??= new Array<CompiledRule | undefined>(columns.length).fill(undefined)
        this.#byColumn[i] = lower(this.#byColumn[i], slot.rule)
      })
    }
  }

  takeDeny(rule: CompiledRule | undefined): void {
    this.#deny = lower(this.#deny, rule)
  }

  takeAllow(rule: CompiledRule | undefined): void {
    this.#allow = lower(this.#allow, rule)
  }

  verdict(): Verdict {
    if (this.#deny !== undefined) return { deny: this.#deny }
    if (this.#allow !== undefined) return { allow: [this.#allow] }
    const covering = this.#byColumn
    if (covering === undefined) return {}
    assert(covering.length === this.#columns.length, 'a rule for each mention')
    const rules = new Set<CompiledRule>()
    for (const rule of covering) {
      if (rule === undefined) return {}
      rules.add(rule)
    }
    return { allow: [...rules].sort((a, b) => a.index - b.index) }
  }
}

function lower(held: CompiledRule | undefined, other: CompiledRule | undefined): CompiledRule | undefined {
  if (held === undefined || other === undefined) return held ?? other
  return other.index < held.index ? other : held
}

function fileEach(held: ByPermission, rule: CompiledRule): void {
  for (const permission of rule.permissions) if (!held.has(permission)) held.set(permission, rule)
}
