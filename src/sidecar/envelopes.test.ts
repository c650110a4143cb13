import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { CqlErrorCode } from '../cql/protocol.ts'
import { readError } from '../cql/responses.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { timeoutEnvelope } from './envelopes.ts'
import type { Judged } from './judged.ts'

/** Cassandra's own bounds (`conf/cassandra.yaml` of 5.0), milliseconds. */
const nodeTimeoutsMs = {
  native_transport_timeout: 100_000,
  truncate_request_timeout: 60_000,
  range_request_timeout: 10_000,
  request_timeout: 10_000,
  read_request_timeout: 5_000,
  counter_write_request_timeout: 5_000,
  write_request_timeout: 2_000,
  cas_contention_timeout: 1_000,
}

describe('a request that the node does not answer', () => {
  it('is given up later than the node itself gives up anything', () => {
    for (const [name, ms] of Object.entries(nodeTimeoutsMs)) assert.ok(limits.requestTimeoutMs > ms, name)
  })

  /** The code that Cassandra has for each kind of statement; SERVER_ERROR where it has none. */
  const cases: readonly [string, number, string | undefined][] = [
    ['SELECT count(*) FROM a.b', CqlErrorCode.READ_TIMEOUT, undefined],
    ['INSERT INTO a.b (k) VALUES (1)', CqlErrorCode.WRITE_TIMEOUT, 'SIMPLE'],
    ['INSERT INTO a.b (k) VALUES (1) IF NOT EXISTS', CqlErrorCode.WRITE_TIMEOUT, 'CAS'],
    ['UPDATE a.b SET v = 1 WHERE k = 1', CqlErrorCode.WRITE_TIMEOUT, 'SIMPLE'],
    ['DELETE FROM a.b WHERE k = 1', CqlErrorCode.WRITE_TIMEOUT, 'SIMPLE'],
    ['BEGIN BATCH INSERT INTO a.b (k) VALUES (1) APPLY BATCH', CqlErrorCode.WRITE_TIMEOUT, 'BATCH'],
    ['TRUNCATE a.b', CqlErrorCode.TRUNCATE_ERROR, undefined],
    ['CREATE TABLE a.b (k int PRIMARY KEY)', CqlErrorCode.SERVER_ERROR, undefined],
    ['DROP KEYSPACE a', CqlErrorCode.SERVER_ERROR, undefined],
    ['USE a', CqlErrorCode.SERVER_ERROR, undefined],
    ['DESCRIBE KEYSPACES', CqlErrorCode.SERVER_ERROR, undefined],
  ]
  for (const [text, code, writeType] of cases) {
    it(text, () => {
      for (const version of [3, 4, 5] as const) {
        const envelope = timeoutEnvelope(version, 7, { facts: analyse(text) } as unknown as Judged, 6)
        const error = readError(wholeEnvelope(envelope))
        assert.equal(error.code, code)
        assert.equal('writeType' in error ? error.writeType : undefined, writeType)
      }
    })
  }
})
