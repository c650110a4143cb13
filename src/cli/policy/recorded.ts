/**
 * From an audited text back to facts. The record holds `?` in the place of every literal, so most statements read as if the values had been
 * bound; where CQL wants a literal (schema, roles), one is put back that makes no difference to what the statement touches.
 *
 * The rule one must not break: where the lost literal could decide, there are several readings, and a verdict counts only when all agree.
 */
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import type { StatementFacts } from '../../cql/statement/facts.ts'
import { lex } from '../../cql/statement/lexer.ts'
import { resolveKeyspace } from '../../cql/statement/resolve.ts'
import { K, T } from '../../cql/statement/tokens.ts'

/** The readings of a recorded text, or why it has none. */
export type Recorded = { readonly readings: readonly StatementFacts[] } | { readonly why: string }

/** A literal that could be anything, for two things that rules tell apart. */
interface Lost {
  readonly defaultTtl: string
  readonly className: string
}

/** A class that everyone may name, and one that only a Guardrail could allow, were it written there. */
const classNames = ['org.apache.cassandra.locator.SimpleStrategy', 'lost.with.the.literals']

/** Values of default_time_to_live that rules tell apart: none, the shortest, the longest that Cassandra takes (`cql3/Attributes.java`). */
const defaultTtls = ['0', '1', '630720000']

/** Names, statements and ids that were cut off end so (`docs/audit.md`). */
export function isCutOff(text: string): boolean {
  return text.endsWith('…')
}

/** @param keyspace the record's; undefined where it has none */
export function readRecorded(text: string, keyspace: string | undefined): Recorded {
  if (isCutOff(text)) return { why: 'the statement is cut off in the record' }
  if (keyspace !== undefined && isCutOff(keyspace)) return { why: 'a name is cut off in the record' }
  try {
    return { readings: readingsOf(text).map((facts) => resolveKeyspace(facts, keyspace)) }
  } catch (reason) {
    const { code, message } = RingfenceError.from(reason, 'INVALID')
    if (code === 'SYNTAX') return { why: 'the statement cannot be read without its literals' }
    if (message.startsWith('No keyspace')) return { why: 'the keyspace in force is not in the record' }
    return { why: 'the statement cannot be judged by itself' }
  }
}

function readingsOf(text: string): StatementFacts[] {
  try {
    return [analyse(text)]
  } catch (reason) {
    if (RingfenceError.from(reason, 'INVALID').code !== 'SYNTAX') throw reason
  }
  const texts = classNames.flatMap((className) =>
    defaultTtls.map((defaultTtl) => withLiterals(text, { defaultTtl, className })),
  )
  return [...new Set(texts)].map((one) => analyse(one))
}

/** Properties whose map may name a class. */
const classed: ReadonlySet<string> = new Set(
  ['compaction', 'compression', 'replication', 'options'].flatMap((name) => [name, `"${name}"`]),
)

/** Puts a literal of the kind that is wanted there in the place of each `?`. */
function withLiterals(text: string, { defaultTtl, className }: Lost): string {
  const { kinds, starts, ends, count } = lex(text)
  const nameAt = (at: number): string => text.slice(starts[at], ends[at]).toLowerCase()
  let out = ''
  let copied = 0
  for (let at = 0; at < count; at++) {
    if (kinds[at] !== T.QMARK) continue
    const before = at > 0 ? kinds[at - 1]! : T.EOF
    const named = before === T.EQUALS && at > 1 ? at - 2 : -1
    // Different texts, because a map must not have one key twice.
    let literal = `'literal${at}'`
    if (named >= 0) {
      const kind = kinds[named]!
      if (kind === K.SUPERUSER || kind === K.LOGIN) literal = 'false'
      else if (nameAt(named) === 'default_time_to_live') literal = defaultTtl
    } else if (before === K.TIMESTAMP) literal = '0'
    else if (before === T.COMMA && kinds[at + 1] === T.GREATER) literal = '1'
    // Whichever entry of the map it was that named a class, if any did.
    else if (before === T.BRACE_OPEN && at > 2 && classed.has(nameAt(at - 3))) literal = "'class'"
    else if (before === T.COLON && at > 4 && kinds[at - 3] === T.BRACE_OPEN && classed.has(nameAt(at - 5))) {
      literal = `'${className}'`
    } else if (before === K.USING) literal = `'${className}'`
    out += text.slice(copied, starts[at]) + literal
    copied = ends[at]!
  }
  return out + text.slice(copied)
}
