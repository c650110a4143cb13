import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { ManualClock } from '../base/clock.fixture.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { Publisher } from './publisher.ts'
import { Registry } from './registry.ts'
import type { Store } from './store.ts'

const log = pino({ level: 'silent' })
const sidecar = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'
const other = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n2'
const endpoint = { name: 'n1', spiffeId: sidecar, address: '127.0.0.1', port: 9042 }
const report = { policyRevision: 0, connections: 0, sessions: 0, upstreamConnections: 0, listeners: [], traffic: [] }

function mesh() {
  const clock = new ManualClock()
  const store: Store = new MemoryStore()
  const publisher = new Publisher(log)
  const registry = new Registry(store, clock, log, publisher)
  for (const spiffeId of [sidecar, other]) {
    const agent = { spiffeId, role: 'sidecar' as const, name: spiffeId.slice(-2), ipAddresses: [], dnsNames: [] }
    store.putAgent(agent as never, clock.now())
    registry.takeReport(agent as never, clock.now() + 3_600_000, { ...report, endpoint: { ...endpoint, spiffeId } })
  }
  return { clock, store, registry, publisher }
}

describe('a proxy that is gone', () => {
  it('can be removed: it is shown no more, gateways are not told of it, and it is not enrolled', () => {
    const { clock, store, registry, publisher } = mesh()
    clock.advance(16_000)
    const told: string[][] = []
    publisher.value(pushedKinds.sidecars).observe((sidecars) => told.push(sidecars.map(({ spiffeId }) => spiffeId)))
    assert.equal(registry.removeProxy('n1'), sidecar)
    assert.deepEqual(
      registry.status().map(({ name }) => name),
      ['n2'],
    )
    assert.deepEqual(told.at(-1), [other])
    assert.equal(store.agent(sidecar), undefined)
    assert.ok(store.agent(other) !== undefined, 'its neighbour stays')
  })

  it('is not removed while it is connected, nor by a name that is none or of several', () => {
    const { clock, store, registry } = mesh()
    assert.throws(() => registry.removeProxy('n1'), { code: 'USAGE', message: 'n1 is connected' })
    assert.throws(() => registry.removeProxy('n9'), { code: 'USAGE', message: 'no proxy is called n9' })
    store.putAgent({ ...store.agent(other)!, name: 'n1' }, clock.now())
    clock.advance(16_000)
    assert.throws(() => registry.removeProxy('n1'), { code: 'USAGE', message: '2 proxies are called n1' })
    assert.equal(registry.removeProxy(other), other)
  })
})

describe('a proxy whose clock is off', () => {
  it('is shown with how far', () => {
    const { clock, store, registry } = mesh()
    registry.takeReport(store.agent(sidecar)!, clock.now(), { ...report, nowMs: clock.now() + 7_200_000 })
    assert.equal(registry.status().find(({ name }) => name === 'n1')?.clockSkewMs, 7_200_000)
  })
})
