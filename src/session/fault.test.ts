import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ErrorCode } from '../base/errors.ts'
import { AssertionError, RingfenceError } from '../base/errors.ts'
import { cqlFault } from './fault.ts'

describe('what a client is told of a fault', () => {
  const known: [ErrorCode, number, boolean][] = [
    ['PROTOCOL', 0x000a, true],
    ['VERSION', 0x000a, true],
    ['CHECKSUM', 0x000a, true],
    ['TOO_LARGE', 0x2200, false],
    ['SYNTAX', 0x2000, false],
    ['INVALID', 0x2200, false],
    ['UNAUTHORIZED', 0x2100, false],
    ['OVERLOADED', 0x1001, false],
    ['UNAVAILABLE', 0x1001, false],
    ['UPSTREAM', 0x0000, false],
  ]
  for (const [code, number, fatal] of known) {
    it(`${code} is 0x${number.toString(16)}${fatal ? ' and the end' : ''}`, () => {
      const fault = cqlFault(new RingfenceError(code, 'what happened'))
      assert.deepEqual(fault, { code: number, fatal, message: 'what happened', ours: false })
    })
  }

  it('says nothing of our own faults, and ends the connection', () => {
    for (const reason of [new TypeError('secret at 0x17'), new AssertionError('inside'), 'text', undefined]) {
      const fault = cqlFault(reason)
      assert.equal(fault.code, 0x0000)
      assert.equal(fault.message, 'internal error in the mesh')
      assert.ok(fault.fatal && fault.ours)
    }
  })
})
