/**
 * CQL statements at random: a grammar that a reader can hold against Cassandra's `Parser.g`, and a generator that walks it.
 *
 * UPPER words are keywords, lower ones rules or names of `terminals`, quoted ones symbols; `?`, `*`, `+` and parentheses are as
 * usual, `x,` means a list of x with commas. The first alternative of a rule is its simplest: beyond a depth it is always taken.
 */
export const grammar = `
statement = select | insert | update | delete | batch | USE name | TRUNCATE TABLE? table | createKeyspace | createTable
  | createIndex | dropThings | alterTable | alterOthers | grant | list | user | role | trigger | createType | createFunction
  | createAggregate | view | describe | identity
select = SELECT JSON? DISTINCT? selectors FROM table (WHERE where)? (GROUP BY expression,)? (ORDER BY ordering,)?
  (PER PARTITION LIMIT count)? (LIMIT count)? (ALLOW FILTERING)?
selectors = '*' | selector, | selector,
selector = expression | expression AS name
expression = factor | factor | factor sum factor | factor sum factor sum factor
sum = '+' | '-' | '*' | '/' | '%'
factor = selection | selection | '-' selection | selection '.' name | selection '[' term ']' | selection '[' slice ']'
slice = term '..' term | '..' term | term '..'
selection = name | constant | name | call | COUNT '(' '*' ')' | WRITETIME '(' name modifier? ')' | TTL '(' name ')'
  | MAXWRITETIME '(' name modifier? ')' | CAST '(' expression AS native ')' | '(' type ')' selection | '(' expression, ')'
  | '[' expression, ']' | '{' expression, '}' | '{' expressionPair, '}' | '[' ']' | '{' '}' | NULL | marker | functionName '(' ')'
expressionPair = expression ':' expression
modifier = '[' term ']' | '.' name | '[' slice ']'
call = functionName '(' expression, ')'
functionName = function | name '.' function
where = relation | relation AND where
relation = column operator term | column operator term | column IN values | column IS NOT NULL | column LIKE term
  | column CONTAINS KEY? term | column '[' term ']' operator term | TOKEN '(' column, ')' operator term
  | '(' column, ')' operator tuple | '(' column, ')' operator marker | '(' column, ')' IN tuples | '(' relation ')'
  | 'expr(' name ',' term ')' | column NOT IN values | column BETWEEN term AND term | column NOT CONTAINS term
tuples = marker | '(' ')' | '(' tuple, ')' | '(' marker, ')'
tuple = '(' term, ')'
values = marker | '(' term, ')' | '(' ')'
operator = '=' | '<' | '<=' | '>' | '>=' | '!='
ordering = column | column ASC | column DESC | column ANN OF term
count = integer | marker
marker = '?' | ':' name
term = simple | simple | simple | simple sum simple
simple = constant | constant | marker | NULL | functionName '(' ')' | functionName '(' term, ')' | '(' type ')' simple
  | CAST '(' simple AS native ')' | '[' term, ']' | '{' term, '}' | '{' pair, '}' | '{' field, '}' | '[' ']' | '{' '}' | tuple | '-' simple
pair = term ':' term
field = name ':' term
insert = INSERT INTO table '(' column, ')' VALUES '(' term, ')' (IF NOT EXISTS)? using?
  | INSERT INTO table JSON (string | marker) (DEFAULT (NULL | UNSET))? (IF NOT EXISTS)? using?
using = USING TIMESTAMP count | USING TTL count | USING TTL count AND TIMESTAMP count
update = UPDATE table using? SET assignment, WHERE where condition?
assignment = column '=' term | column '=' term | column '+=' term | column '-=' term | column '[' term ']' '=' term
  | column '.' name '=' term | same | column '=' column '+' term | column '=' term '+' column | column '=' column integer
same = x '.' x '=' term | x '[' term ']' '=' term | x '=' term | x '+=' term | x '=' x '+' term | x '=' x '-' term | x '=' term '+' x | x '=' x integer
x = 'x' | 'X' | '"x"'
condition = IF EXISTS | IF conditions
conditions = oneCondition | oneCondition AND conditions
oneCondition = column operator term | column IN values | column '[' term ']' operator term | column '[' term ']' IN values
  | column '.' name operator term | column '.' name IN values | column CONTAINS KEY? term
delete = DELETE deletion,? FROM table (USING TIMESTAMP count)? WHERE where condition?
deletion = column | column '[' term ']' | column '.' name
batch = BEGIN (UNLOGGED | COUNTER)? BATCH using? batchPart* APPLY BATCH
batchPart = insert ';'? | update ';'? | delete ';'?
createKeyspace = CREATE KEYSPACE ifNot? name WITH properties
ifNot = IF NOT EXISTS
ifEx = IF EXISTS
properties = property | property AND properties
property = name '=' constant | name '=' keyword | name '=' '{' constantPair, '}' | name '=' '{' '}' | classed '=' '{' classPair, '}'
constantPair = constant ':' constant
classPair = classKey ':' className | classKey ':' constant | constantPair
createTable = CREATE TABLE ifNot? table '(' tableColumn, ','? ')' (WITH tableProperties)?
tableColumn = name type | name type PRIMARY KEY | name type STATIC mask? | PRIMARY KEY '(' keys ')' | name type mask
mask = MASKED WITH DEFAULT | MASKED WITH functionName '(' ')' | MASKED WITH functionName '(' term, ')'
keys = name, | '(' name, ')' | '(' name, ')' ',' name,
tableProperties = tableProperty | tableProperty AND tableProperties
tableProperty = property | COMPACT STORAGE | CLUSTERING ORDER BY '(' clustering, ')'
clustering = name ASC | name DESC
createIndex = CREATE CUSTOM? INDEX ifNot? name? ON table '(' indexed, ')' (USING className)? (WITH properties)?
  | CREATE INDEX ON table '(' ')'
indexed = column | VALUES '(' column ')' | KEYS '(' column ')' | ENTRIES '(' column ')' | FULL '(' column ')'
dropThings = DROP TABLE ifEx? table | DROP KEYSPACE ifEx? name | DROP INDEX ifEx? table | DROP TYPE ifEx? userType
  | DROP MATERIALIZED VIEW ifEx? table | DROP FUNCTION ifEx? functionName arguments? | DROP AGGREGATE ifEx? functionName arguments?
arguments = '(' ')' | '(' type, ')'
alterTable = ALTER TABLE ifEx? table alteration
alteration = ADD ifNot? name type STATIC? mask? | ADD '(' added, ')' | DROP ifEx? name (USING TIMESTAMP integer)? | DROP '(' name, ')'
  | ALTER column TYPE type | ALTER ifEx? column mask | ALTER ifEx? column DROP MASKED | RENAME ifEx? renames | WITH properties
  | DROP COMPACT STORAGE
added = name type STATIC? mask?
renames = name TO name | name TO name AND renames
alterOthers = ALTER KEYSPACE ifEx? name WITH properties | ALTER TYPE ifEx? userType alterType
  | ALTER MATERIALIZED VIEW ifEx? table WITH properties
alterType = ADD ifNot? name type | ALTER name TYPE type | RENAME ifEx? renames
grant = GRANT permissions ON resource TO roleName | REVOKE permissions ON resource FROM roleName | GRANT roleName TO roleName
  | REVOKE roleName FROM roleName
permissions = permission | ALL PERMISSIONS? | permission PERMISSION? (',' permission PERMISSION?)*
permission = CREATE | ALTER | DROP | SELECT | MODIFY | AUTHORIZE | DESCRIBE | EXECUTE | UNMASK | SELECT_MASKED
resource = table | TABLE table | KEYSPACE name | ALL KEYSPACES | ALL TABLES IN KEYSPACE name | ROLE roleName | ALL ROLES | ALL FUNCTIONS
  | ALL FUNCTIONS IN KEYSPACE name | ALL MBEANS | MBEAN objectName | MBEANS objectName | FUNCTION functionName arguments
list = LIST permissions (ON resource)? (OF roleName)? NORECURSIVE? | LIST ROLES (OF roleName)? NORECURSIVE? | LIST USERS
user = CREATE USER ifNot? userName (WITH password)? superuser? | ALTER USER ifEx? userName (WITH password)? superuser?
  | DROP USER ifEx? userName
password = PASSWORD string | HASHED PASSWORD string
superuser = SUPERUSER | NOSUPERUSER
role = CREATE ROLE ifNot? roleName (WITH roleOptions)? | ALTER ROLE ifEx? roleName (WITH roleOptions)? | DROP ROLE ifEx? roleName
roleOptions = roleOption | roleOption AND roleOptions
roleOption = PASSWORD '=' string | HASHED PASSWORD '=' string | OPTIONS '=' '{' constantPair, '}' | SUPERUSER '=' boolean
  | LOGIN '=' boolean | ACCESS TO ALL DATACENTERS | ACCESS TO DATACENTERS '{' string, '}' | ACCESS FROM ALL CIDRS
  | ACCESS FROM CIDRS '{' cidr, '}'
identity = ADD IDENTITY ifNot? userName TO ROLE userName | DROP IDENTITY ifEx? userName
trigger = CREATE TRIGGER ifNot? name ON table USING className | DROP TRIGGER ifEx? name ON table
createType = CREATE TYPE ifNot? userType '(' typeField, ','? ')'
typeField = name type
createFunction = CREATE (OR REPLACE)? FUNCTION ifNot? functionName '(' typeField,? ')' nulls ON NULL INPUT RETURNS type
  LANGUAGE identifier AS string
nulls = RETURNS NULL | CALLED
createAggregate = CREATE (OR REPLACE)? AGGREGATE ifNot? functionName arguments SFUNC function STYPE type (FINALFUNC function)?
  (INITCOND term)?
view = CREATE MATERIALIZED VIEW ifNot? table AS SELECT selectors FROM table (WHERE where)? PRIMARY KEY '(' keys ')'
  (WITH tableProperties)?
describe = describeWord described (WITH INTERNALS)?
describeWord = DESCRIBE | DESC
described = CLUSTER | FULL? SCHEMA | KEYSPACES | ONLY? KEYSPACE name? | TABLES | TABLE table | INDEX table | MATERIALIZED VIEW table
  | TYPES | TYPE userType | FUNCTIONS | FUNCTION functionName | AGGREGATES | AGGREGATE functionName | table
table = name | name '.' name
userType = typeName | name '.' typeName
type = native | typeName | native | name '.' typeName | MAP '<' type ',' type '>' | LIST '<' type '>' | SET '<' type '>' | TUPLE '<' type, '>'
  | VECTOR '<' type ',' integer '>' | FROZEN '<' frozen '>' | marshal | FROZEN '<' type '>'
frozen = LIST '<' type '>' | MAP '<' type ',' type '>' | SET '<' type '>' | TUPLE '<' type, '>' | userType
`

