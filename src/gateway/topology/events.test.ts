import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { wholeEnvelope } from '../../cql/envelope.ts'
import { eventForClient } from './events.ts'

// Bytes as native_protocol_v4.spec §4.2.6 lays them out: header with stream −1 and opcode 0x0C, then [string]s.
const string = (text: string) => Buffer.concat([Buffer.from([text.length >> 8, text.length]), Buffer.from(text)])
const event = (...parts: readonly Buffer[]) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([0x84, 0, 0xff, 0xff, 0x0c, 0, 0, 0, body.length]), body])
}
const address = Buffer.from([4, 127, 0, 1, 1, 0, 0, 0x23, 0x52])
const pass = (bytes: Buffer) => eventForClient(wholeEnvelope(bytes))

describe('events from a node', () => {
  it('pass when they tell of the schema', () => {
    const created = event(...['SCHEMA_CHANGE', 'CREATED', 'TABLE', 'shop', 'orders'].map(string))
    assert.deepEqual(
      { ...pass(created), argTypes: [] },
      {
        type: 'SCHEMA_CHANGE',
        change: 'CREATED',
        target: 'TABLE',
        keyspace: 'shop',
        name: 'orders',
        argTypes: [],
      },
    )
  })

  it('are dropped when they tell of real nodes', () => {
    assert.equal(pass(event(string('STATUS_CHANGE'), string('UP'), address)), undefined)
    assert.equal(pass(event(string('TOPOLOGY_CHANGE'), string('NEW_NODE'), address)), undefined)
  })

  it('are faults when nobody knows what they tell', () => {
    assert.throws(() => pass(event(string('TABLET_CHANGE'), address)), { code: 'PROTOCOL' })
    assert.throws(() => pass(event(string('SCHEMA_CHANGE'), string('CREATED'))), { code: 'PROTOCOL' })
  })
})
