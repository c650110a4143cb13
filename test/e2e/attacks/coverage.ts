/**
 * Where each row of the catalogue is tested: rows A (text), B (prepared statements, batches, state) and C (objects and privileges). `says` is a piece
 * of the test's own title or text, so that a test that is renamed or taken away is missed (`coverage.test.ts`).
 */
export interface Covered {
  /** From the repository's root. */
  readonly file: string
  readonly says: string
}

const attacks = (name: string, says: string): Covered => ({ file: `test/e2e/attacks/${name}`, says })
const texts = (row: string): Covered => attacks('texts.ts', `row: '${row}'`)
const objects = (row: string): Covered => attacks('objects.ts', `row: '${row}'`)
const privileges = (row: string): Covered => attacks('privileges.ts', `row: '${row}'`)
const bytes = (says: string): Covered => attacks('bytes.e2e.test.ts', says)
const sessions = (says: string): Covered => attacks('sessions.e2e.test.ts', says)
const hostile = (says: string): Covered => ({ file: 'test/e2e/hostile.e2e.test.ts', says })
const verdicts = (says: string): Covered => ({ file: 'test/e2e/verdicts.e2e.test.ts', says })
const analyser = (says: string): Covered => ({ file: 'src/cql/statement/attacks.test.ts', says })
const states = (says: string): Covered => ({ file: 'test/path/states.test.ts', says })
const sidecar = (says: string): Covered => ({ file: 'test/path/sidecar.test.ts', says })
const requests = (says: string): Covered => ({ file: 'src/cql/requests.test.ts', says })
const inbound = (says: string): Covered => ({ file: 'src/cql/inbound.test.ts', says })

