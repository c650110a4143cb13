import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { escapedPieces, jsonPieces, pieceChars } from './json-pieces.ts'

describe('JSON in pieces', () => {
  const joined = (fields: Record<string, unknown>): string => [...jsonPieces(fields)].join('')

  it('is what JSON.stringify makes, whatever the value', () => {
    const unit = fc.constantFrom('a', '"', '\\', '\n', '\u0000', '\ud83d', '\ude00', '😀', 'é')
    const text = fc.string({ unit, maxLength: 200 })
    const value = fc.oneof(text, fc.jsonValue(), fc.constant(undefined), fc.array(fc.jsonValue(), { maxLength: 300 }))
    fc.assert(
      fc.property(fc.dictionary(text, value), (fields) => assert.equal(joined(fields), JSON.stringify(fields))),
      { numRuns: 300 },
    )
  })

  it('divides long strings, between two characters, and long lists', () => {
    for (const unit of ['a', '"', '😀', '\ud83d']) {
      for (const more of [-1, 0, 1, 2]) {
        const source = `${unit.repeat(Math.ceil((3 * pieceChars) / unit.length))}${'b'.repeat(3 + more)}`
        const pieces = [...escapedPieces(source)]
        assert.equal(`"${pieces.join('')}"`, JSON.stringify(source))
        for (const piece of pieces) assert.ok(piece.length <= 6 * (pieceChars + 1))
      }
    }
    const list = Array.from({ length: 1_000 }, (_, at) => ({ at }))
    assert.equal(joined({ list, none: [] }), JSON.stringify({ list, none: [] }))
    for (const piece of jsonPieces({ list })) assert.ok(piece.length < 2_000)
  })
})
