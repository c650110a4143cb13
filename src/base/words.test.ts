import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { describe, it } from 'node:test'
import { nearest } from './words.ts'

const letters = 'abC'
const someWord = (lengthMax: number): string =>
  Array.from({ length: randomInt(lengthMax + 1) }, () => letters[randomInt(letters.length)]).join('')

/** By the definition, with nothing left out. */
function distance(a: string, b: string, i = a.length, j = b.length): number {
  if (i === 0 || j === 0) return i + j
  const least = Math.min(
    distance(a, b, i - 1, j) + 1,
    distance(a, b, i, j - 1) + 1,
    distance(a, b, i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
  )
  const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
  return swapped ? Math.min(least, distance(a, b, i - 2, j - 2) + 1) : least
}

describe('the word that was probably meant', () => {
  it('is the first of those that are nearest, and none that is further than it may be', () => {
    let found = 0
    for (let round = 0; round < 1_500; round++) {
      const word = someWord(6)
      const candidates = Array.from({ length: 4 }, () => someWord(6))
      const near = candidates.map((one) => distance(word.toLowerCase(), one.toLowerCase()))
      const least = Math.min(...near)
      const expected = least <= (word.length <= 3 ? 1 : 2) ? candidates[near.indexOf(least)] : undefined
      assert.equal(nearest(word, candidates), expected, `${word}: ${candidates.join()}`)
      if (expected !== undefined) found++
    }
    assert.ok(found > 200)
  })

  it('is looked for among 100,000 in little time, of whatever lengths they are', () => {
    const word = `spiffe-demo-local-ns-shop-sa-${'x'.repeat(30)}-1`
    const kinds: Record<string, (at: number) => string> = {
      'as long, with the same beginning': (at) => `${word.slice(0, -6)}${String(at).padStart(6, '0')}`,
      'as long, and other from the first letter': (at) => `${String(at).padStart(6, '0')}${word.slice(6)}`,
      'as long, and other in the middle': (at) => `${word.slice(0, 30)}${String(at).padStart(6, '0')}${word.slice(36)}`,
      'much longer': (at) => `${word}${'y'.repeat(2_000)}${at}`,
    }
    for (const [name, made] of Object.entries(kinds)) {
      const candidates = Array.from({ length: 100_000 }, (_, at) => made(at))
      let least = Number.POSITIVE_INFINITY
      for (let round = 0; round < 3; round++) {
        const began = performance.now()
        assert.equal(nearest(word, candidates), undefined, name)
        least = Math.min(least, performance.now() - began)
      }
      // Some 100 on a machine that has nothing else to do, where all of each took seconds.
      assert.ok(least < 1_500, `${name}: ${least.toFixed(0)} ms`)
      assert.equal(nearest(word, [...candidates, word.replace('shop', 'shpo')]), word.replace('shop', 'shpo'))
    }
  })
})
