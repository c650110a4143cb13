import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { IdentityState, type Judged } from './judged.ts'
import { StatementMemory, statementBounds, statementBytes } from './statement-memory.ts'

const mb = 1024 * 1024

/** The tables only keep them. */
const judged = (text: string): Judged => ({ text, keyspace: '', keyspaceCounts: false, asked: false }) as Judged

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
        if (characters <= 4096) greedy.rememberText(`${i}`.padEnd(characters), judged(''))
        assert.ok(knows(greedy, id))
        const allowed = Math.max(memory.bounds.identityBytesMax, 2 * statementBytes('x'.repeat(characters)))
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
    assert.equal(memory.bytes, statementBytes('x'.repeat(1000)))
    assert.equal(memory.bytes, sum())
  })
})
