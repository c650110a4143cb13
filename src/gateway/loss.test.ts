import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readyEnvelope } from '../cql/encode.ts'
import { lossOf, outcomeUnknown } from './loss.ts'

const link = { code: 'LINK', message: 'mesh link lost' }
const request = (stream: number): Buffer => readyEnvelope(4, stream)

describe('an upstream session that closed', () => {
  it('loses what was sent and not answered, and nothing that waited for a PREPARE', () => {
    const closed = { reason: link, inFlight: [1, 2, 3], unsent: [request(2)], alone: false }
    assert.deepEqual(lossOf(closed), { endsClient: false, lost: [1, 3] })
  })

  it('ends the client where something is lost and nothing is left to go on with', () => {
    const closed = { reason: link, inFlight: [1], unsent: [], alone: true }
    assert.equal(lossOf(closed).endsClient, true)
    assert.equal(lossOf({ ...closed, alone: false }).endsClient, false, 'another sidecar is left')
    assert.equal(lossOf({ ...closed, inFlight: [] }).endsClient, false, 'nothing is lost')
    assert.equal(lossOf({ ...closed, unsent: [request(1)] }).endsClient, false, 'it was not sent')
  })

  it('ends the client where every sidecar would say the same', () => {
    for (const code of ['IDENTITY', 'UNAUTHORIZED']) {
      assert.equal(lossOf({ reason: { code, message: '' }, inFlight: [], unsent: [], alone: false }).endsClient, true)
    }
  })

  it('is told by an error that drivers repeat only where that is safe', () => {
    assert.equal(outcomeUnknown('the node is gone').code, 'OVERLOADED')
  })
})
