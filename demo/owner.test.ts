import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../src/identity/spiffe.ts'
import { engineOf, verdict } from '../src/policy/policy.fixture.ts'
import { owner, ownerPolicy, strangersKeyspace } from './owner.ts'

const who = { spiffeId: parseSpiffeId(owner) }

describe('the owner of the test cluster', () => {
  it('may do everything in keyspaces of its own, and nothing in others', () => {
    const engine = engineOf(...ownerPolicy(['mine', 'test*']).split('---\n'))
    const asks = (text: string): string => verdict(engine, text, { as: who })
    for (const keyspace of ['mine', 'test1rf', 'test']) {
      for (const text of [
        `CREATE KEYSPACE ${keyspace} WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}`,
        `CREATE TABLE ${keyspace}.t (k int PRIMARY KEY)`,
        `INSERT INTO ${keyspace}.t (k) VALUES (1)`,
        `SELECT * FROM ${keyspace}.t`,
        `DROP KEYSPACE ${keyspace}`,
      ])
        assert.match(asks(text), /^\+owner/, text)
    }
    for (const keyspace of ['other', strangersKeyspace, 'system_auth'])
      assert.match(asks(`SELECT * FROM ${keyspace}.t`), /^-/, keyspace)
    assert.match(
      asks('SELECT * FROM system_traces.sessions WHERE session_id = 7b0c1d2e-0000-1000-8000-000000000000'),
      /^\+owner-reads-traces/,
    )
    assert.match(asks("CREATE ROLE r WITH PASSWORD = 'x'"), /^-/)
  })

  it('sees its own keyspaces and no others, also where all but the stranger’s are its own', () => {
    for (const [keyspaces, sees] of [
      [
        ['mine', 'test*'],
        ['mine', 'test2rf'],
      ],
      [['*'], ['mine', 'test2rf', 'other']],
    ] as const) {
      const visibility = engineOf(...ownerPolicy(keyspaces).split('---\n')).visibility(who)
      assert.equal(visibility.all, false)
      const seen = ['mine', 'test2rf', 'other', strangersKeyspace].filter((name) => visibility.keyspace(name))
      assert.deepEqual(seen, sees)
    }
  })

  it('is refused where a name is none', () => {
    for (const name of ['', 'Mine', 'a"b', 'a*b', ' a'])
      assert.throws(() => ownerPolicy([name]), /is not a keyspace's name/)
  })
})
