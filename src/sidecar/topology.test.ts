import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { asksOnlyTopology, namesTopology, rewritesAddresses } from './topology.ts'

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

describe('addresses in an answer', () => {
  const rewritten = [
    'SELECT inet_as_blob(coordinator) FROM system_traces.sessions',
    'SELECT "inet_as_blob"(coordinator) FROM system_traces.sessions',
    'SELECT system.inetAsBlob ( coordinator ) AS "x FROM y" FROM system_traces.sessions',
    'SELECT "a FROM b", blob_as_int(inet_as_blob(coordinator)) FROM system_traces.sessions',
    'SELECT mask_hash(coordinator) FROM system_traces.sessions',
    'SELECT mask_inner(cast(coordinator AS text), 3, 3) FROM system_traces.sessions',
    'SELECT token(peer) FROM system.peer_events',
    'SELECT JSON mask_hash(coordinator) FROM system_traces.sessions',
    'SELECT shop.f(coordinator) FROM system_traces.sessions',
    `SELECT ${'request, '.repeat(1000)}inet_as_blob(coordinator) FROM system_traces.sessions`,
  ]
  for (const text of rewritten) {
    it(`is not found again: ${text.slice(0, 90)}`, () => assert.ok(rewritesAddresses(factsOf(text))))
  }

  const plain = [
    'SELECT * FROM system_traces.sessions',
    'SELECT JSON * FROM system_traces.sessions',
    'SELECT coordinator, cast(coordinator AS text), (request) FROM system_traces.sessions',
    'SELECT count(*), max(duration), writetime(request) FROM system_traces.sessions WHERE session_id IN (?, ?)',
    'SELECT activity FROM system_traces.events WHERE session_id = ? AND event_id > minTimeuuid(?) ALLOW FILTERING',
    'SELECT now() FROM system.local',
  ]
  for (const text of plain) it(`is: ${text}`, () => assert.ok(!rewritesAddresses(factsOf(text))))
})
