import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { keptMessage } from './kept-messages.ts'
import { analyse } from './statement/analyse.ts'

/** Messages of Cassandra 5.0.9 that quote their input, as its classes make them; `@` is what the client sent. */
const quoting = [
  'Could not decode JSON string as a map: Unexpected character (@). (String was: @)',
  'Error decoding JSON value for m: Value @ is not a valid blob representation',
  'JSON values map contains unrecognized column: @',
  'Invalid STRING constant (@) for "age" of type int',
  "Unable to coerce '@' to a formatted date (long)",
  "Unable to make int from '@'",
  'Expected a long or a datestring representation of a date value, but got a String: @',
  "line 1:42 no viable alternative at input '@' ([SELECT] * '@')",
  "line 1:2 mismatched character '@' expecting set null",
  'Invalid number of values. Expecting 1 but got @',
  'Invalid list literal for l: value @ is not of type int',
  'Expected 8 or 0 byte long (@)',
  'marshaling error: @',
  'ttl is too large. requested (@) maximum (630720000)',
  'Partition @ has size 5, this exceeds the failure threshold of 4.',
  'Guardrail partition_size violated: Partition @ has size 5',
  "Scanned over 9 tombstones during query '@' (last scanned row token was @ and partion key was (@)); query aborted",
  'execution of ’ks.f[int]’ failed: java.lang.RuntimeException: @',
  'Unsupported null map key for column @',
  'Key length of @ is longer than maximum of 65535',
  'Batch too large: @',
  'Failed parsing statement: [@] reason: X @',
  'Prepared statement of size 9 bytes is larger than allowed maximum of 1 MB: @...',
  'Unexpected exception during request: @',
  '@',
  '@ is not permitted to log in',
  '@ keyspace is not user-modifiable.',
  'Bad hash @ for {"a": "@"}',
]
/** A canary in every disguise that a value may take: signs that open and close quotations, numbers, templates of messages. */
const canary = 'kanarienvogel'
const disguises = [
  canary,
  `'${canary}'`,
  `"\\"Mrs (Smith) diagnosed with ${canary}\\""`,
  `O'${canary}`,
  `a) ${canary} (b`,
  `$$${canary}$$`,
  `] ${canary}`,
  `: ${canary}`,
  ` in table ${canary} in table `,
  `line 1:1 no viable alternative at ${canary}`,
  `0x${Buffer.from(canary).toString('hex')}`,
  '4111111111111111',
  '٤١١١١١١١١١١١١١١١',
]
const traces = [canary, Buffer.from(canary).toString('hex'), '4111', '٤١١١']

describe('what is kept of an error', () => {
  it('is never anything that the client sent, whatever it looks like and wherever it stands', () => {
    for (const message of quoting) {
      for (const value of disguises) {
        const kept = keptMessage(0x2200, message.replaceAll('@', value))
        for (const trace of traces) assert.ok(!kept.includes(trace), `${message} with ${value}: ${kept}`)
      }
    }
  })

  it('is the same for all values, but for a length', () => {
    for (const message of quoting) {
      const kept = new Set(
        ['abc', "'x'", '(1)'].map((value) => keptMessage(0x2200, message.replaceAll('@', value)).replace(/\d+/, 'n')),
      )
      if (!message.startsWith('@')) assert.equal(kept.size, 1, message)
    }
  })

  it('says what went wrong where the message is known', () => {
    const known: readonly (readonly [string, string])[] = [
      ["line 1:42 no viable alternative at input 'x'", 'line ?:? no viable alternative at'],
      ['table shop.orders does not exist', 'table ? does not exist'],
      ["Keyspace 'x' does not exist", 'Keyspace ? does not exist'],
      [
        'Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. If',
        'Cannot execute this query as it might involve data filtering and thus may have unpredictable performance',
      ],
      ['Operation timed out - received only 0 responses.', 'Operation timed out - received only ? responses'],
      ['Cannot achieve consistency level QUORUM', 'Cannot achieve consistency level'],
      ['heldRequestsMax reached', 'heldRequestsMax reached'],
    ]
    for (const [message, kept] of known) assert.equal(keptMessage(0, message), kept)
    assert.equal(keptMessage(0x1100, 'hé'), 'WRITE_TIMEOUT: a text of 3 bytes, which is not kept')
    assert.equal(keptMessage(0x7777, ''), 'unknown error: a text of 0 bytes, which is not kept')
  })

  it('keeps no word of a statement that the mesh itself could not read', () => {
    for (const text of [
      `SELECT ${canary} ${canary}`,
      `SELECT * FROM t WHERE a = '${canary}`,
      `INSERT INTO t (a) VALUES (${canary}) ${canary}`,
      `CREATE ROLE r WITH PASSWORD ${canary}`,
      `${canary}`,
      `SELECT * FROM t WHERE a = 1 "${canary}"`,
      `DROP TABLE a.b.${canary}`,
      `CREATE TABLE t (a int PRIMARY KEY) WITH ${canary} = ${canary} ${canary}`,
    ]) {
      let message = ''
      try {
        analyse(text)
      } catch (reason) {
        message = reason instanceof Error ? reason.message : ''
      }
      assert.notEqual(message, '', text)
      const kept = keptMessage(0x2000, message)
      assert.ok(!kept.includes(canary), kept)
    }
  })
})
