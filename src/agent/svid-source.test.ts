/** A proxy whose certificate comes from a Workload API: our own server is the other end here; `test/path/svid-from.test.ts` has others'. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { pino } from 'pino'
import { systemClock } from '../base/clock.ts'
import { OutsideAuthority } from '../control/authorities/outside.fixture.ts'
import { eventually, type Mesh, overHttps, withMesh } from '../control/mesh.fixture.ts'
import { type Credentials, credentialsVersion, makeKey } from '../mesh/credentials.ts'
import { readIfThere } from '../mesh/files.ts'
import { Observed } from '../mesh/observable.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { SvidSource, type SvidSourceOptions } from './svid-source.ts'
import { startWorkloadApi, type WorkloadApi } from './workload-api/server.ts'

const n1 = 'spiffe://demo.local/ringfence/sidecar/main/dc1/n1'
const silent = pino({ level: 'silent' })

describe('a proxy with the SVID of a Workload API', () => {
  let folder: string
  let socketPath: string
  let ca: OutsideAuthority
  let foreign: OutsideAuthority
  let served: Observed<Credentials>
  let api: WorkloadApi | undefined
  let lines: string[]
  const sources: SvidSource[] = []
  const stops: AbortController[] = []

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-sv-'))
    ca = await OutsideAuthority.make(folder, 'demo.local')
    foreign = await OutsideAuthority.make(folder, 'other.example')
  })
  beforeEach(async () => {
    lines = []
    socketPath = join(mkdtempSync(join(folder, 's-')), 'w.sock')
    served = new Observed(await svid(n1), credentialsVersion)
    await serve()
  })
  afterEach(async () => {
    for (const stop of stops.splice(0)) stop.abort()
    sources.splice(0)
    await api?.stop()
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  async function serve(): Promise<void> {
    api = await startWorkloadApi({ socketPath, mode: 0o600, credentials: served, clock: systemClock, log: silent })
  }

  function svid(id: string, by = ca): Promise<Credentials> {
    return by.svid(id)
  }

  function source(change: Partial<SvidSourceOptions> = {}): SvidSource {
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
    return new SvidSource({ role: 'sidecar', socketPath, clock: systemClock, random: () => 0, log, ...change })
  }

  /** Both ends know one another: the control plane by the roots of the socket, the proxy by those of a file. */
  function withSvids(test: (mesh: Mesh) => Promise<void>): Promise<void> {
    return withMesh({ rootsFrom: socketPath }, async (mesh) => {
      await eventually('its roots are trusted', async () =>
        (await mesh.admin.bundle()).bundlePem.includes(ca.bundlePem),
      )
      await test(mesh)
    })
  }

  async function proxy(mesh: Mesh, name = 'n1') {
    const controlRootsPem = (await mesh.admin.bundle()).bundlePem.replace(ca.bundlePem, '')
    return mesh.agent(name, undefined, { svidFrom: { socketPath, trustDomain: 'demo.local', controlRootsPem } })
  }

  it('is told, known and listed without a join token, takes each new SVID, and keeps no key on disk', () =>
    withSvids(async (mesh) => {
      const agent = await proxy(mesh)
      assert.equal(agent.credentials.current.certificatePem, served.current.certificatePem)
      agent.setReporter(() => ({ ...report, policyRevision: 0 }))
      const shown = async () => (await mesh.admin.status()).proxies[0]
      await eventually('it is connected', async () => (await shown())?.connected)
      assert.deepEqual([(await shown())?.name, (await shown())?.spiffeId], ['n1', n1])
      const [listed] = (await mesh.admin.agents(10)).agents
      assert.deepEqual([listed?.state, listed?.attestedBy, listed?.enrolledAtMs], ['active', 'outside', undefined])
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await eventually('the policy', () => agent.value(pushedKinds.policy).current.revision === 1)
      // A neighbour with a certificate of the mesh itself trusts both roots, and so does this one.
      const neighbour = await mesh.agent('n2', await mesh.token('spiffe://demo.local/ringfence/sidecar/n2', 'sidecar'))
      for (const { credentials } of [agent, neighbour])
        await eventually('both roots', () => credentials.current.bundlePem.includes(ca.bundlePem))

      const seen: string[] = []
      agent.credentials.observe(({ certificatePem }) => void seen.push(certificatePem))
      for (let i = 0; i < 5; i++) {
        const next = await svid(n1)
        served.set(next)
        await eventually('the next one', () => agent.credentials.current.certificatePem === next.certificatePem)
        assert.equal(agent.credentials.current.keyPem, next.keyPem)
        const { status } = await overHttps(mesh, agent.credentials.current, 'POST', '/v1/report', report)
        assert.ok(status < 300, `${status}`)
      }
      assert.ok(new Set(seen).size >= 5)
      assert.equal(agent.credentials.current.certificatePem, served.current.certificatePem)
      const bundle = (await mesh.admin.bundle()).bundlePem
      await eventually('roots are on disk', () => readIfThere(join(mesh.stateDir, '..', 'n1', 'roots.pem')) === bundle)
      const rootsFile = readFileSync(join(mesh.stateDir, '..', 'n1', 'roots.pem'), 'utf8')
      assert.doesNotMatch(rootsFile, /KEY/)
      assert.throws(() => readFileSync(join(mesh.stateDir, '..', 'n1', 'identity.json')), { code: 'ENOENT' })
    }))

  it('starts with what it was told while the control plane is away, and takes SVIDs after the socket was away', () =>
    withSvids(async (mesh) => {
      await (await proxy(mesh)).stop()
      await mesh.control.stop()
      const again = await mesh.agent('n1', undefined, { svidFrom: { socketPath } })
      // Of the control plane, from its own disk.
      assert.ok(again.credentials.current.bundlePem.length > ca.bundlePem.length)
      await api?.stop()
      const before = again.credentials.current
      served = new Observed(await svid(n1), credentialsVersion)
      await serve()
      await eventually('it came back', () => again.credentials.current.certificatePem !== before.certificatePem)
      assert.equal(again.credentials.current.certificatePem, served.current.certificatePem)
      await mesh.restart()
    }))

  it('is renewed by nobody here: a certificate of the mesh would be good for ever', () =>
    withSvids(async (mesh) => {
      await proxy(mesh)
      const orders = 'spiffe://demo.local/svc/orders'
      const own = (await mesh.agent('orders', await mesh.token(orders, 'workload'), { role: 'workload' })).credentials
      const renew = async (credentials: Credentials) =>
        overHttps(mesh, credentials, 'POST', '/v1/renew', { csrPem: (await makeKey()).csrPem })
      for (const id of [n1, orders]) {
        const { status, body } = await renew(await svid(id))
        assert.equal(status, 403, id)
        assert.match(JSON.stringify(body), /of another authority and is not renewed here/)
      }
      assert.equal((await renew(own.current)).status, 200)
    }))

  it('has a bundle that ends without a new line', () =>
    withSvids(async (mesh) => {
      const controlRootsPem = (await mesh.admin.bundle()).bundlePem.replace(ca.bundlePem, '').trim()
      const from = { socketPath, trustDomain: 'demo.local', controlRootsPem }
      const agent = await mesh.agent('n1', undefined, { svidFrom: from })
      assert.equal(agent.credentials.current.bundlePem.match(/^-----BEGIN CERTIFICATE-----$/gm)?.length, 2)
    }))

  it('is suspended like any other, is not deleted here, and is refused where its roots are trusted no more', () =>
    withSvids(async (mesh) => {
      const agent = await proxy(mesh)
      const status = async (path = '/v1/report'): Promise<number> =>
        (await overHttps(mesh, agent.credentials.current, 'POST', path, report)).status
      assert.ok((await status()) < 300)
      await mesh.admin.suspendAgent({ agent: 'n1', reason: 'a test' })
      assert.equal(await status(), 403)
      await mesh.admin.resumeAgent({ agent: 'n1' })
      assert.ok((await status()) < 300)
      await assert.rejects(mesh.admin.deleteAgent({ agent: 'n1' }), { code: 'USAGE', message: /another authority/ })

      // Who is no proxy by its id is a member, and not enrolled.
      const orders = await svid('spiffe://demo.local/svc/orders')
      const asked = async (path: string): Promise<number> =>
        (await overHttps(mesh, orders, 'POST', path, report)).status
      assert.deepEqual(
        [await asked('/v1/authorities'), await asked('/v1/report'), await asked('/v1/renew')],
        [200, 403, 400],
      )

      await agent.stop()
      await mesh.control.stop()
      await mesh.restart({ rootsFrom: undefined })
      assert.ok(!(await mesh.admin.bundle()).bundlePem.includes(ca.bundlePem))
      await assert.rejects(status('/v1/report'), 'its handshake counts no more')
    }))

  it('is none where there is no good one: each kind is named, and what is in force stays', async () => {
    const [good, otherKey, otherId] = [await svid(n1), await svid(n1), await svid(`${n1}0`)]
    const bad: readonly (readonly [string, Credentials, RegExp])[] = [
      [
        'another trust domain',
        await svid('spiffe://other.example/ringfence/sidecar/n1', foreign),
        /not of the trust domain demo\.local/,
      ],
      [
        'of no sidecar',
        await svid('spiffe://demo.local/svc/orders'),
        /none of the SVIDs is of a sidecar: spiffe:\/\/demo\.local\/svc\/orders/,
      ],
      ['of a gateway', await svid('spiffe://demo.local/ringfence/gateway/g'), /none of the SVIDs is of a sidecar/],
      ['another key', { ...good, keyPem: otherKey.keyPem }, /key and certificate do not belong together/],
      ['roots that did not sign it', { ...good, bundlePem: foreign.bundlePem }, /does not lead to a trusted root/],
      ['no roots', { ...good, bundlePem: '' }, /without roots/],
    ]
    for (const [what, given, words] of bad) {
      served.set(given)
      const refusing = source({ trustDomain: 'demo.local' })
      await assert.rejects(refusing.first(1_500), { code: 'IDENTITY', message: words }, what)
    }
    served.set(good)
    const taken = source()
    assert.equal((await taken.first()).spiffeId, n1)
    const inForce: string[] = []
    const stop = new AbortController()
    stops.push(stop)
    const session = {
      takeSvid: ({ certificatePem }: Credentials) => void inForce.push(certificatePem),
      onStop: (callback: () => void) => stop.signal.addEventListener('abort', callback),
    }
    const followed = taken.follow(session as never)
    for (const [what, given] of [...bad, ['another id', otherId] as const]) {
      lines.length = 0
      served.set(given)
      await eventually(`it is told: ${what}`, () => lines.some((line) => line.includes('is not taken')))
      assert.deepEqual(inForce, [good.certificatePem], what)
    }
    const next = await svid(n1)
    served.set(next)
    await eventually('a good one is taken again', () => inForce.at(-1) === next.certificatePem)
    stop.abort()
    await followed
    assert.doesNotMatch(lines.join(''), /PRIVATE KEY/)
  })

  it('says why there is none: nobody serves the socket', async () => {
    await api?.stop()
    await assert.rejects(source().first(1_000), { code: 'UNAVAILABLE', message: /does not answer/ })
  })
})

const report = { policyRevision: 0, connections: 0, sessions: 0, upstreamConnections: 0, listeners: [], traffic: [] }
