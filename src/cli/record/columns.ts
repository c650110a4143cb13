/**
 * Which statements touch a column. The record has the text of each and no list of columns, so each text is read once more, as policy reads it.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Row } from '../../archive/database.ts'
import type { Access } from '../../cql/statement/facts.ts'
import { readRecorded } from '../policy/recorded.ts'

export interface Touching {
  readonly statements: readonly string[]
  /** Requests whose text is cut off, or can't be read without its literals: whether they touch it is not known. */
  readonly unknownRequests: number
}

/** Reading so many takes some tens of milliseconds; between them signals are heard. */
const statementsOfTurn = 200

/** @param rows with `statement`, `keyspace` and `requests` @param goOn throws where nobody waits any more */
export async function statementsTouching(
  column: string,
  rows: readonly Row[],
  table: string | undefined,
  goOn: () => void,
): Promise<Touching> {
  const statements: string[] = []
  let unknownRequests = 0
  for (const [i, { statement, keyspace, requests }] of rows.entries()) {
    if (i % statementsOfTurn === 0) {
      await nextTurn()
      goOn()
    }
    const read = readRecorded(String(statement), keyspace === null ? undefined : String(keyspace))
    if ('why' in read) unknownRequests += Number(requests)
    else if (
      read.readings.some(({ accesses, children }) =>
        touches(column, [accesses, ...children.map((child) => child.accesses)].flat(), table),
      )
    )
      statements.push(String(statement))
  }
  return { statements, unknownRequests }
}

/** A view has another name than the table that the question is about; then its columns count. */
function touches(column: string, accesses: readonly Access[], table: string | undefined): boolean {
  const ofTable = accesses.filter(({ resource }) => resource.kind === 'table' && resource.table === table)
  return (ofTable.length === 0 ? accesses : ofTable).some(({ columns }) => columns === '*' || columns.includes(column))
}
