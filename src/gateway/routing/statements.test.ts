import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import type { GatewayLink } from '../link.ts'
import { Statement, StatementTables } from './statements.ts'

const link = (sidecarIndex: number, serial: number): GatewayLink => ({ sidecarIndex, serial }) as GatewayLink
const keyed = { keyspace: 'shop', table: 'items', reads: true, key: undefined }

function statement(number: number, bytes = 100, inForce?: string): Statement {
  const id = Buffer.alloc(16)
  id.writeUInt32BE(number, 12)
  return new Statement(id, Buffer.alloc(bytes), inForce, keyed)
}

describe('where a statement is prepared', () => {
  it('is known by the link, not by the sidecar: a new link may lead to another process', () => {
    const one = statement(1)
    one.nowOn(link(2, 10))
    assert.equal(one.isOn(link(2, 10)), true)
    assert.equal(one.isOn(link(2, 11)), false)
    assert.equal(one.isOn(link(1, 10)), false)
    one.nowOn(link(2, 11))
    assert.equal(one.isOn(link(2, 10)), false)
    one.forget(link(2, 11))
    assert.equal(one.isOn(link(2, 11)), false)
  })

  it('it is given to a sidecar by one request at a time, and not again at once where it was refused', () => {
    const one = statement(1)
    const there = link(0, 5)
    assert.equal(one.mayPrepare(there, '', 0), true)
    one.preparing(there)
    assert.equal(one.mayPrepare(there, '', 0), false)
    assert.equal(one.mayPrepare(link(0, 6), '', 0), true)
    one.refused(there, 1000)
    assert.equal(one.mayPrepare(there, '', 2000), false)
    assert.equal(one.mayPrepare(there, '', 6_000_000), true)
    one.preparing(there)
    one.nowOn(there)
    assert.equal(one.isOn(there), true)
  })

  it('an unqualified one means something in its keyspace only', () => {
    const there = link(0, 5)
    assert.equal(statement(1, 1, 'shop').mayPrepare(there, 'shop', 0), true)
    assert.equal(statement(1, 1, 'shop').mayPrepare(there, 'play', 0), false)
    assert.equal(statement(1, 1, '').mayPrepare(there, 'play', 0), false)
    assert.equal(statement(1, 1, undefined).mayPrepare(there, 'play', 0), true)
  })
})

describe('the statements of identities', () => {
  it('are one table for an identity and version, whoever asks', () => {
    const tables = new StatementTables()
    const alice = tables.open('4 alice')
    tables.add(alice, statement(1))
    assert.equal(tables.open('4 alice').ids.size, 1)
    for (const other of ['5 alice', '4 bob', '4 __proto__']) assert.equal(tables.open(other).ids.size, 0)
  })

  it('are bounded in bytes: who has most of them loses his own', () => {
    const tables = new StatementTables()
    const [alice, bob] = [tables.open('4 alice'), tables.open('4 bob')]
    const bytes = 16 * 1024 * 1024
    tables.add(bob, statement(1, bytes))
    for (let i = 0; i < 3; i++) tables.add(alice, statement(i, bytes))
    assert.deepEqual([alice.ids.size, bob.ids.size], [3, 1], 'as many as may be')
    tables.add(bob, statement(2, 1))
    assert.deepEqual([alice.ids.size, bob.ids.size], [0, 2])
    tables.add(alice, statement(9, bytes))
    assert.deepEqual([alice.ids.size, bob.ids.size], [1, 2])
  })

  it('are forgotten with their identity when there are too many, unless it has a session', () => {
    const tables = new StatementTables()
    const idle = tables.open('4 idle')
    tables.add(idle, statement(1))
    tables.close(idle)
    const busy = tables.open('4 busy')
    tables.add(busy, statement(1))
    const come = (name: string): void => tables.close(tables.open(name))
    for (let i = 1; i < limits.statementTablesMax; i++) come(`4 other ${i}`)
    assert.equal(tables.open('4 idle').ids.size, 1, 'it is one of as many as may be')
    tables.close(idle)
    for (let i = 0; i < limits.statementTablesMax; i++) come(`4 another ${i}`)
    assert.equal(tables.open('4 busy').ids.size, 1)
    assert.equal(tables.open('4 idle').ids.size, 0)
  })
})
