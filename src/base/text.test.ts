import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cutMark, cutText } from './text.ts'

describe('cutText', () => {
  it('leaves what fits, marks what does not, and never ends in half a pair', () => {
    const letters = ['x', 'é', '漢', '😀', '\ud83d', '\ude00', '\u0000', '"']
    for (const letter of letters) {
      for (let count = 0; count <= 20; count++) {
        for (const lengthMax of [1, 2, 7, 8, 16, 17]) {
          const text = letter.repeat(count)
          const cut = cutText(text, lengthMax)
          assert.ok(cut.length <= lengthMax && cut.isWellFormed(), `${JSON.stringify(text)} to ${lengthMax}`)
          assert.equal(cut.endsWith(cutMark), text.length > lengthMax)
          if (text.length <= lengthMax) assert.equal(cut, text.toWellFormed())
          assert.equal(Buffer.from(cut).toString(), cut)
        }
      }
    }
  })
})
