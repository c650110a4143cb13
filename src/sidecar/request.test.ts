import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { queryEnvelope } from '../cql/encode.ts'
import { Opcode } from '../cql/protocol.ts'
import { Request, type RequestOwner, takeRequest } from './request.ts'

const session = { who: {} as never, notes: undefined }
const owner: RequestOwner = { onAnswer() {}, onUnfit() {}, onTimeout() {}, onLost() {}, onFault() {} }
const envelope = queryEnvelope(4, 9, 'SELECT * FROM a.b')

function arrived(): Request {
  const buffer = Buffer.concat([Buffer.from('xyz'), envelope])
  return takeRequest().arrive(session, owner, buffer, 3, buffer.length)
}

/** The first that is taken after it was over. */
function next(request: Request): Request {
  request.over()
  return takeRequest()
}

describe('a request', () => {
  it('knows of its envelope what the header says', () => {
    const { opcode, stream, byteCount, bytesIn } = arrived()
    assert.deepEqual([opcode, stream, byteCount, bytesIn], [Opcode.QUERY, 9, envelope.length, envelope.length])
  })

  it('is used again when it is over, and holds nothing of the one before', () => {
    const request = arrived()
    request.known = new Map()
    request.text = 'a secret'
    request.rewrite(Buffer.from('other bytes'))
    request.setAnswer(Buffer.from('an answer'), 0, 9)
    request.message = 'a message'
    request.rows = 7
    request.carrier = {} as never
    request.judged = {} as never
    request.permit = {} as never
    request.denial = {} as never
    request.given = Buffer.alloc(1)
    request.batchVerdict = {} as never
    request.params = {} as never
    request.bound = {} as never
    request.pin = {} as never
    request.account = {} as never
    request.whenOver = () => {}
    const again = next(request)
    assert.equal(again, request)
    const empty = new Request()
    for (const [field, value] of Object.entries(again)) {
      if (typeof value === 'object' || typeof value === 'string' || typeof value === 'function') {
        assert.deepEqual(value, (empty as unknown as Record<string, unknown>)[field], field)
      }
    }
  })

  it('is not used again where something else may hold it', () => {
    const held = arrived()
    held.hold()
    const kept = arrived()
    kept.kept = true
    const cameBack = arrived()
    cameBack.cameBack(envelope)
    for (const request of [held, kept, cameBack]) assert.notEqual(next(request), request)
  })

  it('has bytes of its own when it is held, borrowed ones before', () => {
    const buffer = Buffer.from(envelope)
    const request = takeRequest().arrive(session, owner, buffer, 0, buffer.length)
    assert.equal(request.bytes, buffer)
    request.hold()
    buffer.fill(0)
    assert.deepEqual(request.view(), envelope)
  })

  it('is served again as it came, with nothing that was decided on it', () => {
    const request = arrived()
    request.rewrite(Buffer.from('for the node'))
    request.permit = {} as never
    request.denial = {} as never
    request.restart()
    assert.deepEqual(request.view(), envelope)
    assert.equal(request.decision, undefined)
  })
})
