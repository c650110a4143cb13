import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import type { AdvertisedAddress, GatewayEndpoint } from '../mesh/endpoints.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'
import { Publisher } from './publisher.ts'
import { Registry } from './registry.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { AgentRow, Store } from './store.ts'

const log = pino({ level: 'silent' })
const idOf = (name: string): string => `spiffe://demo.local/ringfence/gateway/${name}`
const at = (address: string, port = 9042): AdvertisedAddress => ({ address, port })

function report(change: Partial<ProxyReport> = {}): ProxyReport {
  return {
    policyRevision: 0,
    connections: 0,
    sessions: 0,
    upstreamConnections: 1,
    listeners: [],
    traffic: [],
    ...change,
  }
}

/** A registry on a clock in the test's hand, and what it published its watchers of gateways. */
class ControlWithGateways {
  readonly path: string
  nowMs = 1_000_000
  published: string[] = []
  #store: Store
  registry: Registry

  constructor(path: string) {
    this.path = path
    this.#store = new SqliteStore(path)
    this.registry = this.#open()
  }

  restart(): void {
    this.#store.close()
    this.#store = new SqliteStore(this.path)
    this.registry = this.#open()
  }

  #open(): Registry {
    const clock = { now: () => this.nowMs, monotonic: () => this.nowMs }
    const publisher = new Publisher(log)
    const registry = new Registry(this.#store, clock, log, publisher)
    publisher.watch((line) => {
      const reading = pushedKinds.gateways.read(JSON.parse(line))
      if (reading.understood)
        this.published.push(
          reading.value.map(({ name, address, leaving }) => `${name}=${address}${leaving ? '!' : ''}`).join(),
        )
    }, 'gateway')
    return registry
  }

  report(name: string, change: Partial<ProxyReport>, ipAddresses: string[] = []): void {
    const agent: AgentRow = {
      spiffeId: idOf(name),
      role: 'gateway',
      name,
      ipAddresses,
      dnsNames: [],
      listenerIdentities: [],
    }
    this.#store.putAgent(agent, this.nowMs)
    this.registry.takeReport(agent, this.nowMs + 3_600_000, report(change))
  }

  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.nowMs += 1_000
      this.registry.sweep()
    }
  }

  takePublished(): string[] {
    return this.published.splice(0)
  }

  close(): void {
    this.#store.close()
  }
}

describe('the gateways that live', () => {
  let folder: string
  let count = 0
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-gateways-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function withControl(test: (control: ControlWithGateways) => void): void {
    const control = new ControlWithGateways(join(folder, `${++count}.db`))
    try {
      test(control)
    } finally {
      control.close()
    }
  }

  it('are published when one comes, changes its addresses or leaves, and not again for every report', () =>
    withControl((control) => {
      assert.deepEqual(control.takePublished(), [''])
      control.report('a', { advertise: [at('10.0.0.1')] })
      control.report('b', { advertise: [at('10.0.0.2'), at('10.0.0.3')] })
      control.report('a', { advertise: [at('10.0.0.1')] })
      assert.deepEqual(control.takePublished(), ['a=10.0.0.1', 'a=10.0.0.1,b=10.0.0.2,b=10.0.0.3'])
      control.report('b', { advertise: [at('10.0.0.2')] })
      control.report('a', { advertise: [at('10.0.0.1')], draining: true })
      assert.deepEqual(control.takePublished(), ['a=10.0.0.1,b=10.0.0.2', 'a=10.0.0.1!,b=10.0.0.2'])
      control.report('a', { advertise: [at('10.0.0.1')], draining: true })
      assert.deepEqual(control.takePublished(), [])
      // Its last worker has ended.
      control.report('a', { draining: true })
      assert.deepEqual(control.takePublished(), ['b=10.0.0.2'])
      control.report('a', { advertise: [at('10.0.0.1')], draining: true })
      assert.deepEqual(control.takePublished(), [])
      // Started again.
      control.report('a', { advertise: [at('10.0.0.1')] })
      assert.deepEqual(control.takePublished(), ['a=10.0.0.1,b=10.0.0.2'])
      // Started again before it had ended, and then killed while it leaves.
      control.report('a', { advertise: [at('10.0.0.1')], draining: true })
      control.report('a', { advertise: [at('10.0.0.1')] })
      control.report('a', { advertise: [at('10.0.0.1')], draining: true })
      const leaving = 'a=10.0.0.1!,b=10.0.0.2'
      assert.deepEqual(control.takePublished(), [leaving, 'a=10.0.0.1,b=10.0.0.2', leaving])
      control.pass(10)
      control.report('b', { advertise: [at('10.0.0.2')] })
      control.pass(6)
      assert.deepEqual(control.takePublished(), ['b=10.0.0.2'])
    }))

  it('are not those that cannot serve yet, nor those of an older program that does not say', () =>
    withControl((control) => {
      control.takePublished()
      control.report('a', {})
      control.report('b', { advertise: [] })
      assert.deepEqual(control.takePublished(), [])
      assert.deepEqual(control.registry.gateways, [])
    }))

  it('lose one that falls silent after fifteen seconds, and not before', () =>
    withControl((control) => {
      control.report('a', { advertise: [at('10.0.0.1')] })
      control.report('b', { advertise: [at('10.0.0.2')] })
      control.takePublished()
      control.pass(10)
      control.report('b', { advertise: [at('10.0.0.2')] })
      control.pass(5)
      assert.deepEqual(control.takePublished(), [])
      control.pass(1)
      assert.deepEqual(control.takePublished(), ['b=10.0.0.2'])
    }))

  it('are known to a control plane that was started again, which gives everybody the same time to report', () =>
    withControl((control) => {
      control.report('a', { advertise: [at('10.0.0.1')], dataCenter: 'dc1', rack: 'r1' })
      control.report('b', { advertise: [at('10.0.0.2')] })
      const before = control.registry.gateways
      control.nowMs += 3_600_000
      control.restart()
      control.takePublished()
      assert.deepEqual(control.registry.gateways, before)
      control.report('a', { advertise: [at('10.0.0.1')], dataCenter: 'dc1', rack: 'r1' })
      control.pass(15)
      assert.deepEqual(control.takePublished(), [])
      control.report('a', { advertise: [at('10.0.0.1')], dataCenter: 'dc1', rack: 'r1' })
      control.pass(1)
      assert.deepEqual(control.takePublished(), ['a=10.0.0.1'])
    }))

  it('cannot draw drivers to addresses that their join token did not name, where it named some', () =>
    withControl((control) => {
      control.takePublished()
      control.report('a', { advertise: [at('203.0.113.66')] }, ['10.0.0.1'])
      assert.deepEqual(control.takePublished(), [])
      control.report('a', { advertise: [at('10.0.0.1'), at('203.0.113.66'), at('2001:db8::1')] }, [
        '10.0.0.1',
        '2001:DB8:0::1',
      ])
      assert.deepEqual(control.takePublished(), ['a=10.0.0.1,a=2001:db8::1'])
    }))

  it('are shown by status, with who is about to stop', () =>
    withControl((control) => {
      control.report('a', { advertise: [at('10.0.0.1')] })
      control.report('b', { advertise: [at('10.0.0.2')], draining: true })
      assert.deepEqual(
        control.registry.status().map(({ name, draining, advertise }) => ({ name, draining, advertise })),
        [
          { name: 'a', draining: false, advertise: [at('10.0.0.1')] },
          { name: 'b', draining: true, advertise: [] },
        ],
      )
      control.pass(16)
      assert.deepEqual(
        control.registry.status().map(({ draining, advertise }) => [draining, advertise]),
        [
          [false, []],
          [false, []],
        ],
      )
    }))
})

