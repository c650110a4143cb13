import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { type ByteAccount, BytesBudget, budgetBounds, Verdict } from './bytes-budget.ts'

const kb = 1024
const mb = 1024 * kb

const small = (processBytesMax = 1000): BytesBudget =>
  new BytesBudget({
    processBytesMax,
    addressBytesMax: processBytesMax / 2,
    identityBytesMax: processBytesMax / 4,
    connectionBytesMax: processBytesMax / 4,
    shareBytes: 10,
    roomTimeoutMs: 10,
  })

/** Takes as much as it gets, in steps. */
function takeAll(account: ByteAccount, step = 1): number {
  while (account.take(step) !== Verdict.REFUSE) {}
  return account.heldBytes
}

describe('a budget of bytes', () => {
  it('pauses before it refuses, whichever level is at its bound', () => {
    const levels: Record<string, (budget: BytesBudget) => ByteAccount[]> = {
      connection: (budget) => [budget.open('a', '1')],
      identity: (budget) => [budget.open('a', '1'), budget.open('a', '2')],
      address: (budget) => [budget.open('a', '1'), budget.open('b', '1'), budget.open('c', '1')],
      process: (budget) => ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => budget.open(name, name)),
    }
    for (const [level, open] of Object.entries(levels)) {
      const accounts = open(small())
      const paused = new Set<ByteAccount>()
      const going = new Set(accounts)
      while (going.size > 0) {
        for (const account of going) {
          const verdict = account.take(1)
          if (verdict === Verdict.REFUSE) going.delete(account)
          else assert.equal(account.crowded, verdict === Verdict.PAUSE, level)
          if (verdict === Verdict.PAUSE) paused.add(account)
        }
      }
      assert.equal(paused.size, accounts.length, level)
    }
  })

  it('keeps within the bound of the process, and leaves something to who comes next', () => {
    for (let greedy = 0; greedy < 7; greedy++) {
      const budget = small(10_000)
      for (let i = 0; i < greedy; i++) takeAll(budget.open(`greedy ${i}`, `${i}`))
      assert.ok(budget.heldBytes <= budget.bounds.processBytesMax)
      const next = budget.open('next', 'elsewhere')
      assert.notEqual(next.take(100), Verdict.REFUSE, `beside ${greedy}`)
    }
  })

  it('refuses an identity for what it holds itself, over all its connections, and its neighbours at one address not', () => {
    const budget = small()
    takeAll(budget.open('greedy', 'nat'))
    assert.equal(budget.open('greedy', 'elsewhere').take(1), Verdict.REFUSE)
    assert.equal(budget.open('modest', 'nat').take(10), Verdict.OK)
    takeAll(budget.open('greedy 2', 'nat'))
    assert.equal(budget.open('greedy 3', 'nat').take(11), Verdict.REFUSE, 'the address is full')
    assert.equal(budget.open('modest 2', 'nat').take(10), Verdict.OK, 'not for who holds little')
  })

  it('counts what it is told whatever happens, and forgets whom nobody needs', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(5), fc.integer({ min: 0, max: 60 }), fc.boolean()), { maxLength: 200 }),
        (steps) => {
          const budget = small()
          const accounts = Array.from({ length: 6 }, (_, i) => budget.open(`${i % 3}`, `${i % 2}`))
          const held = [0, 0, 0, 0, 0, 0]
          for (const [who, bytes, takes] of steps) {
            const account = accounts[who]!
            if (!takes) {
              const given = Math.min(bytes, held[who]!)
              account.give(given)
              held[who]! -= given
            } else if (account.take(bytes) !== Verdict.REFUSE) held[who]! += bytes
            assert.equal(account.heldBytes, held[who])
          }
          const sum = held.reduce((a, b) => a + b)
          assert.equal(budget.heldBytes, sum)
          assert.equal(budget.heldByIdentity('0'), held[0]! + held[3]!)
          for (const account of accounts) account.close()
          for (const [who, account] of accounts.entries()) account.give(held[who]!)
          assert.equal(budget.heldBytes, 0)
          assert.equal(budget.holders, 0)
        },
      ),
    )
  })

  it('wakes who waits, in turn, when there is room for what each wants, and nobody who is gone', async () => {
    const budget = small()
    const holder = budget.open('a', '1')
    takeAll(holder)
    const woken: string[] = []
    const wait = (name: string, wantedBytes: number): ByteAccount => {
      const account = budget.open('a', '1')
      account.whenRoom(wantedBytes, () => woken.push(name))
      return account
    }
    const first = wait('first', 100)
    wait('second', 100)
    wait('paused', 0)
    wait('gone', 1).close()
    await sleep(20)
    assert.deepEqual(woken, [])
    holder.give(100)
    await sleep(20)
    assert.deepEqual(woken, ['first'])
    assert.equal(first.heldBytes, 100, 'what it wanted is taken for it')
    first.give(100)
    await sleep(20)
    assert.deepEqual(woken, ['first', 'second'])
    holder.give(holder.heldBytes)
    await sleep(20)
    assert.deepEqual(woken, ['first', 'second', 'paused'])
  })

  it('is derived from the memory there is, and fits a message in any', () => {
    for (const total of [96 * mb, 117 * mb, 512 * mb, 1024 * mb]) {
      const bounds = budgetBounds(total)
      const account = new BytesBudget(bounds).open('a', '1')
      assert.notEqual(account.take(16 * mb), Verdict.REFUSE)
      assert.ok(bounds.identityBytesMax <= total / 4 + 1)
      assert.ok(bounds.connectionBytesMax <= bounds.identityBytesMax)
    }
    assert.ok(budgetBounds().processBytesMax >= 96 * mb)
  })
})
