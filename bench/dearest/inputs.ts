/** The dearest inputs that a client can make, by shape; each is sent by an identity of every verdict. */
import { largeAnswerTable, manyRowsTable } from '../phrases.ts'
import { batch, prepare, query } from './client.ts'

export interface DearInput {
  readonly name: string
  readonly requests: () => readonly Buffer[]
}

const list = <T>(count: number, item: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => item(at))
const columns = (count: number): string => list(count, (at) => `"C${at}"`).join(',')
const padded = (text: string, characters: number): string => `${text} /*${'x'.repeat(characters - text.length - 5)}*/`

export const dearInputs: readonly DearInput[] = [
  { name: 'SELECT of 60,000 columns', requests: () => [query(`SELECT ${columns(60_000)} FROM bench.rows`)] },
  { name: 'SELECT of 8,000 columns', requests: () => [query(`SELECT ${columns(8_000)} FROM bench.rows`)] },
  { name: 'PREPARE of the same', requests: () => [prepare(`SELECT ${columns(8_000)} FROM bench.rows`)] },
  {
    name: 'SELECT of one column 60,000 times',
    requests: () => [query(`SELECT ${list(60_000, () => 'v').join(',')} FROM bench.rows`)],
  },
  {
    name: 'SELECT with 8,000 relations',
    requests: () => [query(`SELECT v FROM bench.rows WHERE ${list(8_000, (at) => `c${at}=${at}`).join(' AND ')}`)],
  },
  {
    name: 'INSERT of 8,000 columns',
    requests: () => {
      const values = list(8_000, () => '1').join(',')
      return [query(`INSERT INTO bench.rows (${list(8_000, (at) => `c${at}`).join(',')}) VALUES (${values})`)]
    },
  },
  {
    name: 'BATCH of 15,000 texts, equal but for numbers',
    requests: () => [batch(list(15_000, (at) => `INSERT INTO bench.rows (k,v) VALUES (${at},1)`))],
  },
  {
    name: 'BATCH of 15,000 texts, equal but for strings',
    requests: () => [batch(list(15_000, (at) => `INSERT INTO bench.rows (k,v) VALUES ('${at}',1)`))],
  },
  {
    name: 'BATCH of 15,000 texts, each of a table',
    requests: () => [batch(list(15_000, (at) => `INSERT INTO bench.t${at} (k,v) VALUES (1,1)`))],
  },
  {
    name: 'QUERY: a BATCH text of 8,000 statements',
    requests: () => [
      query(`BEGIN BATCH ${list(8_000, (at) => `INSERT INTO bench.rows(k,v)VALUES('${at}',1)`).join(' ')} APPLY BATCH`),
    ],
  },
  {
    name: '200 QUERYs of 16 KB at once',
    requests: () => list(200, (at) => query(padded(`SELECT v FROM bench.rows WHERE k = '${at}'`, 16_000), at)),
  },
  {
    name: '200 QUERYs of 4,000 integers at once',
    requests: () => list(200, (at) => query(`SELECT v FROM bench.rows WHERE k IN (${at}${',1'.repeat(4_000)})`, at)),
  },
  {
    name: '2,000 short QUERYs at once',
    requests: () => list(2_000, (at) => query(`SELECT v FROM bench.rows WHERE k = '${at}'`, at)),
  },
  {
    name: '5,000 QUERYs at once, each of a table of its own',
    requests: () => list(5_000, (at) => query(`SELECT v FROM bench.table_${at}`, at)),
  },
  { name: 'an answer of 100 MB', requests: () => [query(`SELECT v FROM bench.${largeAnswerTable}`)] },
  { name: 'an answer of 1,000,000 rows', requests: () => [query(`SELECT v FROM bench.${manyRowsTable}`)] },
]
