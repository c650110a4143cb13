/** Without a mesh: variants mean what their statements mean, to our parser and to Cassandra's own, and there are enough of them. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { RingfenceError } from '../../../src/base/errors.ts'
import { analyse } from '../../../src/cql/statement/analyse.ts'
import type { StatementFacts } from '../../../src/cql/statement/facts.ts'
import { type Answer, Oracle, oracleMissing } from '../../oracle/oracle.ts'
import { attacks, people, rowIds } from './catalogue.ts'
import type { Variant } from './variants.ts'
import { styles, variantsOf } from './variants.ts'

const usualSeed = 4
const variants = variantsOf(usualSeed, 'run')
const valid = variants.filter(({ attack }) => attack.wanted !== 'INVALID')
const invalid = variants.filter(({ attack }) => attack.wanted === 'INVALID')

/** What a statement would do, without its own words; a batch is what is in it. */
function meaning(text: string, json: boolean): object {
  return bare(analyse(text), json)
}

function bare(facts: StatementFacts, json: boolean): object {
  const { redacted: _, selection, columnsUsed, children, ...rest } = facts
  const shown = json ? {} : { selection, columnsUsed }
  return { ...rest, ...shown, children: children.map((child) => bare(child, json)) }
}

/** The statement itself, wherever the form has put it. */
function meaningOf({ form, text }: Variant, json: boolean): object {
  return form === 'batch text' ? bare(analyse(text).children[1]!, json) : meaning(text, json)
}

describe('the corpus', () => {
  it('has several thousand variants of hundreds of statements, in each style and form', () => {
    const statements = attacks.reduce((sum, attack) => sum + attack.statements.length, 0)
    assert.ok(statements >= 300, `${statements} statements`)
    assert.ok(variants.length >= 2000 && variants.length <= 8000, `${variants.length} variants`)
    for (const style of styles) assert.ok(variants.filter((each) => each.style === style).length > 100, style)
    for (const form of ['query', 'prepare', 'batch', 'batch text'] as const) {
      assert.ok(variants.filter((each) => each.form === form).length > 100, form)
    }
  })

  it('is the same for the same seed, and another for another', () => {
    const texts = (seed: number): string[] => variantsOf(seed, 'run').map(({ text }) => text)
    assert.deepEqual(
      variants.map(({ text }) => text),
      texts(usualSeed),
    )
    assert.notDeepEqual(texts(usualSeed), texts(usualSeed + 1))
  })

  it('gives each variant a mark of its own, which its text or its values hold', () => {
    assert.equal(new Set(variants.map(({ mark }) => mark)).size, variants.length)
    for (const { text, mark, values } of variants) {
      const found = text.toLowerCase().includes(mark) || values.some((value) => value?.includes(mark))
      assert.ok(found || text.includes(`${mark}-beside`), text)
    }
  })

  it('names rows of the catalogue and identities of the policy', () => {
    for (const { row, who, statements, name } of attacks) {
      assert.ok(rowIds.includes(row), row)
      assert.ok(people.includes(who), who)
      assert.ok(statements.length > 0, name)
    }
    const names = attacks.map(({ row, name }) => `${row} ${name}`)
    assert.equal(new Set(names).size, names.length)
  })

  it('has both sides of each row: what is refused, and what is like it and passes', () => {
    const onlyRefused = new Set(['A5', 'A12', 'C6', 'C7', 'C8', 'C11', 'C13', 'C14', 'C15'])
    for (const row of new Set(attacks.map((attack) => attack.row))) {
      if (onlyRefused.has(row)) continue
      const wanted = new Set(attacks.filter((attack) => attack.row === row).map((attack) => attack.wanted))
      assert.ok(wanted.has('PASS'), row)
    }
  })
})

describe('a variant of a valid statement', () => {
  it('has the facts of the statement', () => {
    const others: string[] = []
    for (const variant of valid) {
      const json =
        /^SELECT (?!JSON\b)/.test(variant.plain) && variant.style === 'mixed' && variant.attack.exact !== true
      try {
        assert.deepEqual(meaningOf(variant, json), meaning(variant.plain, json))
      } catch (reason) {
        others.push(`${JSON.stringify(variant.text)}: ${(reason as Error).message}`)
      }
    }
    assert.deepEqual(others, [])
  })
})

describe('a variant of what is no statement', () => {
  it('is refused', () => {
    for (const { text } of invalid) {
      assert.throws(
        () => analyse(text),
        (reason) => reason instanceof RingfenceError && (reason.code === 'SYNTAX' || reason.code === 'INVALID'),
        JSON.stringify(text),
      )
    }
  })
})

const missing = oracleMissing()
const skip =
  missing !== undefined && process.env.CI !== 'true' ? `Cassandra's parser cannot be asked: ${missing}` : false

describe('Cassandra’s own parser', { skip }, () => {
  it('reads each variant as it reads the statement, and refuses what we refuse', async () => {
    assert.equal(missing, undefined)
    const oracle = new Oracle()
    try {
      const sent = await oracle.parse(variants.map(({ text }) => text))
      const plain = await oracle.parse(variants.map((variant) => plainOf(variant)))
      const others: string[] = []
      variants.forEach((variant, at) => {
        const [answer, wanted] = [sent[at]!, plain[at]!]
        const accepted = variant.attack.wanted !== 'INVALID'
        const same =
          answer.accepted && wanted.accepted && isDeepStrictEqual(meaningOfAnswer(answer), meaningOfAnswer(wanted))
        if (answer.accepted !== accepted || (accepted && !same)) others.push(JSON.stringify(variant.text))
      })
      assert.deepEqual(others, [])
    } finally {
      oracle.stop()
    }
  })
})

/** The plain spelling in the same form, which is another statement for Cassandra than the bare one. */
function plainOf({ form, mark, plain, attack }: Variant): string {
  if (form !== 'batch text') return plain
  const [same] = variantsOf(usualSeed, mark, [{ ...attack, statements: [plain], forms: ['batch text'] }])
  return same!.text.replaceAll(same!.mark, mark)
}

function meaningOfAnswer({ kind, tables, functions, columns }: Extract<Answer, { accepted: true }>): object {
  const sorted = (items: readonly unknown[]): string[] => items.map((item) => JSON.stringify(item)).sort()
  return { kind, tables: sorted(tables), functions: sorted(functions), columns: sorted(columns) }
}
