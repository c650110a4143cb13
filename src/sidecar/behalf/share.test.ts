/** What is a pair's own, and what it has with its workload, which could else have as many as it can name people. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { PolicyEngine } from '../../policy/engine.ts'
import { Judge } from '../judged.ts'

const spiffeId = parseSpiffeId('spiffe://td/svc/web')
const judge = new Judge(new PolicyEngine(), { view: { table: () => undefined } as never, epoch: 0 }, () => 0)

describe('a workload with a person behind it', () => {
  it('has statements of its own, and one share of the loop with the workload', () => {
    const workload = judge.identity({ spiffeId, key: 'w' })
    const alice = judge.behalf({ spiffeId, person: 'corp/alice', key: 'w+alice' }, workload)
    const bob = judge.behalf({ spiffeId, person: 'corp/bob', key: 'w+bob' }, workload)
    assert.equal(new Set([workload, alice, bob]).size, 3)
    assert.equal(judge.behalf({ spiffeId, person: 'corp/alice', key: 'w+alice' }, workload), alice)
    for (const pair of [alice, bob]) assert.equal(pair.share, workload.share)
    judge.read(alice, 'SELECT * FROM shop.items', '')
    assert.ok(judge.remembered(alice, 'SELECT * FROM shop.items', ''))
    for (const other of [workload, bob])
      assert.equal(judge.remembered(other, 'SELECT * FROM shop.items', ''), undefined)
    assert.notEqual(judge.identity({ spiffeId, key: 'x' }).share, workload.share)
  })
})
