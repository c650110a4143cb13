import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { systemClock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { type Credentials, makeKey } from '../mesh/credentials.ts'
import type { IssuedCertificate } from '../mesh/enrolment.ts'
import { RevocationsFeed } from '../mesh/revocations.ts'
import type { AgentRole } from '../mesh/roles.ts'
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
        assert.match(attestedBy ?? '', /^token [0-9a-f]{12}$/)
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
      assert.deepEqual(deleted, { spiffeId: id('svc/alice'), certificates: 2 })
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
