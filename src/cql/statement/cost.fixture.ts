/**
 * Statements made to be expensive (attack A11), each as large as the limits allow or a little larger, and what they cost.
 *
 *   node src/cql/statement/cost.fixture.ts     prints the figures
 */
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { analyse } from './analyse.ts'

const bytes = limits.statementBytesMax
const tokens = limits.statementTokensMax

/** `unit` between `head` and `tail` until the text has `statementBytesMax` characters. */
function filled(head: string, unit: string, tail: string): string {
  return head + unit.repeat(Math.floor((bytes - head.length - tail.length) / unit.length)) + tail
}

/** As many units, of so many tokens each, as `statementTokensMax` allows, and no more than `times`. */
function packed(
  head: string,
  unit: string | ((at: number) => string),
  tokensEach: number,
  tail: string,
  times = Number.POSITIVE_INFINITY,
): string {
  const count = Math.min(times, Math.floor((tokens - 40) / tokensEach))
  return head + Array.from({ length: count }, (_, at) => (typeof unit === 'string' ? unit : unit(at))).join('') + tail
}

const brackets = (open: string, close: string, times: number): string => `${open.repeat(times)}1${close.repeat(times)}`

/** What the statement is, its text, and whether it is read or refused by a limit. */
export const expensive: readonly (readonly [what: string, text: string, outcome: 'facts' | 'SYNTAX' | 'INVALID'])[] = [
  ['one string of 1 MiB', filled("INSERT INTO ks.t (a) VALUES ('", 'x', "')"), 'facts'],
  ['one string of doubled quotes', filled("INSERT INTO ks.t (a) VALUES ('", "''", "')"), 'facts'],
  ['one blob', filled('INSERT INTO ks.t (a) VALUES (0x', 'f', ')'), 'facts'],
  ['one name', filled('SELECT ', 'a', ' FROM ks.t'), 'facts'],
  ['one quoted name', filled('SELECT "', 'a', '" FROM ks.t'), 'facts'],
  ['a TTL of a million digits', filled('UPDATE t USING TTL ', '9', ' SET a = 1 WHERE k = 1'), 'INVALID'],
  ['a TTL of a million zeros', filled('UPDATE t USING TTL ', '0', '1 SET a = 1 WHERE k = 1'), 'facts'],
  ['block comments', filled('SELECT a FROM ks.t', '/**/', ''), 'facts'],
  ['line comments', filled('SELECT a FROM ks.t', '--\n', ''), 'facts'],
  ['white space', filled('SELECT a FROM ks.t', ' ', ''), 'facts'],
  ['lines before an error', filled('SELECT a FROM ks.t', '\n', ' b c d'), 'SYNTAX'],
  ['semicolons', packed('SELECT a FROM t', ';', 1, ''), 'facts'],
  ['1 MiB of short integers', filled('INSERT INTO ks.t (a) VALUES ([1', ',1', '])'), 'INVALID'],
  ['a list of integers', packed('INSERT INTO ks.t (a) VALUES ([1', ',1', 2, '])'), 'facts'],
  [
    'a list of uuids',
    packed('INSERT INTO t (a) VALUES ([1', ',123e4567-e89b-12d3-a456-426614174000', 2, '])', 27_000),
    'facts',
  ],
  ['IN with integers', packed('SELECT a FROM ks.t WHERE a IN (1', ',1', 2, ')'), 'facts'],
  ['IN with strings', packed("SELECT a FROM ks.t WHERE a IN ('1'", (at) => `,'${at}'`, 2, ')'), 'facts'],
  ['IN with markers', packed('SELECT a FROM ks.t WHERE a IN (?', ',?', 2, ')'), 'facts'],
  ['IN with named markers', packed('SELECT a FROM ks.t WHERE a IN (?', (at) => `,:m${at}`, 3, ')'), 'facts'],
  ['IN with tuples', packed('SELECT a FROM ks.t WHERE (a, b) IN ((1, 2)', ',(1,2)', 6, ')'), 'facts'],
  ['relations', packed('SELECT a FROM ks.t WHERE a=1', ' AND a=?', 4, '', 8_191), 'facts'],
  ['relations without number', packed('SELECT a FROM ks.t WHERE a=1', ' AND a=?', 4, ''), 'INVALID'],
  [
    '25,000 INSERTs',
    packed('BEGIN BATCH ', (at) => `INSERT INTO ks.t (a) VALUES (${at});`, 5, ' APPLY BATCH', 25_000),
    'INVALID',
  ],
  ['equal INSERTs', packed('BEGIN BATCH ', (at) => `INSERT INTO t(a,b)VALUES(?,${at});`, 15, ' APPLY BATCH'), 'facts'],
  [
    'INSERTs with keys',
    packed('BEGIN BATCH ', (at) => `INSERT INTO t(a)VALUES('${at}');`, 11, ' APPLY BATCH'),
    'facts',
  ],
  [
    'UPDATEs with timestamps',
    packed('BEGIN BATCH ', (at) => `UPDATE t USING TIMESTAMP ${at} SET a=1 WHERE k=?;`, 14, ' APPLY BATCH', 4_000),
    'facts',
  ],
  [
    'DELETEs of many tables',
    packed('BEGIN BATCH ', (at) => `DELETE FROM t${at} WHERE a=1;`, 8, ' APPLY BATCH', 1_600),
    'facts',
  ],
  ['more than may be', packed('BEGIN BATCH ', (at) => `DELETE FROM t${at} WHERE a=1;`, 8, ' APPLY BATCH'), 'INVALID'],
  ['nested lists', packed('INSERT INTO ks.t (a) VALUES ([1', `,${brackets('[', ']', 50)}`, 102, '])'), 'facts'],
  ['nested maps', packed('INSERT INTO ks.t (a) VALUES ([1', ',{1:{1:{1:(1,2)}}}', 18, '])'), 'facts'],
  [
    'nested parentheses in a select list',
    packed('SELECT a', `,${'('.repeat(30)}a${')'.repeat(30)}`, 62, ' FROM ks.t'),
    'facts',
  ],
  ['what may be a type', packed('SELECT (a)b', ',(a)[1]', 7, ' FROM ks.t'), 'facts'],
  ['JSON or a name', packed('SELECT JSON DISTINCT [1', ',(a)[1..2]', 9, '] FROM ks.t'), 'facts'],
  ['minus signs', packed('SELECT ', '- ', 1, 'a FROM t'), 'facts'],
  ['subscripts', packed('SELECT a', '[1]', 3, ' FROM t'), 'facts'],
  ['sums of columns', packed('SELECT a', '+a', 2, ' FROM ks.t'), 'facts'],
  ['sums of numbers', packed('SELECT a FROM ks.t WHERE a=1', '+1', 2, ''), 'facts'],
  ['columns', packed('SELECT a', (at) => `,C${at}`, 2, ' FROM ks.t', 8_191), 'facts'],
  ['65,000 columns', packed('SELECT a', (at) => `,C${at}`, 2, ' FROM ks.t'), 'INVALID'],
  ['65,000 quoted columns', packed('SELECT a', (at) => `,"c""${at}"`, 2, ' FROM ks.t'), 'INVALID'],
  ['keywords as columns', packed('SELECT a', ',SeLeCt_MaSkEd', 2, ' FROM t'), 'facts'],
  ['calls of native functions', packed('SELECT a', ',now()', 4, ' FROM ks.t'), 'facts'],
  ['calls of many functions', packed('SELECT a', (at) => `,f${at}(a)`, 5, ' FROM ks.t', 1_024), 'facts'],
  ['calls of too many functions', packed('SELECT a', (at) => `,f${at}(a)`, 5, ' FROM ks.t', 8_192), 'INVALID'],
  ['assignments', packed('UPDATE t SET a=1', (at) => `,c${at}=?`, 4, ' WHERE k=1', 8_190), 'facts'],
  [
    'column definitions',
    packed('CREATE TABLE t (k int PRIMARY KEY', (at) => `,c${at} frozen<map<int,text>>`, 11, ')', 8_191),
    'facts',
  ],
  ['properties', packed('CREATE TABLE t (k int PRIMARY KEY) WITH a=1', (at) => ` AND p${at}=1`, 4, ''), 'facts'],
  ['a map of properties', packed('CREATE KEYSPACE t WITH a={1:1', (at) => `,${at}1:1`, 4, '}'), 'facts'],
  ['permissions', packed('GRANT SELECT', ',SELECT', 2, ' ON t TO r'), 'facts'],
  ['100,000 nested parentheses', `SELECT ${'('.repeat(50_000)}a${')'.repeat(50_000)} FROM t`, 'INVALID'],
  ['a million tokens', `SELECT ${'a,'.repeat(500_000)}a FROM t`, 'INVALID'],
]

