/**
 * Kinds of token, as in `Lexer.g` of Apache Cassandra 5.0: a small number for each, so that a statement's tokens fit into
 * typed arrays. Keywords are kinds of their own; which of them may also be names is said in `keywords.ts`.
 */
export const T = {
  EOF: 0,
  IDENT: 1,
  QUOTED_NAME: 2,
  EMPTY_QUOTED_NAME: 3,
  STRING: 4,
  INTEGER: 5,
  FLOAT: 6,
  BOOLEAN: 7,
  DURATION: 8,
  UUID: 9,
  HEX: 10,
  /** `NaN`, `-NaN`, `Infinity`, `-Infinity`; the unsigned two are reserved words. */
  NOT_FINITE: 11,
  QMARK: 12,
  RANGE: 13,
  /** `expr(`, exactly so written, is one token in Cassandra's grammar. */
  EXPR: 14,
  PAREN_OPEN: 15,
  PAREN_CLOSE: 16,
  BRACKET_OPEN: 17,
  BRACKET_CLOSE: 18,
  BRACE_OPEN: 19,
  BRACE_CLOSE: 20,
  COMMA: 21,
  DOT: 22,
  COLON: 23,
  SEMICOLON: 24,
  STAR: 25,
  SLASH: 26,
  PERCENT: 27,
  PLUS: 28,
  PLUS_EQUALS: 29,
  MINUS: 30,
  MINUS_EQUALS: 31,
  EQUALS: 32,
  NOT_EQUALS: 33,
  LESS: 34,
  LESS_EQUALS: 35,
  GREATER: 36,
  GREATER_EQUALS: 37,
} as const

/** The first kind that is a keyword. */
export const firstKeyword = 40

const wordLines = [
  'ACCESS ADD AGGREGATE AGGREGATES ALL ALLOW ALTER AND ANN APPLY AS ASC ASCII AUTHORIZE BATCH BEGIN BIGINT BLOB BOOLEAN BY',
  'CALLED CAST CIDRS CLUSTER CLUSTERING COLUMNFAMILY COMPACT CONTAINS COUNT COUNTER CREATE CUSTOM DATACENTERS DATE DECIMAL',
  'DEFAULT DELETE DESC DESCRIBE DISTINCT DOUBLE DROP DURATION ENTRIES EXECUTE EXISTS FILTERING FINALFUNC FLOAT FROM FROZEN',
  'FULL FUNCTION FUNCTIONS GRANT GROUP HASHED IDENTITY IF IN INDEX INET INITCOND INPUT INSERT INT INTERNALS INTO IS JSON KEY',
  'KEYS KEYSPACE KEYSPACES LANGUAGE LIKE LIMIT LIST LOGIN MAP MASKED MATERIALIZED MAXWRITETIME MBEAN MBEANS MODIFY NOLOGIN',
  'NORECURSIVE NOSUPERUSER NOT NULL OF ON ONLY OPTIONS OR ORDER PARTITION PASSWORD PER PERMISSION PERMISSIONS PRIMARY RENAME',
  'REPLACE RETURNS REVOKE ROLE ROLES SCHEMA SELECT SELECT_MASKED SET SFUNC SMALLINT STATIC STORAGE STYPE SUPERUSER TABLES',
  'TEXT TIME TIMESTAMP TIMEUUID TINYINT TO TOKEN TRIGGER TRUNCATE TTL TUPLE TYPE TYPES UNLOGGED UNMASK UNSET UPDATE USE USER',
  'USERS USING UUID VALUES VARCHAR VARINT VECTOR VIEW WHERE WITH WRITETIME',
] as const

type Split<L extends string> = L extends `${infer A} ${infer B}` ? A | Split<B> : L
type Word = Split<(typeof wordLines)[number]>

const words = wordLines.flatMap((line) => line.split(' ')) as readonly Word[]

/** Kind of each keyword by its name in upper case, for example `K.SELECT`. */
export const K = Object.fromEntries(words.map((word, at) => [word, firstKeyword + at])) as {
  readonly [W in Word]: number
}

/** Words that are another spelling of a keyword, and the words that are literals. */
const otherSpellings: ReadonlyMap<string, number> = new Map<string, number>([
  ['TABLE', K.COLUMNFAMILY],
  ['COLUMNFAMILIES', K.TABLES],
  ['TRUE', T.BOOLEAN],
  ['FALSE', T.BOOLEAN],
  ['NAN', T.NOT_FINITE],
  ['INFINITY', T.NOT_FINITE],
])

/** Every keyword with its kind. */
export const keywordKinds: ReadonlyMap<string, number> = new Map([
  ...words.map((word) => [word, K[word]] as const),
  ...otherSpellings,
])

/** What a token of this kind is called in a message; literals are never quoted there, since they may be secrets. */
export function kindName(kind: number): string {
  if (kind >= firstKeyword) return words[kind - firstKeyword] ?? 'keyword'
  return kindNames.get(kind) ?? 'symbol'
}

const kindNames: ReadonlyMap<number, string> = new Map<number, string>([
  [T.EOF, 'end of statement'],
  [T.IDENT, 'name'],
  [T.QUOTED_NAME, 'quoted name'],
  [T.EMPTY_QUOTED_NAME, 'empty quoted name'],
  [T.STRING, 'string literal'],
  [T.INTEGER, 'integer'],
  [T.FLOAT, 'float'],
  [T.BOOLEAN, 'boolean'],
  [T.DURATION, 'duration'],
  [T.UUID, 'uuid'],
  [T.HEX, 'hex literal'],
  [T.NOT_FINITE, 'float'],
])
