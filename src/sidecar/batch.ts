/**
 * The facts of a BATCH message: its parts' facts, and for the record a text that names them.
 */
import type { StatementFacts } from '../cql/statement/facts.ts'
import { plainFacts } from '../cql/statement/facts.ts'
import type { Judged } from './judged.ts'

const typeWords = ['BATCH', 'UNLOGGED BATCH', 'COUNTER BATCH'] as const
const redactedMax = 4096

export function batchFacts(parts: readonly Judged[], type: 0 | 1 | 2): StatementFacts {
  const [first] = parts
  const sameKeyspace = parts.every((part) => part.facts.keyspace === first?.facts.keyspace)
  const sameTable = sameKeyspace && parts.every((part) => part.facts.table === first?.facts.table)
  return {
    verb: 'BATCH',
    accesses: [],
    keyspace: sameKeyspace ? first?.facts.keyspace : undefined,
    table: sameTable ? first?.facts.table : undefined,
    unqualified: false,
    conditional: parts.some((part) => part.facts.conditional),
    use: undefined,
    redacted: redact(parts, type),
    markers: [],
    ...plainFacts,
    children: parts.map((part) => part.facts),
  }
}

/** Equal statements in a row are written once, with how often. */
function redact(parts: readonly Judged[], type: 0 | 1 | 2): string {
  let text = `BEGIN ${typeWords[type]}`
  for (let i = 0; i < parts.length; ) {
    const { redacted } = parts[i]!.facts
    let same = i + 1
    while (same < parts.length && parts[same]!.facts.redacted === redacted) same++
    text += ` ${redacted};${same - i > 1 ? ` /* ${same - i} times */` : ''}`
    if (text.length > redactedMax) return `${text.slice(0, redactedMax - 1)}…`
    i = same
  }
  return `${text} APPLY BATCH`
}
