import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { systemClock } from '../base/clock.ts'
import { CertificateAuthority } from '../control/ca.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { credentialsOf } from '../mesh/credentials.ts'
import type { GatewayEndpoint, SidecarEndpoint } from '../mesh/endpoints.ts'
import type { Feed, PolicySnapshot } from '../mesh/feed.ts'
import type { MeshKey } from '../mesh/mesh-keys.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { Listeners } from './listeners.ts'
import { superviseWorkers } from './workers.ts'

const log = pino({ level: 'silent' })

class FakeFeed implements Feed {
  policy: PolicySnapshot = { revision: 1, source: 'one' }
  sidecars: readonly SidecarEndpoint[] = []
  gateways: readonly GatewayEndpoint[] = []
  keys: readonly MeshKey[] = [{ id: 1, key: Buffer.alloc(32, 1) }]
  credentials: Credentials
  readonly credentialsListeners = new Listeners<Credentials>(log)
  readonly policyListeners = new Listeners<PolicySnapshot>(log)
  readonly sidecarsListeners = new Listeners<readonly SidecarEndpoint[]>(log)
  readonly gatewaysListeners = new Listeners<readonly GatewayEndpoint[]>(log)
  readonly keysListeners = new Listeners<readonly MeshKey[]>(log)
  report: (() => ProxyReport) | undefined

  constructor(credentials: Credentials) {
    this.credentials = credentials
  }

  onCredentials = (callback: (value: Credentials) => void): (() => void) => this.credentialsListeners.add(callback)
  onPolicy = (callback: (value: PolicySnapshot) => void): (() => void) => this.policyListeners.add(callback)
  onSidecars = (callback: (value: readonly SidecarEndpoint[]) => void): (() => void) =>
    this.sidecarsListeners.add(callback)
  onGateways = (callback: (value: readonly GatewayEndpoint[]) => void): (() => void) =>
    this.gatewaysListeners.add(callback)
  onKeys = (callback: (value: readonly MeshKey[]) => void): (() => void) => this.keysListeners.add(callback)

  setReporter(make: () => ProxyReport): void {
    this.report = make
  }

  async stop(): Promise<void> {}
}

async function eventually(what: string, probe: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!probe()) {
    assert.ok(performance.now() < deadline, `waited too long for ${what}`)
    await sleep(20)
  }
}

describe('superviseWorkers', () => {
  let folder: string
  let credentials: Credentials

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-workers-'))
    const ca = await CertificateAuthority.open(folder, 'demo.local', systemClock)
    const minted = await ca.mint({ spiffeId: parseSpiffeId('spiffe://demo.local/ringfence/gateway/g1'), ttlMs: 60_000 })
    credentials = credentialsOf(minted.certificatePem, minted.keyPem, ca.bundlePem)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('feeds its workers, sums their reports, and puts a new one in the place of one that dies', async () => {
    const feed = new FakeFeed(credentials)
    const script = new URL('./workers.fixture.ts', import.meta.url)
    const workers = superviseWorkers({ count: 2, feed, script, log })
    try {
      await workers.ready
      const first = feed.report?.()
      assert.equal(first?.connections, 2)
      assert.equal(first?.policyRevision, 1)
      // No worker can serve yet.
      assert.equal(first?.advertise, undefined)
      assert.deepEqual(
        first?.listeners.map(({ address }) => address),
        ['1:1'],
      )
      const [row] = first?.traffic ?? []
      assert.deepEqual([row?.workload, row?.rule, row?.count], [credentials.spiffeId, 'one', 2])
      assert.deepEqual(feed.report?.().traffic, [])

      feed.policy = { revision: 2, source: 'two' }
      feed.policyListeners.call(feed.policy)
      feed.credentialsListeners.call(credentials)
      feed.keys = [{ id: 2, key: Buffer.alloc(32, 2) }, ...feed.keys]
      feed.keysListeners.call(feed.keys)
      feed.sidecarsListeners.call([{ name: 'n', spiffeId: 'x', address: '127.0.0.1', port: 1 }])
      feed.gateways = [{ name: 'g', spiffeId: 'y', address: '10.0.0.1', port: 9042 }]
      feed.gatewaysListeners.call(feed.gateways)
      await eventually('the news', () => {
        const report = feed.report?.()
        return (
          report?.policyRevision === 2 &&
          report.listeners[0]?.address === '2:2,1:1' &&
          report.sessions === 2 &&
          report.advertise?.[0]?.address === '10.0.0.1' &&
          report.dataCenter === 'dc1' &&
          report.upstreamConnections === 2
        )
      })

      const [victim] = workers.pids
      assert.ok(victim)
      process.kill(victim, 'SIGKILL')
      await eventually(
        'a new worker',
        () => workers.pids.length === 2 && !workers.pids.includes(victim) && feed.report?.().connections === 2,
      )
      // It starts with what is in force now, not with what was at the beginning.
      assert.equal(feed.report?.().policyRevision, 2)
      assert.equal(feed.report?.().listeners[0]?.address, '2:2,1:1')
    } finally {
      await workers.stop()
    }
    assert.deepEqual(workers.pids, [])
  })

  it('says when workers die before they are ready', async () => {
    const feed = new FakeFeed(credentials)
    const workers = superviseWorkers({
      count: 1,
      feed,
      script: join(folder, 'absent.ts'),
      log,
      env: { NODE_OPTIONS: '--no-warnings' },
    })
    await assert.rejects(workers.ready, /before it was ready/)
    await workers.stop()
  })
})
