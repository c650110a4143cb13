import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import { lex } from './lexer.ts'
import { kindName, T } from './tokens.ts'

describe('tokens', () => {
  it('stand at their places, without comments and white space', () => {
    const { count, kinds, starts, ends, text } = lex('a /* x */ \'b\'\'c\'--\n"d""e"')
    assert.equal(count, 3)
    assert.deepEqual([...kinds.slice(0, 4)], [T.IDENT, T.STRING, T.QUOTED_NAME, T.EOF])
    assert.deepEqual(
      [0, 1, 2].map((at) => text.slice(starts[at], ends[at])),
      ['a', "'b''c'", '"d""e"'],
    )
  })

  it('tell keywords from names by ASCII letters of either case', () => {
    assert.deepEqual(kindsOf('select SeLeCt selects SELECT_MASKED selecT_ table columnfamily schema true NaN'), [
      'SELECT',
      'SELECT',
      'name',
      'SELECT_MASKED',
      'name',
      'COLUMNFAMILY',
      'COLUMNFAMILY',
      'SCHEMA',
      'boolean',
      'float',
    ])
  })

  // Each was tried on Cassandra's lexer.
  const numbers: readonly (readonly [string, string])[] = [
    ['1', 'integer'],
    ['-1', 'integer'],
    ['1.', 'float'],
    ['1.5E-3', 'float'],
    ['1e5', 'float'],
    ['1..2', 'integer symbol integer'],
    ['1...2', 'float symbol integer'],
    ['.5', 'symbol integer'],
    ['a -1', 'name integer'],
    ['0x', 'hex literal'],
    ['0XcafeG', 'hex literal name'],
    ['-0x1', 'integer name'],
    ['1h', 'duration'],
    ['1y2mo3w4d5h6m7s8ms9us1µs2ns', 'duration'],
    ['1hx', 'duration name'],
    ['P1Y2M3DT4H5M6S', 'duration'],
    ['-PT5M', 'duration'],
    ['P3W', 'duration'],
    ['P2020-01-02T03:04:05', 'duration'],
    ['p1y', 'name'],
    ['P1YX', 'name'],
    ['123e4567-e89b-12d3-a456-426614174000', 'uuid'],
    ['deadbeef-e89b-12d3-a456-426614174000', 'uuid'],
    ['deadbeef - 1', 'name symbol integer'],
    ['-nan', 'float'],
    ['-Infinityx', 'float name'],
    ['expr(', 'symbol'],
    ['expr (', 'name symbol'],
    ['EXPR(', 'name symbol'],
  ]
  for (const [text, expected] of numbers) {
    it(`read ${text} as ${expected}`, () => assert.equal(kindsOf(text).join(' '), expected))
  }

  // ANTLR commits to a rule before it has matched, and then fails: these are not two tokens.
  for (const text of [
    '1e',
    '1e+',
    '7u',
    '1n',
    '1d2',
    '1h2x',
    '12345678-1',
    'deadbeef-',
    '8a',
    '-P',
    '-P1',
    '-name',
    '-ix',
    'P2020-1',
  ]) {
    it(`refuse ${text}`, () => assert.throws(() => lex(text), { code: 'SYNTAX', message: /^line 1:0 / }))
  }

  for (const text of [
    '!',
    '#',
    '&',
    '@',
    '_a',
    '`a`',
    '|',
    '~',
    '^',
    '\\',
    '$',
    '$a',
    "'",
    '"',
    '$$',
    "'a",
    '"a""',
    '$$a$',
    '\u00e9',
  ]) {
    it(`refuse ${JSON.stringify(text)}`, () => assert.throws(() => lex(text), { code: 'SYNTAX' }))
  }

  it('name line and column of what cannot be read', () => {
    assert.throws(() => lex('SELECT a\n  FROM #'), { message: 'line 2:7 unexpected character U+0023' })
  })
})

describe('bounds', () => {
  it('as many tokens as may be are cut, one more is refused by name', () => {
    const text = '('.repeat(limits.statementTokensMax)
    assert.equal(lex(text).count, limits.statementTokensMax)
    assert.throws(() => lex(`${text} (`), { code: 'INVALID', message: /statementTokensMax/ })
  })

  it('one character more is refused', () => {
    assert.throws(() => lex('('.repeat(limits.statementBytesMax + 1)), { code: 'INVALID' })
  })
})

function kindsOf(text: string): string[] {
  const { count, kinds } = lex(text)
  return Array.from({ length: count }, (_, at) => kindName(kinds[at]!))
}
