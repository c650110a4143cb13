/** What Cassandra answers to DESCRIBE of something that does not exist (`cql3/statements/DescribeStatement.java`). */
import type { Describe } from '../../cql/statement/ast.ts'
import { Cursor } from '../../cql/statement/cursor.ts'
import { lex } from '../../cql/statement/lexer.ts'
import { parse } from '../../cql/statement/parser.ts'

/**
 * Undefined for a form that lists what there is, which may be nothing.
 * @param text of a DESCRIBE statement
 * @param inForce the keyspace of the connection; empty for none
 */
export function missing(text: string, inForce: string): string | undefined {
  const statement = describedBy(text)
  return statement === undefined ? undefined : missingMessage(statement, inForce)
}

/** Undefined for what is no DESCRIBE. */
export function describedBy(text: string): Describe | undefined {
  const statement = parse(new Cursor(lex(text)))
  return statement.kind === 'describe' ? statement : undefined
}

export function missingMessage({ what, name, keyspace: described }: Describe, inForce: string): string | undefined {
  const keyspace = name?.keyspace ?? inForce
  switch (what) {
    case 'KEYSPACE':
      return `'${described ?? inForce}' not found in keyspaces`
    case 'TABLE':
      return `Table '${name!.name}' not found in keyspace '${keyspace}'`
    case 'MATERIALIZED VIEW':
      return `Materialized view '${name!.name}' not found in '${keyspace}'`
    case 'INDEX':
      return `Table for existing index '${name!.name}' not found in '${keyspace}'`
    case 'TYPE':
      return `User defined type '${name!.name}' not found in '${keyspace}'`
    case 'FUNCTION':
      return `User defined function '${name!.name}' not found in '${keyspace}'`
    case 'AGGREGATE':
      return `User defined aggregate '${name!.name}' not found in '${keyspace}'`
    case 'ANY':
      return keyspace === ''
        ? `'${name!.name}' not found in keyspaces`
        : `'${name!.name}' not found in keyspace '${keyspace}'`
    default:
      return undefined
  }
}
