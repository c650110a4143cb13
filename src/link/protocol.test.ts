import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { headerOpcode, headerVersion } from '../cql/protocol.ts'
import { Control, controlEnvelope, controlVersion, helloSchema, openSchema, readControl } from './protocol.ts'

const open = { passport: 'a.b.c', session: '0123456789abcdef', version: 4, events: [] }

describe('control messages of the mesh link', () => {
  it('come back as they were, and can be no CQL', () => {
    const envelope = controlEnvelope(Control.OPEN, { ...open, keyspace: 'orders' })
    assert.equal(headerVersion(envelope, 0), controlVersion)
    assert.equal(headerOpcode(envelope, 0), Control.OPEN)
    assert.deepEqual(readControl(openSchema, envelope), { ...open, keyspace: 'orders' })
  })

  const refused: Record<string, unknown> = {
    'a field nobody knows': { ...open, admin: true },
    'no passport': { session: '0123456789abcdef', version: 4, events: [] },
    'a session with another name': { ...open, session: 'DROP TABLE' },
    'a version that is not spoken': { ...open, version: 6 },
    'too many events': { ...open, events: Array.from({ length: 9 }, () => 'STATUS_CHANGE') },
    'a passport longer than passportBytesMax': { ...open, passport: 'x'.repeat(limits.passportBytesMax + 1) },
    'an array': [open],
    null: null,
  }
  for (const [name, body] of Object.entries(refused)) {
    it(`are refused with ${name}`, () => {
      const envelope = controlEnvelope(Control.OPEN, body)
      assert.throws(
        () => readControl(openSchema, envelope),
        (reason) => reason instanceof RingfenceError && reason.code === 'LINK',
      )
    })
  }

  it('are refused where they are not JSON', () => {
    const envelope = controlEnvelope(Control.HELLO, {})
    envelope[9] = 0x7d
    assert.throws(() => readControl(helloSchema, envelope), /not JSON/)
  })
})
