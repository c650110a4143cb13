/** The outage of a few seconds, with the Node.js driver, on a fake node: that the command counts what it says it does. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { KeySets } from '../../src/control/key-sets/key-sets.ts'
import { makeKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { Observed } from '../../src/mesh/observable.ts'
import { type PolicySnapshot, pushedKinds } from '../../src/mesh/pushed.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { IdentityProvider } from '../path/identity-provider.ts'
import { type RunningGateway, type RunningSidecar, World } from '../path/world.ts'
import { policyOf } from './mesh.ts'
import { clientsFor, faultsOf, type OutageOutcome, runOutage } from './outage.ts'
import { programOf } from './programs.ts'

const minutes = 0.15
const keys = ['k1', 'k2', 'k3'].map((kid) => makeKey(kid, 'ES256'))

let world: World
let provider: IdentityProvider
let sidecar: RunningSidecar
let gateway: RunningGateway
let keySets: KeySets
let reports: NodeJS.Timeout
const folder = mkdtempSync(join(tmpdir(), 'ringfence-outage-test-'))

before(async () => {
  provider = await IdentityProvider.start(clientsFor(minutes), keys.slice(0, 1))
  const source = policyOf(provider.issuer, 'shop').replace('type: oidc', 'type: oidc\n  refresh: 10s')
  world = await World.make()
  sidecar = await world.sidecar({ policy: source, authentication: ['token'] })
  gateway = await world.gateway([sidecar], { authentication: ['token'] })
  gateway.feed.apply(source)
  const policy = new Observed<PolicySnapshot>({ revision: 1, source }, ({ source: text }) => text)
  const published = new Observed(pushedKinds.keySets.empty, (value) => pushedKinds.keySets.version(value))
  const feeds = [sidecar.feed, gateway.feed]
  published.observe((sets) => {
    for (const feed of feeds) feed.value(pushedKinds.keySets).set(sets)
  })
  const log = createLogger('keys', { write() {} })
  keySets = new KeySets({ policy, published, clock: systemClock, log, stateDir: folder })
  keySets.start()
  reports = setInterval(() => keySets.want(feeds.flatMap((feed) => feed.report?.().keysWanted ?? [])), 1_000)
  writeFileSync(join(folder, 'ca.pem'), world.ca.bundlePem)
})
after(async () => {
  clearInterval(reports)
  keySets?.stop()
  provider?.stop()
  await world?.close()
  rmSync(folder, { recursive: true })
})

suite('an outage of the identity provider', () => {
  it('costs no session that is good and no log-in by a known key, and the Node.js driver is back afterwards', async (t) => {
    const program = await programOf('node', folder)
    assert.ok(!('absent' in program))
    const outcome = await runOutage({
      doors: [
        { name: 'gateway', host: '127.0.0.1', port: gateway.port },
        { name: 'sidecar', host: '127.0.0.1', port: sidecar.port },
      ],
      provider,
      keys,
      caFile: join(folder, 'ca.pem'),
      programs: { node: program },
      env: { RF_QUERY: 'SELECT * FROM shop.items' },
      minutes,
      folder,
      say: (line) => t.diagnostic(line),
    })
    for (const one of outcome.applications) t.diagnostic(JSON.stringify(one))
    assert.deepEqual(faultsOf(outcome), [])
    assert.equal(outcome.applications.length, 4)
    // They were refused for a while: else there was nothing to come back from.
    for (const { kind, failed, name } of outcome.applications)
      assert.equal(failed > 0, kind === 'its token ends within the outage', name)
  })

  it('is not as it should be where one of its figures is not', () => {
    const application = {
      name: 'node, gateway',
      kind: 'its token ends within the outage',
      answered: 100,
      failed: 10,
      failedInSession: 0,
      endedEarlyMs: 500,
      backMs: 59_000,
      restarted: false,
      words: '',
    } as const
    const good: OutageOutcome = { applications: [application], logIns: { in: 10, refused: [] }, newKeyKnownMs: 30_000 }
    assert.deepEqual(faultsOf(good), [])
    const changed: Record<string, OutageOutcome> = {
      'nobody came in': { ...good, logIns: { in: 0, refused: [] } },
      'one was refused': { ...good, logIns: { in: 9, refused: ['sidecar: 0x0100'] } },
      'the key was late': { ...good, newKeyKnownMs: 61_000 },
      'a session ended': { ...good, applications: [{ ...application, failedInSession: 1 }] },
      'a session ended early': { ...good, applications: [{ ...application, endedEarlyMs: 5_000 }] },
      'a driver is late': { ...good, applications: [{ ...application, backMs: 61_000 }] },
      'a driver stays away': { ...good, applications: [{ ...application, backMs: undefined }] },
      'a driver ended': { ...good, applications: [{ ...application, restarted: true }] },
    }
    for (const [name, outcome] of Object.entries(changed)) assert.equal(faultsOf(outcome).length, 1, name)
  })
})
