import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LineReader } from './lines.ts'

describe('LineReader', () => {
  it('gives the same lines however the text is cut, and skips only what is too long', () => {
    const lines = ['a', '', 'x'.repeat(10), 'x'.repeat(11), 'b', 'y'.repeat(500), 'é😀']
    const text = lines.map((line) => `${line}\n`).join('')
    for (let size = 1; size <= text.length; size++) {
      const read: string[] = []
      let tooLong = 0
      const reader = new LineReader(
        10,
        (line) => read.push(line),
        () => tooLong++,
      )
      for (let at = 0; at < text.length; at += size) reader.push(text.slice(at, at + size))
      assert.deepEqual(read, ['a', '', 'x'.repeat(10), 'b', 'é😀'], `pieces of ${size}`)
      assert.equal(tooLong, 2)
    }
  })
})
