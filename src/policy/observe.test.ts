import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { access, cedar, engineOf, verdict } from './policy.fixture.ts'

const read = 'SELECT a FROM ks.t WHERE id = 1'
const all = access('all', { keyspaces: ['ks'], operations: ['ALL'] })
const deny = (mode: string, more: object = {}) =>
  access('deny', { effect: 'deny', mode, keyspaces: ['ks'], tables: ['t'], operations: ['SELECT'], ...more })

describe('mode: observe', () => {
  it('of a deny lets through what it alone would refuse, and says so', () => {
    assert.equal(verdict(engineOf(all, deny('enforce')), read), '-deny')
    assert.equal(verdict(engineOf(all, deny('observe')), read), '+all~deny')
    assert.equal(verdict(engineOf(all, deny('observe')), 'SELECT a FROM ks.u WHERE id = 1'), '+all')
    assert.equal(verdict(engineOf(deny('observe')), read), '-default-deny')
    const other = access('other', { effect: 'deny', keyspaces: ['ks'], operations: ['SELECT'] })
    assert.equal(verdict(engineOf(all, deny('observe'), other), read), '-other')
  })

  it('of a deny of one column, or of a part of what is dropped', () => {
    const column = engineOf(all, deny('observe', { columns: ['ssn'] }))
    assert.equal(verdict(column, 'SELECT a, ssn FROM ks.t WHERE id = 1'), '+all~deny')
    assert.equal(verdict(column, 'SELECT * FROM ks.t WHERE id = 1'), '+all~deny')
    assert.equal(verdict(column, read), '+all')
    assert.equal(verdict(engineOf(all, deny('observe', { operations: ['DROP'] })), 'DROP KEYSPACE ks'), '+all~deny')
  })

  it('of an allow lets through as observed only', () => {
    const trial = (mode: string) => access('trial', { mode, keyspaces: ['ks'], operations: ['READ'] })
    assert.equal(verdict(engineOf(trial('enforce')), read), '+trial')
    assert.equal(verdict(engineOf(trial('observe')), read), '+trial~trial')
    assert.equal(verdict(engineOf(trial('observe')), 'USE ks'), '+trial~trial')
    assert.equal(verdict(engineOf(trial('observe'), all), read), '+all')
    assert.equal(verdict(engineOf(trial('observe'), deny('enforce')), read), '-deny')
    assert.equal(verdict(engineOf(trial('observe'), deny('observe')), read), '+trial~trial,deny')
    const names = access('names', { keyspaces: ['ks'], tables: ['t'], columns: ['id', 'a'], operations: ['SELECT'] })
    assert.equal(verdict(engineOf(names, trial('observe')), 'SELECT a, b FROM ks.t WHERE id = 1'), '+names,trial~trial')
  })

  it('of a policy in Cedar, forbid or permit', () => {
    const forbid = '@id("f") forbid (principal, action, resource == Table::"ks.t");'
    assert.equal(verdict(engineOf(all, cedar('c', forbid)), read), '-f')
    assert.equal(verdict(engineOf(all, cedar('c', forbid, { mode: 'observe' })), read), '+all~f')
    const permit = 'permit (principal, action, resource in Keyspace::"ks");'
    assert.equal(verdict(engineOf(cedar('c', permit)), read), '+c')
    assert.equal(verdict(engineOf(cedar('c', permit, { mode: 'observe' })), read), '+c~c')
  })

  it('adds up over the statements of a BATCH', () => {
    const one = access('one', {
      effect: 'deny',
      mode: 'observe',
      keyspaces: ['ks'],
      tables: ['a'],
      operations: ['WRITE'],
    })
    const two = access('two', {
      effect: 'deny',
      mode: 'observe',
      keyspaces: ['ks'],
      tables: ['b'],
      operations: ['WRITE'],
    })
    const insert = (table: string) => `INSERT INTO ks.${table} (id) VALUES (1);`
    assert.equal(
      verdict(engineOf(all, one, two), `BEGIN BATCH ${insert('b')} ${insert('a')} ${insert('c')} APPLY BATCH`),
      '+all~two,one',
    )
  })
})
