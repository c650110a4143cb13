/**
 * Kind `RoutingPolicy`: what a gateway may do with reads beside sending each once. It grants nothing and refuses nothing; where it says nothing,
 * every request is sent once.
 */
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { matchesAnyName, matchesKeyspace } from './names.ts'

const nonEmpty = <T extends z.ZodType>(element: T) =>
  z.array(element).min(1, 'the list is empty, so the rule can never do anything')
const objectPattern = z
  .string()
  .regex(/^(\*|\w{1,222}\*?)$/, 'a name has letters, digits and "_"; "*" may stand alone or at its end')

const routingPolicy = z.strictObject({
  keyspaces: nonEmpty(objectPattern),
  tables: nonEmpty(objectPattern).optional(),
  /** A read by key that is not answered after this is asked of a second replica too; the first answer counts. */
  hedgeAfterMs: z.int().min(1, 'must be at least 1').max(10_000, 'must be at most 10000'),
})
export type RoutingSpec = z.infer<typeof routingPolicy>

/** By kind, for `parseDocuments`. */
export const routingSchemas: ReadonlyMap<string, z.ZodType<RoutingSpec>> = new Map([['RoutingPolicy', routingPolicy]])

export class RoutingRules {
  readonly #rules: readonly RoutingSpec[]

  constructor(rules: readonly RoutingSpec[]) {
    this.#rules = rules
  }

  /** Milliseconds after which a read by key of this table is sent a second time; 0: never. The shortest of several rules counts. */
  hedgeAfterMs(keyspace: string, table: string): number {
    let shortest = 0
    for (const { keyspaces, tables, hedgeAfterMs } of this.#rules) {
      if (!matchesKeyspace(keyspaces, keyspace) || !matchesAnyName(tables, table)) continue
      if (shortest === 0 || hedgeAfterMs < shortest) shortest = hedgeAfterMs
    }
    return shortest
  }
}

/**
 * The rules of a policy that a control plane has compiled: documents of other kinds are no business of a gateway's, and one that is not well
 * formed never gets here. Only what may be about routing is read, since a large policy takes long.
 */
export function loadRouting(source: string): RoutingRules {
  const rules: RoutingSpec[] = []
  for (const text of source.split(/^---/m)) {
    if (!text.includes('RoutingPolicy')) continue
    const content: unknown = parseDocument(text).toJS()
    if (typeof content !== 'object' || content === null) continue
    const { kind, spec } = content as { kind?: unknown; spec?: unknown }
    const parsed = kind === 'RoutingPolicy' ? routingPolicy.safeParse(spec) : undefined
    if (parsed?.success === true) rules.push(parsed.data)
  }
  return new RoutingRules(rules)
}
