import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { asksOnlyTopology, namesTopology } from './topology.ts'

const factsOf = (text: string) => resolveKeyspace(analyse(text), 'system')

describe('questions about the topology', () => {
  const asks = [
    'SELECT * FROM system.local',
    'SELECT peer FROM peers',
    'SELECT count(*) FROM system.peers_v2',
    "SELECT key FROM system.local WHERE key = 'local'",
    'SELECT JSON * FROM system.peers',
  ]
  for (const text of asks) it(`may be answered by a gateway: ${text}`, () => assert.ok(asksOnlyTopology(factsOf(text))))

  const others = [
    'SELECT * FROM shop.peers',
    'SELECT * FROM system.size_estimates',
    'SELECT * FROM system_schema.tables',
    'SELECT shop.f(peer) FROM system.peers',
    "UPDATE system.peers SET rack = 'r' WHERE peer = '127.0.0.1'",
    'TRUNCATE system.peers',
    'USE system',
    'DESCRIBE TABLE system.peers',
    'LIST ROLES',
  ]
  for (const text of others) {
    it(`may not: ${text}`, () => assert.ok(!asksOnlyTopology(factsOf(text))))
  }

  it('shows nothing of a node by the key alone', () => {
    assert.ok(!namesTopology(factsOf('SELECT key FROM system.local')))
    assert.ok(namesTopology(factsOf('SELECT key, rack FROM system.local')))
  })
})
