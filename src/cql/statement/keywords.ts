/**
 * Which keywords may be used as names, and where: the rules `unreserved_keyword`, `unreserved_function_keyword`,
 * `basic_unreserved_keyword` and `native_type` of Cassandra 5.0's `Parser.g`. Each is a table over token kinds.
 */
import { firstKeyword, K, T } from './tokens.ts'

const kindsCount = 256
type Word = keyof typeof K

function kinds(words: string, ...more: Uint8Array[]): Uint8Array {
  const table = new Uint8Array(kindsCount)
  for (const word of words.split(/\s+/)) if (word !== '') table[K[word as Word]] = 1
  for (const other of more) for (let kind = firstKeyword; kind < kindsCount; kind += 1) table[kind]! |= other[kind]!
  return table
}

/** `native_type` */
export const nativeTypes = kinds(`ASCII BIGINT BLOB BOOLEAN COUNTER DECIMAL DOUBLE DURATION FLOAT INET INT SMALLINT TEXT
  TIMESTAMP TINYINT UUID VARCHAR VARINT TIMEUUID DATE TIME`)

/** `basic_unreserved_keyword` */
export const basicUnreserved =
  kinds(`KEYS AS CLUSTER CLUSTERING COMPACT STORAGE TABLES TYPE TYPES VALUES MAP LIST FILTERING
  PERMISSION PERMISSIONS KEYSPACES ALL USER USERS ROLE ROLES IDENTITY SUPERUSER NOSUPERUSER LOGIN NOLOGIN OPTIONS PASSWORD
  HASHED EXISTS CUSTOM TRIGGER CONTAINS INTERNALS ONLY STATIC FROZEN TUPLE FUNCTION FUNCTIONS AGGREGATE AGGREGATES SFUNC STYPE
  FINALFUNC INITCOND RETURNS LANGUAGE CALLED INPUT LIKE PER PARTITION GROUP DATACENTERS CIDRS ACCESS DEFAULT MBEAN MBEANS
  REPLACE UNSET MASKED UNMASK SELECT_MASKED VECTOR ANN`)

/** `unreserved_function_keyword` */
const functionUnreserved = kinds('', basicUnreserved, nativeTypes)

/** `unreserved_keyword` */
export const unreserved = kinds('TTL COUNT WRITETIME MAXWRITETIME KEY CAST JSON DISTINCT', functionUnreserved)

/** `ident`, `noncol_ident`, `sident`, `fident`: what names a column, field, keyspace or table. */
export const names = withNames(unreserved)

/** `cident`: as `names`, and the empty quoted name of old super columns. */
export const columnNames = withNames(unreserved)
columnNames[T.EMPTY_QUOTED_NAME] = 1

/** `allowedFunctionName` */
export const functionNames = withNames(kinds('TOKEN COUNT', functionUnreserved))

/** `non_type_ident`: the last part of a user type's name. */
export const typeNames = withNames(kinds('KEY', basicUnreserved))

/** `constant` */
export const constants = new Uint8Array(kindsCount)
for (const kind of [T.STRING, T.INTEGER, T.FLOAT, T.BOOLEAN, T.DURATION, T.UUID, T.HEX, T.NOT_FINITE])
  constants[kind] = 1

function withNames(base: Uint8Array): Uint8Array {
  const table = base.slice()
  table[T.IDENT] = 1
  table[T.QUOTED_NAME] = 1
  return table
}
