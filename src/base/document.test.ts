import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { duration, parseDocuments, parseDuration } from './document.ts'
import { AssertionError, RingfenceError } from './errors.ts'
import { nearest } from './words.ts'

const shelf = z.strictObject({
  colours: z.array(z.enum(['red', 'green'])).min(1, 'the list is empty'),
  wait: duration.optional(),
  inner: z.strictObject({ depth: z.int() }).optional(),
  where: z.union([z.strictObject({ port: z.int() }), z.strictObject({ path: z.string() })]).optional(),
})
const schemas = new Map([['Shelf', shelf]])

const head = (kind = 'Shelf', name = 'one') =>
  `apiVersion: ringfence.dev/v1alpha1\nkind: ${kind}\nmetadata:\n  name: ${name}\n`

function problems(source: string): string[] {
  try {
    parseDocuments(source, 'f.yaml', schemas)
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError, String(reason))
    assert.equal(reason.code, 'CONFIG')
    return reason.message.split('\n')
  }
  return []
}

describe('parseDocuments', () => {
  it('reads several documents, with positions', () => {
    const source = `# first\n---\n${head()}spec:\n  colours: [red]\n  wait: 5m\n---\n${head('Shelf', 'two')}spec: {colours: [green, red]}\n---\n`
    const [one, two, ...rest] = parseDocuments(source, 'f.yaml', schemas)
    assert.deepEqual([one?.kind, one?.name, one?.spec], ['Shelf', 'one', { colours: ['red'], wait: 300_000 }])
    assert.deepEqual(one?.position(['spec', 'colours', 0]), { line: 8, column: 13 })
    assert.deepEqual(two?.position(['spec', 'colours', 1]), { line: 15, column: 25 })
    assert.deepEqual(two?.position(['spec', 'absent']), { line: 15, column: 7 })
    assert.deepEqual(rest, [])
  })

  it('reports every problem of every document, in order, each with its place and what is valid', () => {
    const source = `${head()}spec:\n  colour: [red]\n  wait: 5x\n---\n${head('Shelve')}spec: {}\n---\n${head()}spec:\n  colours: [rde, 1, {}]\n  inner: {deep: 1}\n  where: {port: high}\n`
    assert.deepEqual(problems(source), [
      'f.yaml:6:3: spec: unknown key "colour", did you mean "colours"? valid: colours, wait, inner, where',
      'f.yaml:7:9: spec.wait: "5x" is not a duration; write it like 30s, 5m or 1h',
      'f.yaml:10:7: unknown kind "Shelve", did you mean "Shelf"? valid: Shelf',
      'f.yaml:20:13: spec.colours[0]: unknown value "rde", did you mean "red"? valid: red, green',
      'f.yaml:20:18: spec.colours[1]: unknown value "1"; valid: red, green',
      'f.yaml:20:21: spec.colours[2]: expected one of red, green, found a map of keys',
      'f.yaml:21:10: spec.inner: missing key "depth"',
      'f.yaml:21:11: spec.inner: unknown key "deep"; valid: depth',
      'f.yaml:22:17: spec.where.port: expected a number, found the text "high"',
    ])
  })

  it('refuses what is missing or misplaced around the spec', () => {
    assert.deepEqual(problems(head()), ['f.yaml:1:1: missing key "spec"'])
    assert.deepEqual(problems('kind: Shelf\nspec: {colours: [red]}\n'), [
      'f.yaml:1:1: missing key "apiVersion"',
      'f.yaml:1:1: missing key "metadata"',
    ])
    assert.match(problems(`${head()}spec: {colours: [red]}\nstatus: {}\n`)[0]!, /^f\.yaml:6:1: unknown key "status"/)
    assert.match(
      problems(`${head('Shelf', '-x')}spec: {colours: [red]}\n`)[0]!,
      /^f\.yaml:4:9: metadata\.name: a name is/,
    )
    assert.match(problems(`${head('Shelf', '1')}spec: {colours: [red]}\n`)[0]!, /expected text, found 1$/)
    for (const source of ['', '---\n', '# nothing\n']) {
      assert.deepEqual(problems(source), ['f.yaml:1:1: the file holds no document; valid kinds are Shelf'])
    }
    assert.deepEqual(problems('- 1\n'), ['f.yaml:1:1: expected a map of keys, found a list'])
  })

  it('refuses what YAML lets slip: duplicate keys, tags, merge keys, __proto__', () => {
    assert.match(problems(`${head()}spec: {colours: [red], colours: [green]}\n`)[0]!, /:5:24: map keys must be unique/)
    assert.match(problems(`${head()}spec: {colours: !!js/function "x"}\n`)[0]!, /unresolved tag/)
    assert.match(problems(`${head()}spec: {colours: [red], <<: {wait: 5s}}\n`)[0]!, /unknown key "<<"/)
    assert.deepEqual(problems(`${head()}spec: {colours: [red], __proto__: {wait: 5s}}\n`), [
      'f.yaml:5:24: unknown key "__proto__"',
    ])
    assert.match(problems(`${head()}spec: {colours: [red], constructor: 1}\n`)[0]!, /unknown key "constructor"/)
  })

  it('tells of one fault of each kind in one run, in order, each in the words that it has alone', () => {
    const kinds: [string, RegExp][] = [
      ['  colours: [rde]', /spec\.colours\[0\]: unknown value "rde", did you mean "red"/],
      // The last of two equal keys counts.
      ['  wait: 5s', /map keys must be unique/],
      ['  wait: 5x', /spec\.wait: "5x" is not a duration/],
      ['  colour: [red]', /spec: unknown key "colour", did you mean "colours"/],
      ['  inner: {deep: 1}', /unknown key "deep"/],
      ['  where: {port: high}', /spec\.where\.port: expected a number/],
      ['  __proto__: {}', /unknown key "__proto__"/],
    ]
    const alone = (line: string) =>
      problems(
        `${head()}spec:\n${line.includes('colours') ? '' : '  colours: [red]\n'}${line === '  wait: 5s' ? `${line}\n` : ''}${line}\n`,
      )
    for (const [line, message] of kinds)
      assert.ok(
        alone(line).some((one) => message.test(one)),
        line,
      )
    const found = problems(
      `${head()}spec:\n${kinds.map(([line]) => `${line}\n`).join('')}---\n${head('Shelve')}spec: {}\n---\n${head()}spec: [\n`,
    )
    for (const [, message] of kinds)
      assert.ok(
        found.some((one) => message.test(one)),
        `${message}\n${found.join('\n')}`,
      )
    assert.ok(found.some((one) => /unknown kind "Shelve", did you mean "Shelf"/.test(one)))
    const places = found.map((one) => Number(/:(\d+):/.exec(one)?.[1]))
    assert.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    )
    assert.ok(Math.max(...places) > 15, 'a document that cannot be read costs the others nothing, and is told of')
    const many = problems(`${head()}spec:\n  colours: [${Array(80).fill('rde').join(', ')}]\n`)
    assert.equal(many.length, 51)
    assert.match(many.at(-1)!, /and 30 more problems$/)
  })

  it('checks what is well-formed though something else is not', () => {
    const seen: [number, boolean][] = []
    const check = (source: string) =>
      parseDocuments(source, 'f.yaml', schemas, ({ documents, complete }, found) => {
        seen.push([documents.length, complete])
        found.push({ ...documents[0]!.position(['spec', 'colours']), message: 'too red' })
      })
    const good = `${head()}spec: {colours: [red]}\n`
    assert.throws(() => check(good), { message: 'f.yaml:5:17: too red' })
    assert.throws(() => check(`${good}---\n${head()}spec: {colours: red}\n`), {
      message: /^f\.yaml:5:17: too red\nf\.yaml:11:17: spec\.colours: expected a list/,
    })
    assert.deepEqual(seen, [
      [1, true],
      [1, false],
    ])
  })

  it('takes __proto__ as the value that it is', () => {
    const [one] = parseDocuments(`${head('Shelf', '__proto__')}spec: {colours: [red]}\n`, 'f.yaml', schemas)
    assert.equal(one?.name, '__proto__')
  })

  it('survives hostile nesting and aliases that multiply', () => {
    assert.match(problems('['.repeat(100_000))[0]!, /nested too deeply/)
    const bomb = ['a: &a [1,1,1,1,1,1,1,1,1]']
    for (let i = 1; i < 12; i++) {
      const [name, before] = [String.fromCharCode(97 + i), String.fromCharCode(96 + i)]
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(',')}]`)
    }
    assert.deepEqual(problems(bomb.join('\n')), ['f.yaml:1:1: the aliases of this document expand to too much'])
  })

  it('finds no fault for the author to blame in a schema that is not strict: that one is ours', () => {
    const loose = new Map([['Shelf', z.strictObject({ inside: z.array(z.object({ a: z.string() })) })]])
    assert.throws(() => parseDocuments(head(), 'f.yaml', loose), AssertionError)
  })
})

it('parseDuration reads ms, s, m and h, and nothing else', () => {
  const read = ['250ms', '30s', '5m', '1h', '0s'].map(parseDuration)
  assert.deepEqual(read, [250, 30_000, 300_000, 3_600_000, 0])
  for (const text of ['', '5', 's', '5 s', '-5s', '1.5h', '5d', '1h30m', '9999999999s', '５s']) {
    assert.equal(parseDuration(text), undefined, text)
  }
})

it('nearest finds one slip of the finger, and does not guess further', () => {
  const words = ['keyspaces', 'tables', 'operations']
  assert.equal(nearest('keyspace', words), 'keyspaces')
  assert.equal(nearest('tabels', words), 'tables')
  assert.equal(nearest('OPERATIONS', words), 'operations')
  assert.equal(nearest('columns', words), undefined)
  assert.equal(nearest('x'.repeat(1_000_000), words), undefined)
})