export const terminals: { readonly [name: string]: readonly string[] } = {
  name: [
    ...'a b c d k v ks tab Users "Secret" "a""b" "select" __proto__ constructor toString x1 p_2 t1h deadbeef e5 PT "" "k"'.split(
      ' ',
    ),
    ...'ttl count writetime maxwritetime key cast json distinct keys as cluster clustering compact storage tables type types'.split(
      ' ',
    ),
    ...'values map list filtering permission permissions keyspaces all user users role roles identity superuser nosuperuser'.split(
      ' ',
    ),
    ...'login nologin options password hashed exists custom trigger contains internals only static frozen tuple function'.split(
      ' ',
    ),
    ...'functions aggregate aggregates sfunc stype finalfunc initcond returns language called input like per partition group'.split(
      ' ',
    ),
    ...'datacenters cidrs access default mbean mbeans replace unset masked unmask select_masked vector ann'.split(' '),
    ...'ascii bigint blob boolean counter decimal double duration float inet int smallint text timestamp tinyint uuid'.split(
      ' ',
    ),
    ...'varchar varint timeuuid date time between superusers generated check'.split(' '),
    ...'a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab'.split(
      ' ',
    ),
    ...'a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab a b c d k v ks tab'.split(
      ' ',
    ),
  ],
  column: [
    ...'a b c d k v a b c d k v a b c d k v "" "Col" key ttl json like contains exists values token int as'.split(' '),
  ],
  function: [
    ...'now f g uuid token count min max "F" todate myfn cast_as_int ttl text int date map list expr writetime'.split(
      ' ',
    ),
  ],
  identifier: ['java', 'Java', 'javascript', 'lua'],
  userName: ['bob', 'Alice', "'o''neil'", "'spiffe://a/b'", '$$x$$', '"q"', 'role', 'user'],
  roleName: ['bob', 'Alice', "'Role'", '"Role"', '$$r$$', 'role', 'all', 'key', 'unmask', '?'],
  typeName: [
    ...'udt Address "Type" key frozen map tuple vector list values byte date enum Byte'.split(' '),
    'udt',
    'udt',
    'udt',
  ],
  native: 'ascii bigint blob boolean counter decimal double duration float inet int smallint text timestamp'.split(' '),
  marshal: [
    "'Int32Type'",
    "'org.apache.cassandra.db.marshal.UTF8Type'",
    "'nope'",
    "'org.apache.cassandra.db.marshal.nope'",
    '\'{"a":1}\'',
    "' '",
    "'CompositeType(AsciiType, ReversedType(LongType))'",
  ],
  string: [
    "'a'",
    "''",
    "'it''s'",
    '$$b$$',
    '$$ \' $ " $$',
    "'-- no'",
    "'/* no */'",
    "'from secret.t'",
    "'é😀'",
    "'\\'",
  ],
  classed: ['compaction', 'compression', 'replication', 'options', 'caching', '"compaction"', 'REPLICATION'],
  classKey: ["'class'", "'class'", '$$class$$', "'CLASS'", "'class_name'", "'sstable_compression'", "'analyzer_class'"],
  className: [
    "'SimpleStrategy'",
    "'org.apache.cassandra.locator.NetworkTopologyStrategy'",
    "'LeveledCompactionStrategy'",
    "'LZ4Compressor'",
    "'org.apache.cassandra.db.Keyspace'",
    "'StorageAttachedIndex'",
    "'SAI'",
    "'SASIIndex'",
    "'org.example.Evil'",
    '$$Evil$$',
    "'it''s'",
    "''",
    "'.'",
    "'é'",
  ],
  integer: ['0', '1', '-1', '42', '9223372036854775807', '007'],
  boolean: ['true', 'FALSE', 'True'],
  cidr: ["'a'", "'office'", "'b'"],
  objectName: ["'a:b=c'", "'org.x:*'", "'*:*'", "'org.apache.cassandra.db:type=Tables,*'", "''", "'nope'", "'a:b=*'"],
  constant: [
    ...[
      '0',
      '1',
      '-1',
      '42',
      "'a'",
      "'it''s'",
      '$$x$$',
      'true',
      'FALSE',
      '1.5',
      '-2.',
      '1e5',
      '1.0E-3',
      '0x',
      '0xCAFE',
      '0Xff',
    ],
    ...[
      '123e4567-e89b-12d3-a456-426614174000',
      'ABCDEFAB-1234-1234-1234-1234567890AB',
      '1h',
      '12mo3d',
      '-5us',
      '7µs',
      'P1Y2M3DT4H5M6S',
    ],
    ...['PT5M', '-P2W', 'P2020-01-02T03:04:05', 'NaN', '-nan', 'Infinity', '-INFINITY', "''", '1.', '\'{"a":1}\''],
  ],
  keyword: ['all', 'map', 'text', 'ttl', 'key', 'default'],
}

