import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { describe, it, mock } from 'node:test'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { systemClock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { resumedText } from '../cli/commands/agents.ts'
import { clockSkewMsMax } from '../mesh/clock-skew.ts'
import { type Credentials, makeKey } from '../mesh/credentials.ts'
import type { IssuedCertificate } from '../mesh/enrolment.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { RevocationsFeed } from '../mesh/revocations.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { CertificateAuthority } from './ca.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { eventually, type Mesh, overHttps, type RawAnswer, withMesh } from './mesh.fixture.ts'

const id = (path: string): string => `spiffe://demo.local/${path}`
const reason = 'a test'
const revokedIn = (agent: Agent) => new RevocationsFeed((kind) => agent.value(kind)).current

/** Enrols, and renews never by itself. */
async function enrolled(mesh: Mesh, path: string, role: AgentRole, name = path): Promise<Credentials> {
  const agent = await mesh.agent(path.replaceAll('/', '-'), await mesh.token(id(path), role), { role, name })
  return agent.credentials.current
}

async function renew(mesh: Mesh, credentials: Pick<Credentials, 'certificatePem' | 'keyPem'>): Promise<RawAnswer> {
  return overHttps(mesh, credentials, 'POST', '/v1/renew', { csrPem: (await makeKey()).csrPem })
}

const statusOf = async (mesh: Mesh, credentials: Credentials): Promise<number> =>
  (await renew(mesh, credentials)).status

describe('agents at the control plane', () => {
  it('are listed by how and when they enrolled, when they renewed, and until when they may stay', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      assert.deepEqual((await mesh.admin.agents(10)).agents, [])
      const bob = await enrolled(mesh, 'svc/bob', 'workload', 'the second')
      const alice = await enrolled(mesh, 'svc/alice', 'workload', 'the first')
      await enrolled(mesh, 'ringfence/sidecar/n1', 'sidecar')
      await mesh.admin.mint({ spiffeId: id('svc/minted') })
      const listed = await mesh.admin.agents(10)
      assert.equal(listed.count, 3)
      assert.deepEqual(
        listed.agents.map(({ spiffeId, role, name, state, renewedAtMs }) => [spiffeId, role, name, state, renewedAtMs]),
        [
          [id('ringfence/sidecar/n1'), 'sidecar', 'ringfence/sidecar/n1', 'active', undefined],
          [id('svc/alice'), 'workload', 'the first', 'active', undefined],
          [id('svc/bob'), 'workload', 'the second', 'active', undefined],
        ],
      )
      for (const { attestedBy, enrolledAtMs = 0 } of listed.agents) {
        assert.match(attestedBy, /^token [0-9a-f]{12}$/)
        assert.ok(Math.abs(enrolledAtMs - Date.now()) < 600_000)
      }
      const one = async (path: string) =>
        (await mesh.admin.agents(10)).agents.find(({ spiffeId }) => spiffeId === id(path))!
      assert.ok(Math.abs((await one('svc/alice')).notAfterMs! - alice.notAfterMs) < 1_000)
      aheadMs = 60_000
      assert.equal(await statusOf(mesh, alice), 200)
      const renewed = await one('svc/alice')
      assert.ok(renewed.renewedAtMs! >= renewed.enrolledAtMs! + 50_000)
      assert.ok(renewed.notAfterMs! > alice.notAfterMs)
      assert.equal((await one('svc/bob')).renewedAtMs, undefined, 'the neighbour')
      // What ended and was not renewed is told, and is not what is suspended.
      aheadMs = bob.notAfterMs - Date.now() + 30_000
      assert.equal((await one('svc/bob')).state, 'ended')
      assert.equal((await one('svc/alice')).state, 'active')
      const some = await mesh.admin.agents(2)
      assert.deepEqual([some.count, some.agents.length], [3, 2])
      await mesh.control.stop()
      await mesh.restart({ clock })
      assert.deepEqual((await mesh.admin.agents(10)).agents, (await mesh.admin.agents(10)).agents)
      assert.equal((await one('svc/alice')).renewedAtMs, renewed.renewedAtMs)
    })
  })

  it('are suspended and resumed: renewals, watching and the mesh refuse one, and no neighbour', () => {
    const lines: string[] = []
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
    return withMesh({ log }, async (mesh) => {
      const [alice, bob] = [await enrolled(mesh, 'svc/alice', 'workload'), await enrolled(mesh, 'svc/bob', 'workload')]
      const n1 = await mesh.agent('n1', await mesh.token(id('ringfence/sidecar/n1'), 'sidecar'))
      const { agent, revocation } = await mesh.admin.suspendAgent({ agent: 'svc/alice', reason, by: 'carol' })
      assert.deepEqual([agent.state, agent.revocation], ['suspended', revocation.id])
      const refused = await renew(mesh, alice)
      assert.equal(refused.status, 403)
      assert.match(JSON.stringify(refused.body), /svc\/alice is suspended: access was revoked \(revocation \d+\)/)
      assert.equal(await statusOf(mesh, bob), 200)
      const facts = { subject: id('svc/alice') }
      await eventually('its proxies know', () => revokedIn(n1).find(facts, Date.now())?.id === revocation.id)
      assert.equal(revokedIn(n1).find({ subject: id('svc/bob') }, Date.now()), undefined)
      await assert.rejects(mesh.admin.makeToken({ spiffeId: id('svc/alice'), role: 'workload' }), { code: 'USAGE' })

      await mesh.control.stop()
      await mesh.restart()
      assert.equal(await statusOf(mesh, alice), 403, 'also after a restart')
      const { agents } = await mesh.admin.agents(10)
      assert.deepEqual(
        agents.map(({ state }) => state),
        ['active', 'suspended', 'active'],
      )
      const resumed = await mesh.admin.resumeAgent({ agent: id('svc/alice'), reason: 'found', by: 'dave' })
      assert.equal(resumed.agent.state, 'active')
      assert.deepEqual([await statusOf(mesh, alice), await statusOf(mesh, bob)], [200, 200])
      await eventually('its proxies let it in', () => revokedIn(n1).find(facts, Date.now()) === undefined)
      for (const [message, by] of [
        ['agent suspended', 'carol'],
        ['agent resumed', 'dave'],
      ] as const) {
        const told = lines
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          .filter(({ msg }) => msg === message)
        assert.deepEqual(
          told.map(({ spiffeId, by: who }) => [spiffeId, who]),
          [[id('svc/alice'), by]],
        )
      }
    })
  })

  it('of a suspension that ends by itself are let in then', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      const alice = await enrolled(mesh, 'svc/alice', 'workload')
      await mesh.admin.suspendAgent({ agent: 'svc/alice', reason, lifeMs: 300_000 })
      assert.equal(await statusOf(mesh, alice), 403)
      aheadMs = 301_000
      assert.equal(await statusOf(mesh, alice), 200)
      assert.equal((await mesh.admin.agents(10)).agents[0]?.state, 'active')
    })
  })

  it('are resumed by name only from what means them alone', () =>
    withMesh({}, async (mesh) => {
      const usage = (message: RegExp, hint: RegExp) => (fault: unknown) =>
        fault instanceof RingfenceError &&
        fault.code === 'USAGE' &&
        message.test(fault.message) &&
        hint.test(fault.hint ?? '')
      await enrolled(mesh, 'svc/alice', 'workload', 'one')
      await enrolled(mesh, 'svc/bob', 'workload', 'two')
      await enrolled(mesh, 'svc/carol', 'workload', 'two')
      await assert.rejects(mesh.admin.resumeAgent({ agent: 'one' }), usage(/svc\/alice is not suspended$/, /^$/))
      const { revocation } = await mesh.admin.revoke({ kind: 'id', value: id('svc/*'), reason })
      assert.equal((await mesh.admin.agents(1)).agents[0]?.state, 'revoked')
      const hint = new RegExp(`identity restore ${revocation.id} `)
      await assert.rejects(mesh.admin.resumeAgent({ agent: 'one' }), usage(/meant by revocation \d+/, hint))
      for (const ask of [
        (agent: string) => mesh.admin.suspendAgent({ agent, reason }),
        (agent: string) => mesh.admin.resumeAgent({ agent }),
        (agent: string) => mesh.admin.deleteAgent({ agent }),
      ]) {
        await assert.rejects(ask('two'), usage(/2 agents are called two/, /svc\/bob, spiffe:.*svc\/carol$/))
        await assert.rejects(ask('ones'), usage(/no agent is called ones/, /did you mean one$/))
        await assert.rejects(ask(id('svc/nobody')), usage(/no agent is called/, /agent list/))
      }
      assert.equal((await mesh.admin.agents(10)).count, 3)
    }))

  it('are resumed from what suspended them, and from nothing that others revoked', () =>
    withMesh({}, async (mesh) => {
      const agents = [id('svc/alice'), id('user/corp/alice'), id('ringfence/sidecar/n1')]
      for (const spiffeId of agents) {
        const path = spiffeId.slice(id('').length)
        const credentials = await enrolled(mesh, path, path.startsWith('ringfence') ? 'sidecar' : 'workload')
        const stateOf = async () => {
          const { agents: all } = await mesh.admin.agents(10)
          const { state, revocation } = all.find((one) => one.spiffeId === spiffeId)!
          return [state, revocation]
        }
        const refused = (message: RegExp, number: number) => ({
          code: 'USAGE',
          message,
          hint: new RegExp(`ringfence identity restore ${number}\\b`),
        })
        // During a breach, by another.
        const { revocation: breach } = await mesh.admin.revoke({ kind: 'id', value: spiffeId, reason: 'a breach' })
        assert.deepEqual(await stateOf(), ['revoked', breach.id])
        const both = [
          mesh.admin.suspendAgent({ agent: path, reason, lifeMs: 1_000 }),
          mesh.admin.suspendAgent({ agent: path, reason }),
          mesh.admin.resumeAgent({ agent: path }),
        ]
        for (const tried of await Promise.allSettled(both)) {
          assert.equal(tried.status, 'rejected')
          assert.match(String(tried.reason.hint), new RegExp(`identity restore ${breach.id}\\b`), path)
        }
        assert.deepEqual(await stateOf(), ['revoked', breach.id], 'as it was')
        assert.equal(await statusOf(mesh, credentials), 403)
        await mesh.admin.restore({ id: breach.id })

        const { revocation } = await mesh.admin.suspendAgent({ agent: path, reason })
        assert.deepEqual(await stateOf(), ['suspended', revocation.id])
        await mesh.control.stop()
        await mesh.restart()
        assert.deepEqual(await stateOf(), ['suspended', revocation.id], 'also after a restart')
        // Another revocation in its place is no suspension.
        const { revocation: later } = await mesh.admin.revoke({ kind: 'id', value: spiffeId, reason: 'a breach' })
        await assert.rejects(mesh.admin.resumeAgent({ agent: path }), refused(/is not suspended/, later.id))
        await mesh.admin.restore({ id: later.id })
        await mesh.admin.suspendAgent({ agent: path, reason })
        // Suspended again it is by the last order, and one that means others too stays.
        const { revocation: second } = await mesh.admin.suspendAgent({ agent: path, reason: 'still' })
        const wide = path.startsWith('ringfence')
          ? id('ringfence/sidecar/*')
          : id(`${path.slice(0, path.lastIndexOf('/'))}/*`)
        const { revocation: pattern } = await mesh.admin.revoke({ kind: 'id', value: wide, reason })
        const resumed = await mesh.admin.resumeAgent({ agent: path })
        assert.deepEqual(
          [resumed.revocation.id, resumed.agent.state, resumed.agent.revocation],
          [second.id, 'revoked', pattern.id],
        )
        assert.match(
          resumedText(resumed),
          new RegExp(`still thrown out by revocation ${pattern.id}: ringfence identity restore ${pattern.id}$`),
        )
        await mesh.admin.restore({ id: pattern.id })
        assert.deepEqual(await stateOf(), ['active', undefined])
      }
    }))

  it('are not shown as active where their certificate is revoked, until they enrol again; their neighbours are', () =>
    withMesh({}, async (mesh) => {
      const alice = await enrolled(mesh, 'svc/alice', 'workload')
      await enrolled(mesh, 'svc/bob', 'workload')
      const states = async () =>
        (await mesh.admin.agents(10)).agents.map(({ state, revocation }) => [state, revocation])
      const value = new X509Certificate(alice.certificatePem).serialNumber
      const { revocation } = await mesh.admin.revoke({ kind: 'one-certificate', value, reason })
      assert.deepEqual(await states(), [
        ['revoked', revocation.id],
        ['active', undefined],
      ])
      // A suspension besides that is over leaves the other.
      await mesh.admin.suspendAgent({ agent: 'svc/alice', reason })
      const resumed = await mesh.admin.resumeAgent({ agent: 'svc/alice' })
      assert.deepEqual([resumed.agent.state, resumed.agent.revocation], ['revoked', revocation.id])
      await mesh.agent('again', await mesh.token(id('svc/alice'), 'workload'), { role: 'workload', name: 'svc/alice' })
      assert.deepEqual(await states(), [
        ['active', undefined],
        ['active', undefined],
      ])
    }))

  it('are deleted: what they have counts no more, they enrol again, and their neighbours go on', () => {
    const lines: string[] = []
    const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
    return withMesh({ log }, async (mesh) => {
      const [alice, bob] = [await enrolled(mesh, 'svc/alice', 'workload'), await enrolled(mesh, 'svc/bob', 'workload')]
      const n1 = await mesh.agent('n1', await mesh.token(id('ringfence/sidecar/n1'), 'sidecar'))
      const n2 = await mesh.agent('n2', await mesh.token(id('ringfence/sidecar/n2'), 'sidecar'))
      assert.equal(await statusOf(mesh, alice), 200)
      const minted = await mesh.admin.mint({ spiffeId: id('svc/alice') })
      const deleted = await mesh.admin.deleteAgent({ agent: 'svc/alice', by: 'carol' })
      const inForce = { have: 0, connected: 0, missing: [] }
      assert.deepEqual(deleted, { spiffeId: id('svc/alice'), certificates: 2, inForce })
      const refused = await renew(mesh, alice)
      assert.equal(refused.status, 403)
      assert.match(JSON.stringify(refused.body), /certificate of [^ ]*svc\/alice counts no more, enrol again/)
      assert.equal(await statusOf(mesh, bob), 200)
      const shown = ({ certificatePem }: { readonly certificatePem: string }) => ({
        subject: id('svc/alice'),
        certificate: { serial: new X509Certificate(certificatePem).serialNumber, key: '', authority: undefined },
      })
      await eventually('its proxies know', () => revokedIn(n1).find(shown(alice), Date.now()) !== undefined)
      assert.equal(revokedIn(n1).find(shown(minted), Date.now()), undefined, 'what an operator made is his')
      assert.deepEqual(
        (await mesh.admin.agents(10)).agents.map(({ spiffeId }) => spiffeId),
        [id('ringfence/sidecar/n1'), id('ringfence/sidecar/n2'), id('svc/bob')],
      )
      // Its certificates are all that is revoked: the next one counts.
      const again = await mesh.agent('again', await mesh.token(id('svc/alice'), 'workload'), { role: 'workload' })
      assert.equal(await statusOf(mesh, again.credentials.current), 200)
      assert.equal(await statusOf(mesh, alice), 403)

      // A proxy that is connected is let go of, too.
      await mesh.admin.deleteAgent({ agent: 'n2' })
      assert.deepEqual(
        (await mesh.admin.status()).proxies.map(({ name }) => name),
        ['n1'],
      )
      const watch = async (agent: Agent) =>
        (await overHttps(mesh, agent.credentials.current, 'GET', '/v1/watch')).status
      assert.deepEqual([await watch(n1), await watch(n2)], [200, 403])
      const told = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepEqual(
        told.filter(({ msg }) => msg === 'agent deleted').map(({ spiffeId, by }) => [spiffeId, by]),
        [
          [id('svc/alice'), 'carol'],
          [id('ringfence/sidecar/n2'), 'admin'],
        ],
      )
    })
  })

  it('that are suspended when they are deleted stay thrown out until that is restored', () =>
    withMesh({}, async (mesh) => {
      await enrolled(mesh, 'svc/alice', 'workload')
      const { revocation } = await mesh.admin.suspendAgent({ agent: 'svc/alice', reason })
      assert.equal((await mesh.admin.deleteAgent({ agent: 'svc/alice' })).revocation, revocation.id)
      await assert.rejects(mesh.admin.makeToken({ spiffeId: id('svc/alice'), role: 'workload' }), { code: 'USAGE' })
      await mesh.admin.restore({ id: revocation.id })
      const token = await mesh.token(id('svc/alice'), 'workload')
      assert.ok(await mesh.agent('again', token, { role: 'workload' }))
    }))

  it('that are deleted lose join tokens that nobody used, and their neighbours lose none', () =>
    withMesh({}, async (mesh) => {
      await enrolled(mesh, 'svc/alice', 'workload')
      const [left, other] = [await mesh.token(id('svc/alice'), 'workload'), await mesh.token(id('svc/bob'), 'workload')]
      const deleted = await mesh.admin.deleteAgent({ agent: 'svc/alice' })
      assert.deepEqual([deleted.certificates, deleted.joinTokens], [1, 1])
      await assert.rejects(mesh.agent('again', left, { role: 'workload' }), /join token is not valid/)
      assert.ok(await mesh.agent('bob', other, { role: 'workload' }))
      // One that is made later is for who shall come back.
      const token = await mesh.token(id('svc/alice'), 'workload')
      assert.ok(await mesh.agent('back', token, { role: 'workload' }))
    }))

  it('that are deleted are out also where a clock is behind, until their certificates have ended there', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      const alice = await enrolled(mesh, 'svc/alice', 'workload')
      const bob = await enrolled(mesh, 'svc/bob', 'workload')
      const until = async () => (await mesh.admin.revocations(false, 10)).revocations.map(({ untilMs = 0 }) => untilMs)
      await mesh.admin.deleteAgent({ agent: 'svc/alice' })
      const [endsMs = 0] = await until()
      assert.ok(endsMs > alice.notAfterMs + clockSkewMsMax, 'its certificate counts so long by a clock that is behind')
      assert.ok(endsMs <= alice.notAfterMs + 2 * clockSkewMsMax + 1_000)
      // By the clock of the control plane it has ended; by another it has not.
      aheadMs = bob.notAfterMs + clockSkewMsMax / 2 - Date.now()
      assert.equal((await mesh.admin.deleteAgent({ agent: 'svc/bob' })).certificates, 1)
      const serial = new X509Certificate(bob.certificatePem).serialNumber
      const { revocations } = await mesh.admin.revocations(false, 10)
      assert.ok(revocations.some(({ value }) => value === serial))
    })
  })

  it('that are deleted are out by one order, however many certificates they have', () => {
    const store = new MemoryStore()
    return withMesh({ openStore: () => store }, async (mesh) => {
      const [alice, bob] = [await enrolled(mesh, 'svc/alice', 'workload'), await enrolled(mesh, 'svc/bob', 'workload')]
      const issuance = { spiffeId: id('svc/alice'), reason: 'renew', caller: '', issuedAtMs: 1 } as const
      const serials = Array.from({ length: 3_600 }, (_, at) => (0x10_0000 + at).toString(16).toUpperCase())
      for (const serial of serials) store.addIssuance({ ...issuance, serial, notAfterMs: Date.now() + 3_600_000 })
      // One is revoked already, by another and for longer.
      const { revocation } = await mesh.admin.revoke({ kind: 'one-certificate', value: serials[7]!, reason })
      assert.equal((await mesh.admin.deleteAgent({ agent: 'svc/alice' })).certificates, 3_601)
      const { count, revocations } = await mesh.admin.revocations(false, 10_000)
      assert.equal(count, 3_601)
      assert.ok(revocations.some((row) => row.id === revocation.id && row.untilMs === undefined))
      assert.deepEqual([await statusOf(mesh, alice), await statusOf(mesh, bob)], [403, 200])
    })
  })

  it('that are deleted get no other certificate, also where there is no room to revoke those that they have', () => {
    const store = new MemoryStore()
    const row = { kind: 'person', reason, by: 'a', createdAtMs: 1, untilMs: undefined } as const
    for (let at = 0; at < limits.revocationsMax; at++) store.addRevocation({ ...row, value: `corp/p${at}` })
    return withMesh({ openStore: () => store }, async (mesh) => {
      const [alice, bob] = [await enrolled(mesh, 'svc/alice', 'workload'), await enrolled(mesh, 'svc/bob', 'workload')]
      await assert.rejects(mesh.admin.deleteAgent({ agent: 'svc/alice' }), {
        code: 'OVERLOADED',
        message: /svc\/alice is deleted, but its certificates count until they end: revocationsMax/,
        hint: /identity revoke [^ ]*svc\/alice /,
      })
      assert.equal(store.revocations().length, limits.revocationsMax)
      const refused = await renew(mesh, alice)
      assert.deepEqual([refused.status, await statusOf(mesh, bob)], [403, 200])
      assert.match(JSON.stringify(refused.body), /is not enrolled/)
    })
  })

  it('burn the mesh keys that they knew, where they are sidecars that are deleted, also over a restart', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      await enrolled(mesh, 'ringfence/sidecar/n1', 'sidecar')
      await enrolled(mesh, 'ringfence/gateway/g1', 'gateway')
      const keys = () => mesh.control.value(pushedKinds.keys).current
      const before = keys()
      await mesh.admin.deleteAgent({ agent: 'ringfence/gateway/g1' })
      assert.deepEqual(keys(), before, 'a gateway knows none')
      await mesh.admin.deleteAgent({ agent: 'ringfence/sidecar/n1' })
      const known = new Set(before.map((key) => key.id))
      const pages = () => keys().filter(({ use }) => use !== 'masks')
      assert.equal(pages().filter((key) => !known.has(key.id)).length, 2, 'the one that seals, and the next')
      const later = async (ms: number) => {
        aheadMs += ms
        await mesh.control.stop()
        await mesh.restart()
      }
      await later(3_000)
      assert.ok(
        pages().some((key) => known.has(key.id)),
        'pages that are open go on',
      )
      assert.ok(keys().every((key) => key.use !== 'masks' || !known.has(key.id)))
      await later(10 * 60_000)
      assert.ok(keys().every((key) => !known.has(key.id)))
      const settled = keys()
      await later(60_000)
      assert.deepEqual(keys(), settled, 'once')
    })
  })

  it('get no certificate by an enrolment or a renewal that is under way when they are deleted, though they enrol again', async () => {
    // Each signature waits to be let go.
    const { issue } = CertificateAuthority.prototype
    const waiting: (() => void)[] = []
    let isHeld = false
    const held = mock.method(
      CertificateAuthority.prototype,
      'issue',
      async function (this: CertificateAuthority, ...args: Parameters<typeof issue>) {
        if (isHeld) await new Promise<void>((resolve) => waiting.push(resolve))
        return issue.apply(this, args)
      },
    )
    try {
      await withMesh({}, async (mesh) => {
        const bob = await enrolled(mesh, 'svc/bob', 'workload')
        const enrol = async (path: string) =>
          overHttps(mesh, undefined, 'POST', '/v1/enrol', {
            token: await mesh.token(id(path), 'workload'),
            role: 'workload',
            name: path,
            csrPem: (await makeKey()).csrPem,
          })
        const asked = async (what: string, ask: () => Promise<RawAnswer>): Promise<Promise<RawAnswer>[]> => {
          isHeld = true
          const answers = [ask(), renew(mesh, bob)]
          await eventually(what, () => waiting.length === answers.length)
          isHeld = false
          return answers
        }
        const letGo = (): void => {
          for (const resolve of waiting.splice(0)) resolve()
        }
        const [first, neighbour] = await asked('an enrolment', () => enrol('svc/alice'))
        await mesh.admin.deleteAgent({ agent: 'svc/alice' })
        assert.equal((await enrol('svc/alice')).status, 200)
        letGo()
        assert.deepEqual([(await first!).status, (await neighbour!).status], [403, 200])

        const carol = await enrolled(mesh, 'svc/carol', 'workload')
        const [renewal, other] = await asked('a renewal', () =>
          renew(mesh, carol).catch(() => ({ status: 0, body: '' })),
        )
        await mesh.admin.deleteAgent({ agent: 'svc/carol' })
        const again = await mesh.agent('again', await mesh.token(id('svc/carol'), 'workload'), { role: 'workload' })
        letGo()
        // Its connection may have been closed.
        assert.notEqual((await renewal!).status, 200)
        assert.equal((await other!).status, 200)
        assert.equal(await statusOf(mesh, again.credentials.current), 200)
        for (const [path, count] of [
          ['svc/alice', 1],
          ['svc/carol', 3],
        ] as const) {
          const rows = (await mesh.admin.issuances(100)).issuances.filter(({ spiffeId }) => spiffeId === id(path))
          assert.equal(rows.length, count, path)
        }
      })
    } finally {
      held.mock.restore()
    }
  })

  it('get no certificate by a renewal that is under way when they are deleted', () =>
    withMesh({}, async (mesh) => {
      const alice = await enrolled(mesh, 'svc/alice', 'workload')
      const asked = Array.from({ length: 12 }, () => renew(mesh, alice))
      await Promise.race(asked)
      await mesh.admin.deleteAgent({ agent: 'svc/alice' })
      const revoked = (await mesh.admin.revocations(false, 100)).revocations.map(({ value }) => value)
      // Connections of who is thrown out end, some without an answer.
      for (const answer of await Promise.allSettled(asked)) {
        if (answer.status !== 'fulfilled' || answer.value.status !== 200) continue
        const { certificatePem } = answer.value.body as IssuedCertificate
        assert.ok(revoked.includes(new X509Certificate(certificatePem).serialNumber))
      }
    }))
})