describe('what gateways know of each other', () => {
  const names = (gateways: readonly GatewayEndpoint[]): string =>
    gateways.map(({ name, leaving }) => `${name}${leaving ? '!' : ''}`).join()

  async function gateway(mesh: Mesh, name: string, address: string): Promise<Agent> {
    const agent = await mesh.agent(name, await mesh.token(idOf(name), 'gateway'), { role: 'gateway' })
    agent.setReporter(() =>
      report({ policyRevision: agent.value(pushedKinds.policy).current.revision, advertise: [at(address)] }),
    )
    return agent
  }

  it('comes within seconds, is published at once of one that stops in order, and stays while the control plane is away', (t) =>
    withMesh({}, async (mesh) => {
      const one = await gateway(mesh, 'g1', '10.0.0.1')
      await eventually('itself', () => names(one.value(pushedKinds.gateways).current) === 'g1')
      const startedMs = performance.now()
      const two = await gateway(mesh, 'g2', '10.0.0.2')
      await eventually('the second', () => names(one.value(pushedKinds.gateways).current) === 'g1,g2')
      const cameMs = performance.now() - startedMs
      assert.equal(one.value(pushedKinds.gateways).current[1]?.address, '10.0.0.2')

      const leftMs = performance.now()
      await two.leave()
      await eventually('the second leaves', () => names(one.value(pushedKinds.gateways).current) === 'g1,g2!')
      const wentMs = performance.now() - leftMs
      t.diagnostic(`came in ${Math.round(cameMs)} ms with its enrolment, went in ${Math.round(wentMs)} ms`)
      assert.ok(cameMs < 5_000 && wentMs < 1_000, `${cameMs} ms, ${wentMs} ms`)
      // Later reports say so too.
      await sleep(1_500)
      assert.equal(names(one.value(pushedKinds.gateways).current), 'g1,g2!')
      two.setReporter(() => report())
      await two.leave()
      await eventually('the second gone', () => names(one.value(pushedKinds.gateways).current) === 'g1')
      await two.stop()

      const third = await gateway(mesh, 'g3', '10.0.0.3')
      await eventually('the third', () => names(one.value(pushedKinds.gateways).current) === 'g1,g3')
      await one.stop()
      await mesh.control.stop()
      assert.equal(names(third.value(pushedKinds.gateways).current), 'g1,g3')
      const restarted = await mesh.agent('g1', undefined, { role: 'gateway' })
      assert.equal(names(restarted.value(pushedKinds.gateways).current), 'g1,g3')
      await mesh.restart()
      await third.leave()
      await eventually('the news', () => names(restarted.value(pushedKinds.gateways).current) === 'g1,g3!')
    }))

  it('holds nobody up who leaves while the control plane is away', () =>
    withMesh({}, async (mesh) => {
      const one = await gateway(mesh, 'g1', '10.0.0.1')
      await mesh.control.stop()
      const startedMs = performance.now()
      await one.leave()
      assert.ok(performance.now() - startedMs < 3_000)
      await mesh.restart()
    }))

  it('is taken from gateways only', () =>
    withMesh({}, async (mesh) => {
      const id = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'
      const sidecar = await mesh.agent('n1', await mesh.token(id, 'sidecar'))
      sidecar.setReporter(() => report({ advertise: [at('203.0.113.66')] }))
      await sidecar.leave()
      await sleep(1_200)
      const { proxies } = await mesh.admin.status()
      // It is there, and its report is refused.
      assert.equal(proxies[0]?.connected, true)
      assert.deepEqual(proxies[0]?.advertise, [])
      assert.deepEqual(sidecar.value(pushedKinds.gateways).current, [])
    }))
})