type Node =
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly options: readonly Node[] }
  | {
      readonly kind: 'repeat'
      readonly item: Node
      readonly least: number
      readonly most: number
      readonly separator?: string
    }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'rule'; readonly name: string }

/** A source of chance: xorshift with 32 bits of state, so that a seed gives the same run everywhere. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761) >>> 0 || 1
  }

  /** An integer from 0 to `below` − 1. */
  int(below: number): number {
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state >>> 0
    return this.#state % below
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.int(items.length)]!
  }
}

const depthMax = 14

/** Random statements as lists of tokens. */
export class Generator {
  readonly #rules = new Map<string, Node>()
  readonly #chance: Chance

  constructor(chance: Chance) {
    this.#chance = chance
    for (const rule of grammar.trim().split(/\n(?=\S)/)) {
      const [name, body] = rule.split(/ = (.*)/s) as [string, string]
      this.#rules.set(name, new GrammarReader(body).choice())
    }
  }

  statement(rule = 'statement'): string[] {
    const out: string[] = []
    this.#walk({ kind: 'rule', name: rule }, out, 0)
    return out
  }

  #walk(node: Node, out: string[], depth: number): void {
    switch (node.kind) {
      case 'word':
        out.push(node.text)
        return
      case 'rule': {
        const values = terminals[node.name]
        if (values !== undefined) out.push(this.#chance.pick(values))
        else this.#walk(this.#rules.get(node.name)!, out, depth + 1)
        return
      }
      case 'sequence':
        for (const item of node.items) this.#walk(item, out, depth)
        return
      case 'choice':
        this.#walk(depth > depthMax ? node.options[0]! : this.#chance.pick(node.options), out, depth)
        return
      case 'repeat': {
        let times = depth > depthMax ? node.least : node.least + this.#chance.int(node.most - node.least + 1)
        if (times > 2 && this.#chance.int(3) > 0) times = 1
        for (let at = 0; at < times; at += 1) {
          if (at > 0 && node.separator !== undefined) out.push(node.separator)
          this.#walk(node.item, out, depth + 1)
        }
      }
    }
  }
}

/** Reads the notation above. */
class GrammarReader {
  readonly #tokens: string[]
  #at = 0

