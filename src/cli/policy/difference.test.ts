import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { differences } from './difference.ts'

const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: ${spec}\n---\n`

describe('differences of two policies', () => {
  const orders = document('AccessPolicy', 'orders', '{ tables: [a, b], operations: [READ] }')

  it('are none for another order, comments and another way of writing', () => {
    const role = document('Role', 'orders', '{ rules: [{ keyspaces: [a] }] }')
    const rewritten = role.replace(
      '{ rules: [{ keyspaces: [a] }] }',
      '\n  rules:\n    - keyspaces: # here\n        - a',
    )
    assert.deepEqual(differences(orders + role, rewritten + orders), [])
  })

  it('name documents by kind and name, and the keys that changed', () => {
    const role = document('Role', 'r', '{ rules: [{ keyspaces: [a], operations: [READ] }, { cluster: true }] }')
    const other = document('Role', 'r', '{ rules: [{ keyspaces: [b], operations: [READ] }, { cluster: true }] }')
    const changed = document('AccessPolicy', 'orders', '{ tables: [a], effect: deny, operations: [READ] }')
    assert.deepEqual(
      differences(orders + role + document('Role', 'gone', '{}'), document('Role', 'new', '{}') + changed + other),
      [
        { kind: 'Role', name: 'new', change: 'added', keys: [] },
        {
          kind: 'AccessPolicy',
          name: 'orders',
          change: 'changed',
          keys: [
            { key: 'spec.tables', before: ['a', 'b'], after: ['a'] },
            { key: 'spec.effect', before: undefined, after: 'deny' },
          ],
        },
        {
          kind: 'Role',
          name: 'r',
          change: 'changed',
          keys: [{ key: 'spec.rules[0].keyspaces', before: ['a'], after: ['b'] }],
        },
        { kind: 'Role', name: 'gone', change: 'removed', keys: [] },
      ],
    )
  })

  it('are all of a policy where there was none', () => {
    assert.deepEqual(
      differences('', orders).map(({ change }) => change),
      ['added'],
    )
  })
})
