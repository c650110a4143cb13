/** Facts by hand. */
import { plainFacts, type StatementFacts } from './facts.ts'

/** Of a statement that touches nothing, but for what is given. */
export function factsWith(given: Partial<StatementFacts>): StatementFacts {
  return {
    verb: 'SELECT',
    accesses: [],
    keyspace: undefined,
    table: undefined,
    unqualified: false,
    conditional: false,
    use: undefined,
    redacted: '',
    markers: [],
    ...plainFacts,
    children: [],
    ...given,
  }
}
