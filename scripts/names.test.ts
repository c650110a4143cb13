/** Names that a newcomer knows. Words that are not the field's own stand in the glossary of ARCHITECTURE.md, or not at all. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const folders = '{src,test,bench,demo,scripts}'

/** Each was the name of something here that nobody could guess. */
const riddles = /^(?:laws?|desks?|lanes?|whereabouts)$/i

/** `dataLaw` has the words `data` and `law`. */
function wordsOf(name: string): string[] {
  return name.split(/[^A-Za-z]+|(?<=[a-z])(?=[A-Z])/)
}

/** Names that are declared, of whatever kind: variables, functions, types, fields, parameters. */
function declared(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*|'[^'\n]*'/g, '')
  const made = /\b(?:const|let|function|class|interface|type)\s+([\w$]+)|([\w$]+)\??:(?!:)|(?:^|[\s({,])#?(\w+)\(/gm
  return [...code.matchAll(made)].map(([, a, b, c]) => a ?? b ?? c ?? '')
}

describe('names', () => {
  it('are none that need to be explained first', () => {
    const found: string[] = []
    for (const file of globSync(`${folders}/**/*.{ts,mjs}`, { cwd: root })) {
      if (file.endsWith('names.test.ts')) continue
      if (wordsOf(file).some((word) => riddles.test(word))) found.push(file)
      for (const name of new Set(declared(readFileSync(join(root, file), 'utf8')))) {
        if (wordsOf(name).some((word) => riddles.test(word))) found.push(`${file}: ${name}`)
      }
    }
    assert.deepEqual(found, [])
  })

  it('are looked at wherever they are declared', () => {
    for (const code of [
      'const dataLaw = 1',
      'function lawOf() {}',
      'class TableLaw {}',
      'f(law: string)',
      '  readonly #lane: Lane',
    ]) {
      assert.ok(
        declared(code).some((name) => wordsOf(name).some((word) => riddles.test(word))),
        code,
      )
    }
    for (const code of ["const text = 'the law: of'", '// the law: of', 'const flaw = claws(outlawed)', 'lawful: 1'])
      assert.ok(!declared(code).some((name) => wordsOf(name).some((word) => riddles.test(word))), code)
  })
})
