import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { loadPolicy } from './load.ts'
import { loadRouting } from './routing.ts'

const policy = (name: string, spec: string): string => `---
apiVersion: ringfence.dev/v1alpha1
kind: RoutingPolicy
metadata: { name: ${name} }
spec: ${spec}
`
const access = `---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: readers }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/RoutingPolicy }]
  keyspaces: [shop]
  operations: [READ]
`

/** The first complaint about a policy; undefined for a good one. */
function complaint(source: string): string | undefined {
  try {
    loadPolicy(source, 'p.yaml')
    return undefined
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError)
    return reason.message
  }
}

describe('RoutingPolicy', () => {
  it('says which reads are hedged, and after what time; the shortest of several counts', () => {
    const source = `${access}${policy('one', '{ keyspaces: [shop], tables: [items, "p*"], hedgeAfterMs: 50 }')}${policy('two', '{ keyspaces: ["*"], tables: [prices], hedgeAfterMs: 20 }')}`
    assert.equal(complaint(source), undefined)
    const rules = loadRouting(source)
    assert.equal(rules.hedgeAfterMs('shop', 'items'), 50)
    assert.equal(rules.hedgeAfterMs('shop', 'prices'), 20)
    assert.equal(rules.hedgeAfterMs('shop', 'orders'), 0)
    assert.equal(rules.hedgeAfterMs('play', 'items'), 0)
    assert.equal(rules.hedgeAfterMs('system', 'prices'), 0, 'a wildcard includes no system keyspace')
    assert.equal(rules.hedgeAfterMs('shop', '__proto__'), 0)
  })

  it('hedges nothing where there is none', () => {
    for (const source of ['', access, 'not: [yaml', `${access}# kind: RoutingPolicy\n`]) {
      assert.equal(loadRouting(source).hedgeAfterMs('shop', 'items'), 0)
    }
  })

  it('is refused where it could do nothing or makes no sense', () => {
    const good = '{ keyspaces: [shop], hedgeAfterMs: 50 }'
    assert.equal(complaint(access + policy('one', good)), undefined)
    for (const [spec, wanted] of [
      ['{ keyspaces: [], hedgeAfterMs: 50 }', /the list is empty/],
      ['{ keyspaces: [shop] }', /hedgeAfterMs/],
      ['{ keyspaces: [shop], hedgeAfterMs: 0 }', /at least 1/],
      ['{ keyspaces: [shop], hedgeAfterMs: 10001 }', /at most 10000/],
      ['{ keyspaces: [shop], hedgeAfterMs: 50, hedgeWrites: true }', /hedgeWrites/],
      ['{ keyspaces: [shop], tables: [], hedgeAfterMs: 50 }', /the list is empty/],
    ] as const) {
      assert.match(complaint(access + policy('one', spec)) ?? '', wanted, spec)
    }
    assert.match(complaint(access + policy('one', good) + policy('one', good)) ?? '', /the name "one" is taken/)
  })
})
