/** That there is one way to the node is a property of the code, so the code is what this looks at. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { analyse } from '../cql/statement/analyse.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { isPermitOf, type Permit, PolicyEngine } from '../policy/engine.ts'
import { loadPolicy } from '../policy/load.ts'
import { isOwnPermitFor, type OwnPermit, ownPermit } from '../policy/own-permit.ts'
import { neutralRequest } from '../policy/request.ts'

const root = join(import.meta.dirname, '..')
const sources = globSync('**/*.ts', { cwd: root })
  .filter((file) => !/\.(test|fixture|fuzz)\.ts$/.test(file))
  .map((file) => ({ file, text: readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '') }))

const policy = `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/a }]
  keyspaces: [a]
  operations: [ALL]
`

/** Files in which the pattern stands, with how often. */
function uses(pattern: RegExp, within = ''): Record<string, number> {
  const found = sources
    .filter(({ file }) => file.startsWith(within))
    .map(({ file, text }) => [file, [...text.matchAll(pattern)].length] as const)
  return Object.fromEntries(found.filter(([, count]) => count > 0))
}

function permitted(): Permit {
  const engine = new PolicyEngine()
  engine.install(loadPolicy(policy, 'policy.yaml'), 1)
  const principal = { spiffeId: parseSpiffeId('spiffe://demo.local/svc/a') }
  const decision = engine.decide(principal, analyse('SELECT * FROM a.b'), neutralRequest, undefined)
  assert.ok(decision.kind === 'permit')
  return decision
}

describe('the way to the node', () => {
  it('is one function of a connection, which one function of a session calls', () => {
    assert.deepEqual(uses(/upstream\.send\(/g, 'sidecar'), { 'sidecar/dispatch.ts': 1 })
    // By `ask`, for what is the sidecar's own.
    assert.deepEqual(uses(/this\.send\(/g, 'sidecar/upstream.ts'), { 'sidecar/upstream.ts': 1 })
    assert.deepEqual(uses(/#outbox\.(write|send)\(/g, 'sidecar/upstream.ts'), { 'sidecar/upstream.ts': 1 })
    // Neither leaves its hands but to who writes what waits.
    assert.deepEqual(uses(/#outbox\b(?!\.|:| =)/g, 'sidecar/upstream.ts'), {})
    assert.deepEqual(uses(/[(,] ?this\.#socket\b(?!\.)/g, 'sidecar/upstream.ts'), { 'sidecar/upstream.ts': 2 })
    assert.deepEqual(uses(/#socket\.write\(/g, 'sidecar/upstream.ts'), {})
    assert.deepEqual(uses(/\bconnectToPeer\(|\bconnectTls\(|\btls\.connect\(/g, 'sidecar'), {
      'sidecar/upstream.ts': 1,
    })
  })

  it('is asked for by few, and by a permit', () => {
    const asking = Object.keys(uses(/\.ask\(/g, 'sidecar')).sort()
    assert.deepEqual(asking, [
      'sidecar/describe/descriptions.ts',
      'sidecar/node-handshake.ts',
      'sidecar/node.ts',
      'sidecar/schema/watch.ts',
    ])
    assert.deepEqual(Object.keys(uses(/\bownPermit\(/g)).sort(), ['policy/own-permit.ts', 'sidecar/upstream.ts'])
  })

  it('has permits of one maker', () => {
    assert.deepEqual(Object.keys(uses(/new Granted\(/g)), ['policy/engine.ts'])
    assert.deepEqual(Object.keys(uses(/new Own\(/g)), ['policy/own-permit.ts'])
    assert.deepEqual(uses(/\bas (unknown as )?(Own)?Permit\b/g), {})
  })

  it('lets no copy of a permit be one', () => {
    const permit = permitted()
    // @ts-expect-error what a spread makes lacks the private field
    const copy: Permit = { ...permit }
    assert.equal(isPermitOf(permit, 0, Date.now), true)
    assert.equal(isPermitOf(copy, 0, Date.now), false)
    assert.equal(isPermitOf(Object.create(permit), 0, Date.now), false)
    const own = ownPermit('STARTUP')
    // @ts-expect-error as above
    const ownCopy: OwnPermit = { ...own }
    assert.equal(isOwnPermitFor(own, 'STARTUP'), true)
    assert.equal(isOwnPermitFor(ownCopy, 'STARTUP'), false)
  })

  it('leads nobody from a permit to what makes one', () => {
    for (const permit of [permitted(), ownPermit('STARTUP')]) {
      assert.equal(permit.constructor, undefined)
      for (
        let each: object | null = permit;
        each !== null && each !== Object.prototype;
        each = Object.getPrototypeOf(each)
      )
        for (const key of Reflect.ownKeys(each)) {
          const value: unknown = Reflect.getOwnPropertyDescriptor(each, key)?.value
          assert.ok(typeof value !== 'function' || !/^class\b/.test(String(value)), String(key))
        }
    }
  })
})
