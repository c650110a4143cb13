import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isOwnPermitFor, ownPermit } from './own-permit.ts'

const asked = [
  'STARTUP',
  'AUTH_RESPONSE',
  'REGISTER',
  'USE "shop"',
  'USE "it""s"',
  'SELECT schema_version FROM system.local',
  'SELECT host_id, data_center, rack, tokens FROM system.peers_v2',
  'SELECT * FROM system_schema.tables WHERE keyspace_name = ?',
  'SELECT * FROM system_virtual_schema.columns LIMIT 1',
  'SELECT "keyspace_name", writetime("id") FROM system_schema.views',
]

const never = [
  '',
  'EXECUTE',
  'BATCH',
  'PREPARE',
  'USE shop; DROP TABLE a.b',
  'USE "shop" "',
  'SELECT * FROM shop.items',
  'SELECT * FROM system.local; DROP TABLE a.b',
  'SELECT * FROM system_auth.roles',
  'SELECT * FROM system.size_estimates',
  "SELECT * FROM system_schema.tables WHERE keyspace_name = 'shop'",
  "SELECT 'x' FROM system_schema.tables",
  'INSERT INTO system.local (key) VALUES (?)',
]

describe('leave for the sidecar’s own questions', () => {
  for (const words of asked) {
    it(`is given for ${words}, and good for nothing else`, () => {
      const permit = ownPermit(words)
      assert.equal(isOwnPermitFor(permit, words), true)
      for (const other of [...asked, ...never].filter((each) => each !== words)) {
        assert.equal(isOwnPermitFor(permit, other), false)
      }
    })
  }

  for (const words of never) it(`is not given for "${words}"`, () => assert.throws(() => ownPermit(words), /list/))
})