  constructor(body: string) {
    this.#tokens = body.match(/'[^']+'|\w+|[()|?*+,]/g) ?? []
  }

  choice(): Node {
    const options = [this.#sequence()]
    while (this.#tokens[this.#at] === '|') {
      this.#at += 1
      options.push(this.#sequence())
    }
    return options.length === 1 ? options[0]! : { kind: 'choice', options }
  }

  #sequence(): Node {
    const items: Node[] = []
    for (;;) {
      const token = this.#tokens[this.#at]
      if (token === undefined || token === '|' || token === ')') return { kind: 'sequence', items }
      items.push(this.#item())
    }
  }

  #item(): Node {
    const token = this.#tokens[this.#at]!
    this.#at += 1
    let node: Node
    if (token === '(') {
      node = this.choice()
      this.#at += 1
    } else if (token.startsWith("'")) node = { kind: 'word', text: token.slice(1, -1) }
    else if (/^[A-Z_]+$/.test(token)) node = { kind: 'word', text: token }
    else node = { kind: 'rule', name: token }
    for (;;) {
      const suffix = this.#tokens[this.#at]
      if (suffix === '?') node = { kind: 'repeat', item: node, least: 0, most: 1 }
      else if (suffix === '*') node = { kind: 'repeat', item: node, least: 0, most: 3 }
      else if (suffix === '+') node = { kind: 'repeat', item: node, least: 1, most: 3 }
      else if (suffix === ',') node = { kind: 'repeat', item: node, least: 1, most: 3, separator: ',' }
      else return node
      this.#at += 1
    }
  }
}