export const coverage: ReadonlyMap<string, readonly Covered[]> = new Map<string, readonly Covered[]>([
  ['A1', [texts('A1'), analyser('A1 line comments')]],
  ['A2', [texts('A2'), analyser('A2 block comments'), attacks('variants.test.ts', 'has the facts of the statement')]],
  ['A3', [texts('A3'), analyser('A3 quoted names')]],
  ['A4', [texts('A4'), analyser('A4 keywords as names')]],
  ['A5', [texts('A5'), analyser('A5 characters that look like others')]],
  ['A6', [texts('A6'), bytes('A6 malformed UTF-8'), requests('malformed UTF-8'), analyser('A6 text inside quotes')]],
  ['A7', [texts('A7'), analyser('A7 backslashes')]],
  ['A8', [texts('A8'), analyser('A8 $$ strings')]],
  ['A9', [texts('A9'), analyser('A9 one statement')]],
  ['A10', [texts('A10'), analyser('A10 batches'), bytes('a batch of 65,535 statements')]],
  ['A11', [bytes('A11 statements made to be expensive'), analyser('A11 statements made to be expensive')]],
  ['A12', [texts('A12'), analyser('A12 grammar')]],
  ['A13', [texts('A13'), analyser('A13 names that are traps')]],
  ['A14', [sessions('A14 what is bound'), privileges('C17')]],
  ['B1', [sessions('B1 a prepared statement keeps its keyspace')]],
  ['B2', [sessions('B2 B3 ids')]],
  [
    'B3',
    [
      sessions('B2 B3 ids'),
      verdicts('an id of admin’s is unknown to reader'),
      sidecar('its ids mean nothing to anybody else'),
    ],
  ],
  // Two texts with one MD5 cannot be had by hand: a node that answers with the id of another text stands in.
  ['B4', [attacks('collision.test.ts', 'B4 one prepared id for two texts')]],
  [
    'B5',
    [
      sessions('B5 batches of texts and ids'),
      bytes('names for the values of a batch'),
      verdicts('one part that is refused'),
    ],
  ],
  ['B6', [verdicts('takes effect on a live session within a second'), sidecar('is judged anew on a live session')]],
  ['B7', [sessions('B7 a table that becomes a view')]],
  [
    'B8',
    [
      sessions('hide a column that is added under a prepared SELECT *'),
      objects('C2'),
      sidecar('when the columns became others'),
    ],
  ],
  [
    'B9',
    [
      sessions('B9 a flood of statements to prepare'),
      { file: 'test/path/prepares.test.ts', says: 'is shed beyond the burst and the rate' },
      { file: 'src/sidecar/prepared.test.ts', says: 'what an identity may have prepared' },
      { file: 'src/sidecar/prepared.test.ts', says: 'are forgotten when there are too many' },
    ],
  ],
  [
    'B10',
    [
      bytes('B10 messages out of their state'),
      hostile('AUTH_RESPONSE after success'),
      hostile('a second STARTUP'),
      hostile('a request before STARTUP'),
      states('OPTIONS without end'),
    ],
  ],
  ['B11', [sessions('B11 a USE is nobody else’s'), sidecar('changes its keyspace with the node’s result only')]],
  [
    'B12',
    [
      bytes('B12 streams'),
      hostile('a stream id in flight'),
      states('a negative stream is the end'),
      sidecar('when they come late they reach nobody'),
    ],
  ],
  ['B13', [bytes('B13 many requests in one write'), hostile('a request right behind STARTUP, before READY')]],
  ['B14', [bytes('B14 custom payload'), sidecar('is taken off')]],
  ['B15', [bytes('B15 compression'), inbound('where nothing was agreed')]],
  [
    'B16',
    [
      bytes('B16 what stands where nothing should'),
      hostile('bytes behind the end of a message'),
      requests('with two values for a key'),
    ],
  ],
  [
    'B17',
    [
      bytes('B17 segments of v5 that lie'),
      hostile('a truncated segment'),
      hostile('a wrong CRC'),
      hostile('a self-contained segment that ends inside an envelope'),
      inbound('refuses padding bits although their checksum is right'),
    ],
  ],
  ['B18', [bytes('B18 lengths and counts'), hostile('a length of 2³¹'), requests('with a length near 2^31')]],
  ['B19', [sessions('B19 pages'), { file: 'src/sidecar/seal.test.ts', says: 'does not open with any bit changed' }]],
  [
    'B20',
    [sessions('B8 B20 masks'), { file: 'src/cql/answers/mask.test.ts', says: 'without its columns is not shown' }],
  ],
  ['C1', [objects('C1')]],
  ['C2', [objects('C2')]],
  ['C3', [objects('C3')]],
  ['C4', [objects('C4'), analyser('a conditional write is a read as well')]],
  ['C5', [objects('C5')]],
  [
    'C6',
    [
      objects('C6'),
      { file: 'src/policy/data/classes.test.ts', says: 'are refused to everyone where they are others' },
      { file: 'src/cql/statement/classes.test.ts', says: 'classes that a statement names' },
    ],
  ],
  ['C7', [privileges('C7'), attacks('statements.e2e.test.ts', 'holds no password')]],
  ['C8', [privileges('C8')]],
  [
    'C9',
    [
      privileges('C9'),
      sessions('C9 C10 what may be seen'),
      { file: 'src/sidecar/describe/describe.test.ts', says: 'a row of DESCRIBE' },
    ],
  ],
  [
    'C10',
    [
      sessions('C9 C10 what may be seen'),
      { file: 'test/path/schema-questions.test.ts', says: 'is in no aggregate, group, limit or range' },
      { file: 'test/oracle/schema.oracle.test.ts', says: 'are answered as by a node that has only what may be seen' },
      { file: 'test/path/gateway.test.ts', says: 'answers system.local itself' },
    ],
  ],
  ['C11', [privileges('C11')]],
  ['C12', [privileges('C12'), sessions('C12 tracing')]],
  ['C13', [privileges('C13')]],
  ['C14', [privileges('C14'), { file: 'src/policy/load.test.ts', says: 'refuses a wildcard over system keyspaces' }]],
  ['C15', [privileges('C15')]],
  ['C16', [privileges('C16')]],
  ['C17', [privileges('C17'), { file: 'src/policy/data/check.test.ts', says: 'refuses now_in_seconds' }]],
  ['C18', [privileges('C18')]],
  ['C19', [sessions('C19 what is forbidden and what is not there')]],
  ['C20', [sessions('C20 events'), { file: 'test/path/gateway.test.ts', says: 'reach the client that registered' }]],
])
