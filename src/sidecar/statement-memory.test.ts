import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { IdentityState, type Judged } from './judged.ts'
import { StatementMemory, statementBounds, statementBytes } from './statement-memory.ts'

const mb = 1024 * 1024

/** The tables only keep them. */
const judged = (text: string): Judged =>
  ({ text, bytes: 0, keyspace: '', keyspaceCounts: false, asked: false, facts: {} }) as Judged

function mesh(bytesMax = 8 * mb) {
  const states: IdentityState[] = []
  const memory = new StatementMemory(() => states, statementBounds(bytesMax))
  const identity = (name: string, sessions = 1): IdentityState => {
    const state = new IdentityState(
      { spiffeId: parseSpiffeId(`spiffe://demo.local/svc/${name}`), person: undefined },
      memory,
    )
    state.sessions = sessions
    states.push(state)
    return state
  }
  const sum = (): number => states.reduce((total, { statementBytes: bytes }) => total + bytes, 0)
  return { memory, identity, sum }
}

let count = 0
const prepare = (state: IdentityState, characters: number): Buffer => {
  const id = randomBytes(16)
  state.prepared.set(id, judged(`${++count}`.padEnd(characters)))
  return id
}
const knows = (state: IdentityState, id: Buffer): boolean => state.prepared.find(id, 0, 16) !== undefined

describe('the memory of statements', () => {
  it('is bounded for one identity in bytes, whatever the length of its texts, and the last is kept', () => {
    for (const characters of [10, 1000, 4000, 100_000, 900_000]) {
      const { memory, identity, sum } = mesh()
      const greedy = identity('greedy')
      for (let i = 0; i < Math.min(5000, (40 * mb) / characters); i++) {
        const id = prepare(greedy, characters)
        if (characters <= 4096) greedy.rememberText(`${i}`.padEnd(characters), judged(`${i}`.padEnd(characters)))
        assert.ok(knows(greedy, id))
        const allowed = Math.max(memory.bounds.identityBytesMax, 2 * statementBytes('x'.repeat(characters), {}))
        if (i % 10 === 0) assert.ok(memory.bytes <= allowed, `${characters}: ${memory.bytes}`)
      }
      assert.equal(memory.bytes, sum())
      greedy.forgetStatements()
      assert.equal(memory.bytes, 0)
      assert.equal(greedy.prepared.size, 0)
    }
  })

  it('is bounded in all: first goes what nobody is there for, then what the heaviest has', () => {
    const { memory, identity } = mesh()
    const modest = identity('modest')
    const modestId = prepare(modest, 1000)
    const gone = identity('gone', 0)
    const goneId = prepare(gone, 200)
    const greedy = Array.from({ length: 12 }, (_, i) => identity(`greedy ${i}`.replace(' ', '-')))
    for (let i = 0; i < 60; i++) {
      for (const each of greedy) {
        prepare(each, 20_000)
        assert.ok(memory.bytes <= memory.bounds.bytesMax)
      }
    }
    assert.ok(knows(modest, modestId), 'who holds little keeps it')
    assert.ok(!knows(gone, goneId))
  })

  it('replaces what stands under one id without counting it twice', () => {
    const { memory, identity, sum } = mesh()
    const state = identity('one')
    const id = randomBytes(16)
    for (let i = 0; i < 50; i++) state.prepared.set(id, judged(`${i}`.padEnd(1000)))
    assert.equal(memory.bytes, statementBytes('x'.repeat(1000), {}))
    assert.equal(memory.bytes, sum())
  })

  const list = (length: number, of: (at: number) => string, between = ','): string =>
    Array.from({ length }, (_, at) => of(at)).join(between)
  // Heap for each statement, measured as the growth by some hundreds of them after a collection (Node.js 26, 64 bits).
  for (const [shape, heapBytes, text] of [
    ['a short SELECT', 1_400, "SELECT v FROM shop.items WHERE k = 'n'"],
    ['columns', 22_500, `SELECT ${list(900, (c) => `c${c}`)} FROM shop.t`],
    ['one column again and again', 20_500, `SELECT ${list(1900, () => 'a')} FROM shop.t`],
    ['quoted columns', 13_500, `SELECT ${list(500, (c) => `"C${c}"`)} FROM shop.t`],
    ['relations', 168_000, `SELECT a FROM shop.t WHERE ${list(700, () => 'a=?', ' AND ')}`],
    ['markers of IN', 101_000, `SELECT a FROM shop.t WHERE a IN (${list(1900, () => '?')})`],
    ['strings of IN', 43_000, `SELECT a FROM shop.t WHERE a IN (${list(900, () => "'x'")})`],
    ['a BATCH', 99_000, `BEGIN BATCH ${list(90, (b) => `DELETE FROM s.t${b} WHERE a=${b};`, '')} APPLY BATCH`],
    [
      'a BATCH of many tables',
      139_000,
      `BEGIN BATCH ${list(120, (b) => `DELETE FROM t${b}0 WHERE a=?;`, '')} APPLY BATCH`,
    ],
    ['assignments', 75_500, `UPDATE s.t SET ${list(600, (c) => `c${c}=?`)} WHERE k=?`],
    ['an INSERT', 136_000, `INSERT INTO s.t (${list(400, (c) => `c${c}`)}) VALUES (${list(400, () => '?')})`],
    ['functions', 77_500, `SELECT ${list(500, (c) => `f${c}(a)`)} FROM s.t`],
    ['markers with names', 58_000, `SELECT a FROM s.t WHERE a IN (${list(700, (c) => `:m${c}`)})`],
  ] as const) {
    it(`weighs ${shape} as what it takes of the heap, and not much more`, () => {
      const bytes = statementBytes(text, analyse(text))
      assert.ok(bytes >= heapBytes && bytes <= 3 * heapBytes, `${bytes} bytes for ${heapBytes}`)
    })
  }
})
