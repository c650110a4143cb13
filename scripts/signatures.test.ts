import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { bytesAsThree, signatures } from './signatures.ts'

const root = join(import.meta.dirname, '..')

/** Beyond that a reader counts, and takes one for another. */
const parametersMax = 6
/** Decision 18 says why these are left. A lower number is better; none is added where an envelope is at hand. */
const bytesAsThreeMax = 125

describe('parameter lists', () => {
  const found = globSync('src/**/*.ts', { cwd: root }).flatMap((file) =>
    signatures(readFileSync(join(root, file), 'utf8')).map((signature) => ({ file, signature })),
  )

  it('have few parameters', () => {
    const long = found.filter(({ signature }) => signature.parameters.length > parametersMax)
    assert.deepEqual(
      long.map(({ file, signature }) => `${file}:${signature.line}`),
      [],
    )
  })

  it('hand on bytes as three parameters in few places, see decision 18', () => {
    const inProduction = found.filter(({ file }) => !/(\.(test|fixture|fuzz|corpus)\.ts|fixtures\.ts)$/.test(file))
    const count = inProduction.filter(({ signature }) => bytesAsThree(signature)).length
    assert.ok(count > bytesAsThreeMax / 2, 'they are found')
    assert.ok(count <= bytesAsThreeMax, `${count}, and ${bytesAsThreeMax} are known: take an Envelope, or a Request`)
  })

  it('are found in each of their forms', () => {
    for (const [code, count] of [
      ['function f(a: A, b: B): void {}', 2],
      ['function* f(\n  a: A,\n  b = 1,\n  ...c: C[]\n): void {}', 3],
      ['  constructor(a: A) {', 1],
      ['  #f({ a, b }: { a: A; b: B }, c?: C): void {', 2],
      ['  onFrame(a: Map<A, B>, b: (c: C, d: D) => E): void', 2],
      ['const f = async (a, b) => a', 2],
      ['readonly f: (a: A, b: B) => void', 2],
    ] as const)
      assert.equal(Math.max(...signatures(code).map(({ parameters }) => parameters.length)), count, code)
  })

  it('are none where something is called, asked or said', () => {
    for (const code of ['f(a, b)', 'if (a) {', 'while (a < b) {', '// f(a: A): B', `'f(a: A): B'`, 'a ? (b) : c'])
      assert.deepEqual(signatures(code), [], code)
  })

  it('hand on bytes as three whatever their names', () => {
    const isThree = (code: string): boolean => signatures(code).some(bytesAsThree)
    assert.ok(isThree('function f(one: O, buf: Buffer, at: number, end: number, two: T): void {}'))
    assert.ok(isThree('  f(\n    buffer: Buffer,\n    start: number,\n    end: number,\n  ): void {'))
    assert.ok(!isThree('function f(envelope: Envelope, start: number, end: number): void {}'))
    assert.ok(!isThree('function f(buffer: Buffer, at: number): void {}'))
  })
})
