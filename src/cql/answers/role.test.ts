import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { errorEnvelope } from '../encode.ts'
import { wholeEnvelope } from '../envelope.ts'
import { CqlErrorCode, envelopeHeaderBytes, Flag, type ProtocolVersion, writeHeader } from '../protocol.ts'
import { readTracingId, readWarnings } from '../responses.fixture.ts'
import { readError } from '../responses.ts'
import { BodyWriter } from '../writer.ts'
import { withoutRoleName } from './role.ts'

/** What Cassandra 5.0 says to a role that may not. */
const texts = (role: string): readonly string[] => [
  `User ${role} has no SELECT permission on <table system.prepared_statements> or any of its parents`,
  `User ${role} has no MODIFY permission on <keyspace system_auth> or any of its parents`,
  `User ${role} has no EXECUTE permission on <function shop.f(int)> or any of its parents`,
  `User ${role} has no AUTHORIZE permission on <role ops> or any of its parents`,
  `User ${role} has no UNMASK nor SELECT_MASKED permission on <table shop.cards>`,
  `User ${role} does not have sufficient privileges to perform the requested operation`,
  `User ${role} is something that a later version says`,
]

describe('an error that names the mesh’s role', () => {
  it('does not name it, whatever the role is called', () => {
    for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
      for (const role of ['ringfence', 'mesh_42', 'a b', 'has no SELECT permission on', 'ＲＯＬＥ', 'x'.repeat(300)]) {
        for (const text of texts(role)) {
          const given = errorEnvelope(version, 7, CqlErrorCode.UNAUTHORIZED, text)
          const padded = Buffer.concat([Buffer.alloc(3, 0xee), given, Buffer.alloc(3, 0xee)])
          const changed = withoutRoleName({ bytes: padded, start: 3, end: 3 + given.length })
          assert.ok(changed !== undefined, text)
          const { code, message } = readError(wholeEnvelope(changed))
          assert.equal(code, CqlErrorCode.UNAUTHORIZED)
          assert.equal(changed.readInt16BE(2), 7)
          assert.equal(changed.readInt32BE(5), changed.length - envelopeHeaderBytes)
          if (!role.startsWith('has no')) assert.ok(!message.includes(role), message)
          const missing = /(<[^>]+>)/.exec(text)?.[1]
          if (missing !== undefined) assert.ok(message.includes(missing), message)
          assert.match(message, /^the node refuses this to the mesh/)
        }
      }
    }
  })

  it('is OVERLOADED where the role may not log in, for the client has shown the mesh good credentials', () => {
    for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
      for (const text of [
        'ringfence is not permitted to log in',
        'Provided username ringfence and/or password are incorrect',
      ]) {
        const given = errorEnvelope(version, 7, CqlErrorCode.BAD_CREDENTIALS, text)
        const changed = withoutRoleName(wholeEnvelope(given))!
        const { code, message } = readError(wholeEnvelope(changed))
        assert.equal(code, CqlErrorCode.OVERLOADED)
        assert.match(message, /^the node does not let the mesh log in: the operator/)
        assert.equal(changed.readInt32BE(5), changed.length - envelopeHeaderBytes)
      }
    }
  })

  it('keeps its tracing id and its warnings', () => {
    const [text] = texts('ringfence')
    const body = new BodyWriter()
      .raw(Buffer.alloc(16, 5))
      .short(1)
      .string('mind')
      .int(CqlErrorCode.UNAUTHORIZED)
      .string(text!)
    const envelope = body.envelope(0x84, 3, 0)
    writeHeader(envelope, 0x84, Flag.TRACING | Flag.WARNING, 3, 0, envelope.length - envelopeHeaderBytes)
    const changed = withoutRoleName(wholeEnvelope(envelope))!
    assert.equal(readTracingId(wholeEnvelope(changed)), readTracingId(wholeEnvelope(envelope)))
    assert.deepEqual(readWarnings(wholeEnvelope(changed)), ['mind'])
    assert.ok(!readError(wholeEnvelope(changed)).message.includes('ringfence'))
  })

  it('leaves other errors as they are', () => {
    for (const [code, text] of [
      [CqlErrorCode.UNAUTHORIZED, 'system keyspace is not user-modifiable.'],
      [CqlErrorCode.UNAUTHORIZED, 'Only superusers can create a role with superuser status'],
      [CqlErrorCode.INVALID, 'User x has no SELECT permission on <table a.b>'],
      [CqlErrorCode.SYNTAX_ERROR, "line 1:0 no viable alternative at input 'User'"],
    ] as const) {
      const given = errorEnvelope(4, 7, code, text)
      assert.equal(withoutRoleName(wholeEnvelope(given)), undefined, text)
    }
  })
})
