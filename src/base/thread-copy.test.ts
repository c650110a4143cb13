import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Assembly, takeApart } from './thread-copy.ts'

/** Taken apart, copied as messages are, and put together. */
function copied(value: unknown): unknown {
  const { head, pieces } = takeApart(value)
  const assembly = new Assembly(structuredClone(head))
  for (const piece of pieces) assembly.put(structuredClone(piece))
  return assembly.value
}

/** Objects and lists, each once, as a message copies them. */
function nodesOf(value: unknown, seen = new Set<unknown>()): number {
  if (typeof value !== 'object' || value === null || seen.has(value)) return 0
  seen.add(value)
  if (value instanceof Uint32Array) return 1
  return Object.values(value).reduce<number>((sum, one) => sum + nodesOf(one, seen), 1)
}

const list = <T>(count: number, item: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => item(at))
const relation = (at: number) => ({ columns: [`c${at}`], operator: '=', values: [undefined, { marker: at }] })
const child = (_at: number, relations: number) => ({
  verb: 'INSERT',
  ttl: 5n,
  restrictions: list(relations, relation),
  children: [],
})

const shapes: Readonly<Record<string, () => unknown>> = {
  nothing: () => [],
  'a little': () => [{ facts: child(1, 3) }],
  'a long list of objects': () => [{ facts: child(1, 8_000) }],
  'a long list of lists': () => list(9_000, (at) => [at, [String(at)]]),
  'many names': () => ({ selection: list(60_000, (at) => (at % 2 === 0 ? undefined : `c${at}`)) }),
  'several lists that are long together': () =>
    Object.fromEntries(list(20, (at) => [`list${at}`, list(300, relation)])),
  'a long one inside each of many': () => ({ children: list(6, (at) => child(at, 3_000)) }),
  'one long one among many short ones': () => ({ children: list(3_000, (at) => child(at, at === 1_500 ? 9_000 : 1)) }),
  'the same few, many times': () => {
    const few = list(7, (at) => child(at, 4))
    return { children: list(20_000, (at) => few[at % few.length]) }
  },
  'the same many, many times': () => {
    const many = list(2_000, (at) => child(at, 2))
    return [{ facts: { children: list(10_000, (at) => many[(at * 7) % many.length]) } }]
  },
  'a long one that stands in its list twice': () => {
    const long = child(1, 6_000)
    return { children: [long, child(2, 1), long] }
  },
}

describe('a value that is copied in pieces', () => {
  for (const [name, make] of Object.entries(shapes)) {
    it(`is the same: ${name}`, () => {
      const value = make()
      assert.deepEqual(copied(value), value)
      assert.deepEqual(value, make(), 'it was not changed')
    })

    it(`has no large piece: ${name}`, () => {
      const { head, pieces } = takeApart(make())
      for (const part of [head, ...pieces]) assert.ok(nodesOf(part) <= 8_000, `${nodesOf(part)} objects at once`)
    })
  }

  it('is the same, whatever it is', () => {
    const { value: any } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.string(),
        fc.constant(undefined),
        fc.bigInt(),
        tie('list'),
        tie('record'),
      ),
      list: fc.array(tie('value')),
      record: fc.dictionary(fc.string(), tie('value'), { noNullPrototype: true }),
    }))
    fc.assert(
      fc.property(any, fc.integer({ min: 1, max: 2_000 }), (value, times) => {
        const many = { one: list(times, () => value), other: list(times, (at) => [at, structuredClone(value)]) }
        assert.deepEqual(copied(many), many)
      }),
      { numRuns: 20 },
    )
  })

  it('has once what stood in a list many times', () => {
    const [{ facts }] = copied(shapes['the same many, many times']!()) as [{ facts: { children: object[] } }]
    assert.equal(new Set(facts.children).size, 2_000)
  })
})
