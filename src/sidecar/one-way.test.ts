/** That there is one way to the node is a property of the code, so the code is what this looks at. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const sources = globSync('**/*.ts', { cwd: root })
  .filter((file) => !/\.(test|fixture|fuzz)\.ts$/.test(file))
  .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '') }))

/** Files in which the pattern stands, with how often. */
function uses(pattern: RegExp, within = ''): Record<string, number> {
  const found = sources
    .filter(({ file }) => file.startsWith(within))
    .map(({ file, text }) => [file, [...text.matchAll(pattern)].length] as const)
  return Object.fromEntries(found.filter(([, count]) => count > 0))
}

describe('the way to the node', () => {
  it('is one function of a connection, which one function of the session calls', () => {
    assert.deepEqual(uses(/\.forward\(/g, 'sidecar'), { 'sidecar/dispatch.ts': 1 })
    // `forward`, and `ask` for what is the sidecar's own.
    assert.deepEqual(uses(/this\.#send\(/g, 'sidecar/upstream.ts'), { 'sidecar/upstream.ts': 2 })
    assert.deepEqual(uses(/#outbox\.(write|send)\(/g, 'sidecar/upstream.ts'), { 'sidecar/upstream.ts': 1 })
    assert.deepEqual(uses(/\bconnectTls\(|\btls\.connect\(/g, 'sidecar'), { 'sidecar/upstream.ts': 1 })
  })

  it('asks for itself only about the node, its schema and its ring', () => {
    const asking = Object.keys(uses(/\.ask\(/g, 'sidecar')).sort()
    assert.deepEqual(asking, [
      'sidecar/describe/descriptions.ts',
      'sidecar/node.ts',
      'sidecar/schema/watch.ts',
      'sidecar/upstream.ts',
    ])
  })

  it('has permits of one maker', () => {
    assert.deepEqual(Object.keys(uses(/new Granted\(/g)), ['policy/engine.ts'])
    assert.deepEqual(uses(/\bas (unknown as )?Permit\b/g), {})
  })
})
