import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NamedRefusal } from '../mesh/refused-log-ins.ts'
import { fullReport } from '../mesh/report.fixture.ts'
import { eventually, withMesh } from './mesh.fixture.ts'
import { ownName, RememberedRefusals } from './refused-log-ins.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'
const row = (change: Partial<NamedRefusal>): NamedRefusal => ({
  cause: 'expired',
  words: 'the token expired 5 s ago',
  count: 1,
  firstMs: 1,
  lastMs: 1,
  ...change,
})

describe('who was refused', () => {
  const remembered = new RememberedRefusals()
  const rows = {
    alice: row({ address: '198.51.100.7', claimed: 'corp/alice', session: '0123456789abcdef', lastMs: 5 }),
    later: row({ address: '198.51.100.8', claimed: 'corp/alice', cause: 'audience', lastMs: 9 }),
    alicia: row({ address: '198.51.100.70', claimed: 'corp/alicia' }),
    bob: row({ address: '2001:db8::7', claimed: 'spiffe://demo.local/user/corp/bob' }),
    neighbour: row({ address: '2001:db8::8', claimed: 'corp/bobby' }),
    mapped: row({ address: '::ffff:203.0.113.5', claimed: 'spiffe://not an id', session: 'aaaa' }),
    orders: row({ address: 'unix', claimed: 'spiffe://demo.local/svc/orders' }),
    role: row({ claimed: 'arn:aws:iam::123456789012:role/etl', gateway: 'spiffe://demo.local/ringfence/gateway/g1' }),
  }
  remembered.take({ refusals: Object.values(rows) }, 'g1')
  const named = (who: string): string[] =>
    remembered.find(who).map((found) => {
      const { proxy, ...rest } = found
      assert.equal(proxy, 'g1')
      return Object.entries(rows).find(([, each]) => JSON.stringify(each) === JSON.stringify(rest))?.[0] ?? 'nobody'
    })

  for (const [who, found] of [
    ['198.51.100.7', ['alice']],
    ['::ffff:198.51.100.7', ['alice']],
    ['198.51.100.70', ['alicia']],
    ['198.51.100.9', []],
    ['2001:db8::7', ['bob']],
    ['2001:0DB8:0:0:0:0:0:7', ['bob']],
    ['2001:db8::', []],
    ['203.0.113.5', ['mapped']],
    ['corp/alice', ['later', 'alice']],
    ['spiffe://demo.local/user/corp/alice', ['later', 'alice']],
    ['corp/bob', ['bob']],
    ['spiffe://demo.local/user/corp/bob', ['bob']],
    ['spiffe://demo.local/svc/orders', ['orders']],
    ['spiffe://not an id', ['mapped']],
    ['arn:aws:iam::123456789012:role/etl', ['role']],
    ['0123456789abcdef', ['alice']],
    ['unix', ['orders']],
    ['corp/ali', []],
    ['alice', []],
    ['corp/*', []],
    ['undefined', []],
    ['expired', []],
  ] as const)
    it(`${who}: ${found.join(', ') || 'nobody'}`, () => assert.deepEqual(named(who), found))

  it('comes with the reports of proxies, by the name that the certificate has, and costs no other part', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const { advertise: _, ...report } = fullReport
      let made = 0
      agent.setReporter(() => {
        made++
        const refusals = [
          row({ claimed: 'corp/alice', proxy: 'another' }),
          row({ lastMs: Number.NaN, claimed: 'corp/eve' }),
        ]
        return { ...report, policyRevision: 0, ...(made === 1 ? { refusals, refusalsMissed: 2 } : { refusals: [] }) }
      })
      await eventually('the report', async () => (await mesh.admin.refusals('corp/alice')).refusals.length > 0)
      await eventually('more reports', () => made > 2)
      const { refusals, missed, sinceMs, nowMs } = await mesh.admin.refusals('corp/alice')
      assert.deepEqual(
        refusals.map(({ proxy, count }) => [proxy, count]),
        [['n1', 1]],
      )
      assert.ok(missed >= 2 && sinceMs <= nowMs)
      assert.deepEqual((await mesh.admin.refusals('corp/eve')).refusals, [])
      assert.equal((await mesh.admin.status()).proxies[0]?.connected, true)
    }))

  it('is told later where the control plane was away, and not twice', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const { advertise: _, refusals: __, refusalsMissed: ___, ...report } = fullReport
      let made = 0
      await mesh.control.stop()
      agent.setReporter(() => {
        made++
        return { ...report, policyRevision: 0, ...(made <= 2 ? { refusals: [row({ claimed: 'corp/alice' })] } : {}) }
      })
      await eventually('reports that nobody heard', () => made > 2)
      await mesh.restart()
      await eventually('the report', async () => (await mesh.admin.refusals('corp/alice')).refusals.length > 0)
      const before = made
      await eventually('two more', () => made > before + 1)
      assert.deepEqual(
        (await mesh.admin.refusals('corp/alice')).refusals.map(({ count }) => count),
        [2],
      )
    }))

  it('is remembered of the exchange of tokens too', async () => {
    const own = new RememberedRefusals(() => ({ refusals: [row({ claimed: 'corp/carol' })] }))
    assert.deepEqual(
      own.find('corp/carol').map(({ proxy }) => proxy),
      [ownName],
    )
  })
})
