/** Names from statements, as refusals show them. */
import { printable as whatIsSeen } from '../../base/printable.ts'

/** `keyspace.table`, each kept short, and what could disturb a terminal or a log as an escape. */
export function tableName(keyspace: string, table: string): string {
  return `${printable(keyspace)}.${printable(table)}`
}

/** Names come from the statement: kept short, and what is not seen for what it is stands as an escape. */
export function printable(name: string): string {
  const plain = whatIsSeen(name)
  return plain.length > 128 ? `${plain.slice(0, 127)}…` : plain
}
