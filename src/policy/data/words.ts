/** Names from statements, as refusals show them. */

/** `keyspace.table`, each kept short, and what could disturb a terminal or a log shown as `?`. */
export function tableName(keyspace: string, table: string): string {
  return `${printable(keyspace)}.${printable(table)}`
}

export function printable(name: string): string {
  const plain = name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?')
  return plain.length > 128 ? `${plain.slice(0, 127)}…` : plain
}
