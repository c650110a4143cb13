import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import { properties } from './analyse.fuzz.ts'
import { analyse } from './analyse.ts'
import type { Access, StatementFacts } from './facts.ts'
import { invalid, valid } from './statement.corpus.ts'

describe('what a statement must be permitted', () => {
  for (const [text, verb, ...accesses] of valid) {
    it(text, () => {
      const facts = analyse(text)
      assert.equal(facts.verb, verb)
      assert.deepEqual(facts.accesses.map(inShort).sort(), [...accesses].sort())
    })
  }
})

describe('what Cassandra would not parse is a SYNTAX error with its place', () => {
  for (const text of invalid) {
    it(text, () => assert.throws(() => analyse(text), { code: 'SYNTAX', message: /^line \d+:\d+ / }))
  }
})

describe('facts beside the accesses', () => {
  it('name the target', () => {
    assert.deepEqual(target('SELECT * FROM "Ks"."T"'), ['Ks', 'T', false])
    assert.deepEqual(target('UPDATE t SET a = 1 WHERE k = 1'), [undefined, 't', true])
    assert.deepEqual(target('CREATE TABLE ks.t (a int PRIMARY KEY)'), ['ks', 't', false])
    assert.deepEqual(target('DROP KEYSPACE ks'), ['ks', undefined, false])
    assert.deepEqual(target('USE ks'), ['ks', undefined, false])
    assert.deepEqual(target('LIST ROLES'), [undefined, undefined, false])
  })

  it('list bind markers in order, repeated names too', () => {
    const { markers } = analyse('SELECT a FROM t WHERE k = ? AND b = :Ab AND c IN (:"Ab", :ab) AND d = {?: :x} LIMIT ?')
    assert.deepEqual(markers, [undefined, 'ab', 'Ab', 'ab', undefined, 'x', undefined])
  })

  it('give a batch its children, each with its own markers, and mark it conditional with any of them', () => {
    const facts = analyse(
      'BEGIN BATCH USING TIMESTAMP :ts INSERT INTO a.b (c) VALUES (?); UPDATE d SET e = :e WHERE k = ? IF f = ? APPLY BATCH',
    )
    assert.deepEqual(facts.markers, ['ts', undefined, 'e', undefined, undefined])
    assert.deepEqual(
      facts.children.map((child) => [child.verb, child.table, child.conditional, child.markers]),
      [
        ['INSERT', 'b', false, [undefined]],
        ['UPDATE', 'd', true, ['e', undefined, undefined]],
      ],
    )
    assert.equal(facts.children[0]!.redacted, 'INSERT INTO a.b(c) VALUES (?)')
    assert.equal(facts.conditional, true)
    assert.equal(facts.unqualified, true)
  })

  it('know the keyspace of a USE and nothing of the like elsewhere', () => {
    assert.equal(analyse('USE "Ks"').use, 'Ks')
    assert.equal(analyse('SELECT use2 FROM t').use, undefined)
  })
})

describe('properties', () => {
  for (const { claim, check } of properties) it(claim, () => check(300))
})

it('says nothing of a literal when it refuses', () => {
  for (const text of ["CREATE ROLE r WITH PASSWORD = 's3cret' 's3cret'", "SELECT * FROM t WHERE a = 1 's3cret'"]) {
    assert.throws(
      () => analyse(text),
      (reason) =>
        reason instanceof RingfenceError && !reason.message.includes('s3cret') && /string literal/.test(reason.message),
    )
  }
})

function target(text: string): [StatementFacts['keyspace'], StatementFacts['table'], boolean] {
  const { keyspace, table, unqualified } = analyse(text)
  return [keyspace, table, unqualified]
}

/** `SELECT table ks.t [a b]`, as in the corpus. */
function inShort({ permission, resource, columns }: Access): string {
  const listed =
    columns === '*' ? ' [*]' : columns.length > 0 || permission === 'SELECT' ? ` [${columns.join(' ')}]` : ''
  switch (resource.kind) {
    case 'cluster':
      return `${permission} cluster`
    case 'keyspace':
      return `${permission} keyspace ${resource.keyspace ?? '-'}`
    case 'table':
      return `${permission} table ${resource.keyspace ?? '-'}.${resource.table}${listed}`
    case 'function':
      return `${permission} function ${resource.keyspace ?? '-'}.${resource.name}`
    case 'role':
      return `${permission} role ${resource.role}`
  }
}
