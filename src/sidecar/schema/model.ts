/**
 * The schema of the cluster as its node has it: what decisions look up now, and what routing needs (key columns with their types,
 * replication). A model never changes; a new one takes its place (`SchemaWatch`), and keeps the keyspaces that are as they were.
 */
import type { SchemaView, TableInfo } from '../../policy/request.ts'

export type ColumnKind = 'partition_key' | 'clustering' | 'static' | 'regular'

export interface ColumnModel {
  readonly name: string
  readonly kind: ColumnKind
  /** Within the partition or clustering key; −1 for others. */
  readonly position: number
  /** As CQL writes it: `frozen<map<text, int>>`. */
  readonly type: string
}

export interface TableModel extends TableInfo {
  readonly keyspace: string
  readonly name: string
  /** By name, in the order of `columns`: partition key, clustering key, static, regular; the last two by name. */
  readonly definitions: ReadonlyMap<string, ColumnModel>
  readonly isVirtual: boolean
}

export interface Replication {
  /** The class without its package: `NetworkTopologyStrategy`, `SimpleStrategy`, `LocalStrategy`, … */
  readonly strategy: string
  /** `replication_factor`, or data centers; without `class`. */
  readonly options: ReadonlyMap<string, string>
}

export interface KeyspaceModel {
  readonly name: string
  /** Undefined for virtual keyspaces. */
  readonly replication: Replication | undefined
  /** Views and virtual tables too. */
  readonly tables: ReadonlyMap<string, TableModel>
  /** Names of user functions and aggregates. */
  readonly functions: ReadonlySet<string>
  /** The table of each index. */
  readonly indexes: ReadonlyMap<string, string>
  /** Equal for equal content. */
  readonly digest: string
}

export class SchemaModel implements SchemaView {
  /** 0 for the one that knows nothing; then one more for every change of content. */
  readonly epoch: number
  readonly keyspaces: ReadonlyMap<string, KeyspaceModel>

  constructor(epoch: number, keyspaces: ReadonlyMap<string, KeyspaceModel>) {
    this.epoch = epoch
    this.keyspaces = keyspaces
  }

  keyspace(name: string): KeyspaceModel | undefined {
    return this.keyspaces.get(name)
  }

  table(keyspace: string, table: string): TableModel | undefined {
    return this.keyspaces.get(keyspace)?.tables.get(table)
  }

  hasFunction(keyspace: string, name: string): boolean {
    return this.keyspaces.get(keyspace)?.functions.has(name) === true
  }

  indexedTable(keyspace: string, index: string): string | undefined {
    return this.keyspaces.get(keyspace)?.indexes.get(index)
  }

  tablesOf(keyspace: string): Iterable<string> {
    return this.keyspaces.get(keyspace)?.tables.keys() ?? []
  }

  viewsOf(keyspace: string, table: string): readonly string[] {
    const known = this.keyspaces.get(keyspace)
    return known === undefined ? [] : (viewsIn(known).get(table) ?? [])
  }

  /** This very model where `keyspaces` says nothing new, else the next. */
  with(keyspaces: ReadonlyMap<string, KeyspaceModel>): SchemaModel {
    const next = new Map<string, KeyspaceModel>()
    let changed = keyspaces.size !== this.keyspaces.size
    for (const [name, keyspace] of keyspaces) {
      const known = this.keyspaces.get(name)
      const same = known !== undefined && known.digest === keyspace.digest
      next.set(name, same ? known : keyspace)
      changed ||= !same
    }
    return changed ? new SchemaModel(this.epoch + 1, next) : this
  }

  /** As `with`, for one keyspace; undefined where it does not exist any more. */
  withKeyspace(name: string, keyspace: KeyspaceModel | undefined): SchemaModel {
    const next = new Map(this.keyspaces)
    if (keyspace === undefined) next.delete(name)
    else next.set(name, keyspace)
    return this.with(next)
  }
}

const viewsByKeyspace = new WeakMap<KeyspaceModel, ReadonlyMap<string, string[]>>()

/** Views by their base table, found when they are first asked for. */
function viewsIn(keyspace: KeyspaceModel): ReadonlyMap<string, string[]> {
  const known = viewsByKeyspace.get(keyspace)
  if (known !== undefined) return known
  const views = new Map<string, string[]>()
  for (const { name, base } of keyspace.tables.values()) {
    if (base === undefined) continue
    const others = views.get(base)
    if (others === undefined) views.set(base, [name])
    else others.push(name)
  }
  viewsByKeyspace.set(keyspace, views)
  return views
}

export const emptySchema: SchemaModel = new SchemaModel(0, new Map())
