import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sessionName } from './session-name.ts'

describe('the name of a session', () => {
  it('is of sixteen hexadecimal digits, and no other has it', () => {
    // More than are drawn at a time.
    const names = Array.from({ length: 1000 }, sessionName)
    for (const name of names) assert.match(name, /^[0-9a-f]{16}$/)
    assert.equal(new Set(names).size, names.length)
  })
})
