/**
 * Facts made exact with what only the schema knows: the base table of a view, the table of an index, and whether a SELECT reads one
 * partition or searches all of them.
 *
 * Rule: refining asks for more, or for something nearer; it never takes away what a statement must be allowed. Done twice it changes
 * nothing more.
 */
import type { Access, Resource, StatementFacts } from '../cql/statement/facts.ts'
import { inOneGo, type Steps } from './pace.ts'
import type { SchemaView, TableInfo } from './request.ts'

/** Statements of a BATCH between two looks at the clock. */
const childrenAStep = 64
/** And relations: a millisecond where the code is new. */
const relationsAStep = 512

/**
 * @param facts with resolved keyspaces
 * @param schema undefined where none is at hand: then a SELECT scans that restricts no column by `=` or IN
 */
export function refine(facts: StatementFacts, schema: SchemaView | undefined): StatementFacts {
  return inOneGo(refineInSteps(facts, schema))
}

/** As `refine`; a BATCH may have thousands of statements. */
export function* refineInSteps(facts: StatementFacts, schema: SchemaView | undefined): Steps<StatementFacts> {
  const children = yield* refineAll(facts.children, schema)
  const given = facts.verb === 'SELECT' ? yield* givenColumns(facts) : nothingGiven
  return refineOne(facts, schema, { children, given, inBatch: false })
}

interface Refining {
  readonly children: readonly StatementFacts[]
  /** Columns that a SELECT gives by `=` or IN. */
  readonly given: ReadonlySet<string>
  /** It is a statement of a BATCH, whose conditions answer with whole primary keys. */
  readonly inBatch: boolean
}

const nothingGiven: ReadonlySet<string> = new Set()

function* givenColumns({ restrictions }: StatementFacts): Steps<ReadonlySet<string>> {
  const given = new Set<string>()
  let looked = 0
  for (const { columns, operator, token } of restrictions) {
    if (++looked % relationsAStep === 0) yield false
    if (operator !== 'other' && !token) for (const column of columns) given.add(column)
  }
  return given
}

function refineOne(
  facts: StatementFacts,
  schema: SchemaView | undefined,
  { children, given, inBatch }: Refining,
): StatementFacts {
  const accesses = new Accesses(facts.accesses)
  const { keyspace, table, verb } = facts
  if (verb === 'SELECT' && keyspace !== undefined && table !== undefined) {
    const info = schema?.table(keyspace, table)
    const read = facts.accesses.find(
      ({ permission, resource }) => permission === 'SELECT' && isTable(resource, keyspace, table),
    )
    const columns = asksAnIndex(facts) ? '*' : (read?.columns ?? [])
    if (read !== undefined) accesses.add({ ...read, columns })
    if (info?.base !== undefined && read !== undefined) {
      accesses.add({ permission: 'SELECT', resource: { kind: 'table', keyspace, table: info.base }, columns })
    }
    if (read !== undefined && scans(given, schema, info)) {
      accesses.add({ permission: 'SCAN', resource: read.resource, columns: [] })
      if (info?.base !== undefined) {
        accesses.add({ permission: 'SCAN', resource: { kind: 'table', keyspace, table: info.base }, columns: [] })
      }
    }
  }
  if (keyspace !== undefined) {
    // The node chooses between a native function and the keyspace's own by the types of the arguments (FunctionResolver).
    for (const name of facts.nativeCalls) {
      if (schema?.hasFunction?.(keyspace, name) !== true) continue
      accesses.add({ permission: 'EXECUTE', resource: { kind: 'function', keyspace, name }, columns: [] })
    }
    if (table !== undefined && schema !== undefined)
      accesses.shownByWrite(facts, schema.table(keyspace, table), inBatch)
  }
  if (verb === 'DROP INDEX' && schema !== undefined) accesses.dropIndex(facts, schema)
  const columnsUsed = usedColumns(facts, schema)
  if (children === facts.children && columnsUsed === facts.columnsUsed && !accesses.changed) return facts
  return { ...facts, accesses: accesses.list, columnsUsed, children }
}

/** Only the index knows which columns `expr(index, …)` uses, so all columns count as used (attack C1). */
function asksAnIndex({ verb, restrictions }: StatementFacts): boolean {
  return verb === 'SELECT' && restrictions.some(({ columns }) => columns.length === 0)
}

function usedColumns(facts: StatementFacts, schema: SchemaView | undefined): readonly string[] {
  const { keyspace, table, columnsUsed } = facts
  if (!asksAnIndex(facts) || keyspace === undefined || table === undefined) return columnsUsed
  const all = schema?.table(keyspace, table)?.columns ?? []
  const used = new Set(columnsUsed)
  return all.every((column) => used.has(column)) ? columnsUsed : [...new Set([...columnsUsed, ...all])]
}

class Accesses {
  list: readonly Access[]
  changed = false

  constructor(list: readonly Access[]) {
    this.list = list
  }

