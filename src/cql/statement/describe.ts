/** DESCRIBE: `describeStatement` of `Parser.g`. Cassandra asks no permission for it; Ringfence does. */
import type { Describe } from './ast.ts'
import { type Cursor, functionName, name, qualifiedName } from './cursor.ts'
import { functionNames, names, typeNames } from './keywords.ts'
import { K } from './tokens.ts'
import { userTypeName } from './types.ts'

/** `describeStatement`, after the first word. */
export function describeStatement(cursor: Cursor): Describe {
  const described = target(cursor)
  if (!cursor.accept(K.WITH)) return described
  cursor.expect(K.INTERNALS)
  return { ...described, internals: true }
}

function target(cursor: Cursor): Describe {
  const kind = cursor.kind
  const next = cursor.peek(1)
  switch (kind) {
    case K.CLUSTER:
      return plural(cursor, 'CLUSTER')
    case K.FULL:
      cursor.advance()
      cursor.expect(K.SCHEMA)
      return found('SCHEMA')
    case K.SCHEMA:
      return plural(cursor, 'SCHEMA')
    case K.KEYSPACES:
      return plural(cursor, 'KEYSPACES')
    case K.TABLES:
      return plural(cursor, 'TABLES')
    case K.TYPES:
      return plural(cursor, 'TYPES')
    case K.FUNCTIONS:
      return plural(cursor, 'FUNCTIONS')
    case K.AGGREGATES:
      return plural(cursor, 'AGGREGATES')
    case K.ONLY:
      if (next === K.KEYSPACE) {
        cursor.advance()
        return keyspace(cursor)
      }
      break
    case K.KEYSPACE:
      return keyspace(cursor)
    case K.COLUMNFAMILY:
      cursor.advance()
      return found('TABLE', qualifiedName(cursor))
    case K.INDEX:
      cursor.advance()
      return found('INDEX', qualifiedName(cursor))
    case K.MATERIALIZED:
      cursor.advance()
      cursor.expect(K.VIEW)
      return found('MATERIALIZED VIEW', qualifiedName(cursor))
    case K.TYPE:
      if (names[next] === 1 || typeNames[next] === 1) {
        cursor.advance()
        return found('TYPE', userTypeName(cursor))
      }
      break
    case K.FUNCTION:
    case K.AGGREGATE:
      if (names[next] === 1 || functionNames[next] === 1) {
        cursor.advance()
        return found(kind === K.FUNCTION ? 'FUNCTION' : 'AGGREGATE', functionName(cursor))
      }
      break
  }
  return found('ANY', qualifiedName(cursor))
}

function keyspace(cursor: Cursor): Describe {
  cursor.advance()
  const given = names[cursor.kind] === 1 ? name(cursor) : undefined
  return { kind: 'describe', what: 'KEYSPACE', name: undefined, keyspace: given, internals: false }
}

function plural(cursor: Cursor, what: Describe['what']): Describe {
  cursor.advance()
  return found(what)
}

function found(what: Describe['what'], target?: Describe['name']): Describe {
  return { kind: 'describe', what, name: target, keyspace: undefined, internals: false }
}
