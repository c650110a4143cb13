/**
 * Statements that name a view whose base table is hidden from whoever asks: it is not there for them, as in all that is told about the schema.
 * So they are decided on twice.
 *
 *   decision ─ not a permitted SELECT ─▶ names a hidden view? ─▶ decision by a schema without it ─ permit ─▶ "does not exist"
 *
 * Rule: the first is not taken again while the second takes its turns.
 */
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Decision, PolicyEngine, Visibility } from '../policy/engine.ts'
import type { Pace } from '../policy/pace.ts'
import type { Principal } from '../policy/principal.ts'
import type { RequestContext, SchemaView } from '../policy/request.ts'
import { seesTable } from './catalog/visible.ts'
import { notThere, verbsOnTables } from './nothing-there.ts'
import type { Judged } from './statement.ts'

/** What is decided on. */
interface Asked {
  readonly judged: Judged
  readonly principal: Principal
  readonly request: RequestContext
  readonly epoch: number
  readonly schema: SchemaView
}

interface UnderWay {
  readonly epoch: number
  /** The hidden view, by `PolicyEngine.contextKey`. */
  readonly views: Map<string, string>
}

/** Second decisions. */
export class HiddenViews {
  readonly #engine: PolicyEngine
  /** Of those that wait for their next turn. No LRU: they go with their statement. */
  readonly #underWay = new WeakMap<Judged, UnderWay>()

  constructor(engine: PolicyEngine) {
    this.#engine = engine
  }

  /** The hidden view that the first decision came to; undefined where that has to be taken. */
  underWay({ judged, principal, request, epoch }: Asked): string | undefined {
    const known = this.#underWay.get(judged)
    return known?.epoch === epoch ? known.views.get(this.#engine.contextKey(principal, request)) : undefined
  }

  /** Undefined where it has to wait, and be asked for again. */
  decide(pace: Pace, asked: Asked, view: string, visibility: Visibility): Decision | undefined {
    const { judged, principal, request, epoch } = asked
    const schema = withoutHiddenViews(asked.schema, visibility)
    const decision = this.#engine.decideWithin(pace, principal, judged.facts, request, schema, epoch)
    if (decision === undefined) this.#wait(asked, view)
    else this.#underWay.delete(judged)
    return decision?.kind === 'permit' ? notThere(view, this.#engine.revision) : decision
  }

  #wait({ judged, principal, request, epoch }: Asked, view: string): void {
    const key = this.#engine.contextKey(principal, request)
    const known = this.#underWay.get(judged)
    if (known?.epoch === epoch) known.views.set(key, view)
    else this.#underWay.set(judged, { epoch, views: new Map([[key, view]]) })
  }
}

/** Those that name a table or view which is there: of a view the node would do or say something else than of nothing. */
const verbsOnViews: ReadonlySet<string> = new Set([
  ...verbsOnTables,
  'TRUNCATE',
  'ALTER TABLE',
  'DROP TABLE',
  'ALTER MATERIALIZED VIEW',
  'DROP MATERIALIZED VIEW',
  'CREATE INDEX',
  'CREATE TRIGGER',
  'DROP TRIGGER',
  'GRANT',
  'REVOKE',
])

/**
 * A view that a statement names, whose base table is hidden from whoever asks: it is not there for them, as in all that is told about the
 * schema. A refusal would name the base, and the node says of a write that this is a view.
 */
export function hiddenView(
  { verb, keyspace, table, children }: StatementFacts,
  schema: SchemaView,
  visibility: Visibility,
): string | undefined {
  if (verbsOnViews.has(verb) && keyspace !== undefined && table !== undefined) {
    const base = schema.table(keyspace, table)?.base
    if (base === undefined || seesTable(visibility, keyspace, table, base)) return undefined
    return table
  }
  for (const child of new Set(children)) {
    const found = hiddenView(child, schema, visibility)
    if (found !== undefined) return found
  }
  return undefined
}

interface SchemaSeen {
  readonly of: SchemaView
  readonly seen: SchemaView
}

/** A decision that takes several turns goes on by the same one. No LRU: they go with their visibility. */
const seenBy = new WeakMap<Visibility, SchemaSeen>()

/** The schema as it is for them. */
function withoutHiddenViews(schema: SchemaView, visibility: Visibility): SchemaView {
  const known = seenBy.get(visibility)
  if (known?.of === schema) return known.seen
  const seen: SchemaView = {
    table: (keyspace, name) => {
      const info = schema.table(keyspace, name)
      return info?.base === undefined || seesTable(visibility, keyspace, name, info.base) ? info : undefined
    },
    indexedTable: (keyspace, index) => schema.indexedTable(keyspace, index),
    hasFunction: (keyspace, name) => schema.hasFunction?.(keyspace, name) === true,
  }
  seenBy.set(visibility, { of: schema, seen })
  return seen
}