  add(access: Access): void {
    const held = this.list.find((one) => one.permission === access.permission && isSame(one.resource, access.resource))
    if (held === undefined) this.#replace([...this.list, access])
    else if (!includesAll(held.columns, access.columns)) {
      const columns = access.columns === '*' ? '*' : [...new Set([...held.columns, ...access.columns])]
      this.#replace(this.list.map((one) => (one === held ? { ...held, columns } : one)))
    }
  }

  /**
   * What a write shows beside the columns of its conditions (`ModificationStatement#buildCasFailureResultSet`): the primary key, where a BATCH
   * is answered; and the size of a list, by the error of an element that is not there.
   */
  shownByWrite(
    { conditional, assignments, ...facts }: StatementFacts,
    info: TableInfo | undefined,
    inBatch: boolean,
  ): void {
    const showsKeys = conditional && inBatch
    if (!showsKeys && assignments.length === 0) return
    const columns = new Set(info === undefined ? [] : listsIndexed(assignments, info))
    if (showsKeys)
      for (const column of [...(info?.partitionKey ?? []), ...(info?.clusteringKey ?? [])]) columns.add(column)
    const whole = showsKeys && info === undefined
    if (!whole && columns.size === 0) return
    const { keyspace, table = '' } = facts
    const resource = { kind: 'table', keyspace, table } as const
    this.add({ permission: 'SELECT', resource, columns: whole ? '*' : [...columns] })
  }

  /** Cassandra asks for ALTER on the table that the index belongs to, and so do we as soon as it is known. */
  dropIndex(facts: StatementFacts, schema: SchemaView): void {
    const { keyspace } = facts
    const index = droppedIndex(facts)
    if (keyspace === undefined || index === undefined) return
    const table = schema.indexedTable(keyspace, index)
    if (table === undefined) return
    const isKeyspaceWide = ({ permission, resource }: Access): boolean =>
      permission === 'ALTER' && resource.kind === 'keyspace' && resource.keyspace === keyspace
    if (!this.list.some(isKeyspaceWide)) return
    const near: Access = { permission: 'ALTER', resource: { kind: 'table', keyspace, table }, columns: [] }
    this.#replace(this.list.map((one) => (isKeyspaceWide(one) ? near : one)))
  }

  #replace(list: readonly Access[]): void {
    this.list = list
    this.changed = true
  }
}

/** Statements that share one facts object share one afterwards too. */
function* refineAll(
  children: readonly StatementFacts[],
  schema: SchemaView | undefined,
): Steps<readonly StatementFacts[]> {
  if (children.length === 0) return children
  let changed = false
  const known = new Map<StatementFacts, StatementFacts>()
  const refined: StatementFacts[] = []
  for (const child of children) {
    let one = known.get(child)
    if (one === undefined) {
      // A statement of a BATCH is a write, and has none of its own.
      one = refineOne(child, schema, { children: child.children, given: nothingGiven, inBatch: true })
      known.set(child, one)
      changed ||= one !== child
      if (known.size % childrenAStep === 0) yield false
    }
    refined.push(one)
  }
  return changed ? refined : children
}

/** A SELECT scans the whole table unless each column of the partition key is given by `=` or IN. A table that does not exist is not scanned. */
function scans(given: ReadonlySet<string>, schema: SchemaView | undefined, info: TableInfo | undefined): boolean {
  if (schema !== undefined && info === undefined) return false
  if (info === undefined) return given.size === 0
  return !info.partitionKey.every((column) => given.has(column))
}

/** Lists of which an element is set or deleted by its place: the node reads the list for it. */
export function listsIndexed(assignments: StatementFacts['assignments'], table: TableInfo): string[] {
  return assignments
    .filter(
      ({ part, column }) => part === 'element' && table.definitions?.get(column)?.type.startsWith('list<') === true,
    )
    .map(({ column }) => column)
}

const identifier = String.raw`(?:\w+|"(?:[^"]|"")+")`
const dropIndexPattern = new RegExp(
  `^DROP INDEX (?:IF EXISTS )?(?:${identifier}\\s*\\.\\s*)?(${identifier})\\s*;?$`,
  'i',
)

/** The facts have the words of the statement, each with one space between, but not the index on its own. */
function droppedIndex(facts: StatementFacts): string | undefined {
  const word = isCut(facts) ? undefined : dropIndexPattern.exec(facts.redacted)?.[1]
  return word?.startsWith('"') === true ? word.slice(1, -1).replaceAll('""', '"') : word?.toLowerCase()
}

/** `redacted` has at most 4 KiB of UTF-8; see `redact.ts`. */
function isCut({ redacted }: StatementFacts): boolean {
  return Buffer.byteLength(redacted) > 4_000
}

function isTable(resource: Resource, keyspace: string, table: string): boolean {
  return resource.kind === 'table' && resource.keyspace === keyspace && resource.table === table
}

function isSame(a: Resource, b: Resource): boolean {
  if (a === b) return true
  if (a.kind !== b.kind) return false
  return JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
}

function includesAll(held: Access['columns'], wanted: Access['columns']): boolean {
  if (held === '*' || held === wanted || wanted.length === 0) return true
  if (wanted === '*') return false
  // A statement may name tens of thousands: looking through a list for each of them would take seconds.
  const known = new Set(held)
  return wanted.every((column) => known.has(column))
}
