import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { printable } from './printable.ts'

const lastCodePoint = 0x10ffff

/** Said in another way than the code says it: by what may be seen. */
const seen = /^[\p{L}\p{N}\p{P}\p{S} ]$/u
const mark = /^\p{M}$/u
const ignorable = /^\p{Default_Ignorable_Code_Point}$/u
/** Counted among letters, marks and symbols by Unicode, and drawn as nothing. */
const blank = new Set([
  0x115f, 0x1160, 0x3164, 0xffa0, 0x2800, 0x13441, 0x13442, 0x16fe4, 0x1d159, 0x1107f, 0xfffc, 0xfffd,
])

function escapeOf(character: string): string {
  return [...Array(character.length).keys()]
    .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`)
    .join('')
}

describe('what people read of strangers', () => {
  it('shows every character of Unicode for what it is, or as an escape', () => {
    for (let point = 0; point <= lastCodePoint; point++) {
      const character = String.fromCodePoint(point)
      const isSeen = seen.test(character) && !ignorable.test(character) && !blank.has(point)
      const name = `U+${point.toString(16)}`
      assert.equal(printable(`a ${character}`), isSeen ? `a ${character}` : `a ${escapeOf(character)}`, name)
      // A mark is seen on a letter, and nowhere else.
      const onLetter = isSeen || (mark.test(character) && !ignorable.test(character) && !blank.has(point))
      assert.equal(printable(`a${character}`), onLetter ? `a${character}` : `a${escapeOf(character)}`, name)
    }
  })

  it('leaves names of people alone in any script', () => {
    for (const name of ['Zoë', 'Zoe\u0308', 'नमस्ते', 'สวัสดี', '山田太郎', 'محمد', '한글', '😀', 'ß–“x”']) {
      assert.equal(printable(name), name)
    }
  })

  it('lets no letter bear more marks than a line can hold', () => {
    assert.equal(printable(`a${'\u0301'.repeat(6)}`), `a${'\u0301'.repeat(4)}\\u0301\\u0301`)
  })

  it('takes little time for long texts of marks', () => {
    const before = process.cpuUsage()
    printable('a\u0301'.repeat(50_000))
    printable('\u0301'.repeat(50_000))
    assert.ok(process.cpuUsage(before).user < 500_000)
  })
})