export interface Cost {
  readonly outcome: string
  /** CPU time of `analyse`, in milliseconds: the median of some runs after the first. */
  readonly cpuMs: number
  /** CPU time of a copy of the facts, as to another thread and out of it; 0 where there are none. */
  readonly copyMs: number
}

export function costOf(text: string, runs = 5): Cost {
  let outcome = 'facts'
  const cpu: number[] = []
  const copies: number[] = []
  for (let run = 0; run <= runs; run += 1) {
    const start = process.cpuUsage()
    try {
      const facts = analyse(text)
      const { user, system } = process.cpuUsage(start)
      cpu.push((user + system) / 1000)
      const before = process.cpuUsage()
      structuredClone(facts)
      const copying = process.cpuUsage(before)
      copies.push((copying.user + copying.system) / 1000)
    } catch (reason) {
      if (!(reason instanceof RingfenceError)) throw reason
      const { user, system } = process.cpuUsage(start)
      cpu.push((user + system) / 1000)
      outcome = reason.code
    }
  }
  return { outcome, cpuMs: median(cpu.slice(1)), copyMs: median(copies.slice(1)) }
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0
}

if (import.meta.main) {
  console.log('  KiB   CPU ms  copy ms')
  for (const [what, text] of expensive) {
    const { outcome, cpuMs, copyMs } = costOf(text)
    const columns = [String(text.length >> 10).padStart(5), cpuMs.toFixed(1).padStart(8), copyMs.toFixed(1).padStart(8)]
    console.log(`${columns.join(' ')}  ${what}: ${outcome}`)
  }
}
