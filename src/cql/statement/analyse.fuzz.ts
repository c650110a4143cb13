/** Properties of the analyser over arbitrary text; `node src/cql/statement/analyse.fuzz.ts` runs them for long. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { RingfenceError } from '../../base/errors.ts'
import { analyse } from './analyse.ts'
import { lex } from './lexer.ts'
import { invalid, valid } from './statement.corpus.ts'

const texts = [...valid.map(([text]) => text), ...invalid]
const pieces = [...new Set(texts.flatMap(wordsOf)), ...`' " $$ -- // /* */ \\ \0 \u212a \ufeff`.split(' '), '\n', '\r']

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join(' ')),
  fc.tuple(fc.constantFrom(...texts), fc.nat(), fc.constantFrom(...pieces)).map(([text, at, piece]) => {
    const place = at % (text.length + 1)
    return text.slice(0, place) + piece + text.slice(place)
  }),
)

const gap = fc.constantFrom(
  ' ',
  '\t',
  '\n',
  '\r',
  '\r\n',
  '/**/',
  '/* /* */',
  "/* ' */",
  '--\n',
  '-- "\r',
  '//$$\n',
  '// x\r',
)

export const properties: readonly { readonly claim: string; readonly check: (runs: number) => void }[] = [
  {
    claim: 'arbitrary text ends in facts or in a RingfenceError, never in anything else',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyText, (text) => {
          try {
            assert.ok(analyse(text).verb.length > 0)
          } catch (reason) {
            if (!(reason instanceof RingfenceError)) throw reason
            assert.ok(reason.code === 'SYNTAX' || reason.code === 'INVALID')
          }
        }),
        { numRuns: numRuns * 10 },
      ),
  },
  {
    claim: 'comments and white space between the tokens change no fact',
    check: (numRuns) =>
      fc.assert(
        fc.property(fc.constantFrom(...valid), fc.array(gap, { minLength: 1, maxLength: 8 }), ([text], gaps) => {
          const words = wordsOf(text)
          const spaced = words.map((word, at) => ` ${gaps[at % gaps.length]}${word}`).join('')
          assert.deepEqual(analyse(spaced), analyse(words.join(' ')))
        }),
        { numRuns },
      ),
  },
  {
    claim: 'every prefix of a statement is refused or understood, and costs no crash',
    check: (numRuns) =>
      fc.assert(
        fc.property(fc.constantFrom(...valid), fc.nat(), ([text], at) => {
          try {
            analyse(text.slice(0, at % text.length))
          } catch (reason) {
            assert.ok(reason instanceof RingfenceError)
          }
        }),
        { numRuns },
      ),
  },
]

/** The tokens of a text as it stands; the text itself where it cannot be lexed. */
function wordsOf(text: string): string[] {
  try {
    const { count, starts, ends } = lex(text)
    return Array.from({ length: count }, (_, at) => text.slice(starts[at], ends[at]))
  } catch {
    return [text]
  }
}

if (import.meta.main) {
  for (const { claim, check } of properties) {
    check(20_000)
    console.log(`held: ${claim}`)
  }
}
