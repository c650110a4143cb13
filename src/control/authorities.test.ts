import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { takeAuthorities } from '../agent/authorities.ts'
import { CertificateFiles, filesInFolder, keyStoreText } from '../agent/certificate-files.ts'
import { ControlSession } from '../agent/control-session.ts'
import { IdentityFile } from '../agent/identity-file.ts'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { readLeaf } from '../identity/certificate.ts'
import { certificatesOf } from '../identity/chain.ts'
import { authoritiesPath, wireAuthorities } from '../mesh/authorities.ts'
import { type Credentials, makeKey } from '../mesh/credentials.ts'
import { issuedCertificate } from '../mesh/enrolment.ts'
import { thiefOf } from './authorities/thief.fixture.ts'
import { eventually, type Mesh, overHttps, withMesh } from './mesh.fixture.ts'

const id = (path: string): string => `spiffe://demo.local/${path}`
const log = pino({ level: 'silent' })
/** Nothing is put off at random. */
const atOnce = { random: () => 0 }
const sidecar = async (mesh: Mesh, name: string): Promise<Agent> => {
  const agent = await mesh.agent(name, await mesh.token(id(`ringfence/sidecar/${name}`), 'sidecar'), atOnce)
  agent.setReporter(() => ({
    policyRevision: 0,
    connections: 0,
    sessions: 0,
    upstreamConnections: 0,
    listeners: [],
    traffic: [],
  }))
  return agent
}
const workload = async (mesh: Mesh, name: string): Promise<Agent> =>
  mesh.agent(name, await mesh.token(id(`svc/${name}`), 'workload'), { role: 'workload', ...atOnce })
const rootsOf = ({ credentials }: Agent): number => certificatesOf(credentials.current.bundlePem).length
const authorityOf = ({ credentials }: Agent): string | undefined => readLeaf(credentials.current.leafDer).authority
const active = async (mesh: Mesh, kind: string): Promise<string> =>
  (await mesh.admin.authorities()).authorities.find((one) => one.kind === kind && one.state === 'active')!.id
const allTrust = (mesh: Mesh, count = 1) =>
  eventually('all trust the roots of now', async () => {
    const { connected, behind } = await mesh.admin.authorities()
    return connected === count && behind.length === 0
  })

/** A connection to the control plane that stays open. */
class Raw {
  readonly closed: Promise<unknown>
  readonly #socket: TLSSocket

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on('error', () => {})
    this.closed = once(socket, 'close')
  }

  static async connect({ control }: Mesh, { certificatePem: cert, keyPem: key }: Credentials): Promise<Raw> {
    const socket = connect({ host: control.address, port: control.port, cert, key, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    return new Raw(socket)
  }

  /** The status; 0 where it is closed instead. */
  async ask(path: string, body: unknown): Promise<number> {
    const text = JSON.stringify(body)
    const head = `POST ${path} HTTP/1.1\r\nhost: control\r\ncontent-type: application/json`
    this.#socket.write(`${head}\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
    const answer = once(this.#socket, 'data').then(([bytes]: Buffer[]) =>
      Number(bytes?.toString('latin1').split(' ')[1]),
    )
    return Promise.race([answer, this.closed.then(() => 0)])
  }
}

// Each has a mesh of its own, and mostly waits.
describe('the authorities of a mesh', { concurrency: 2 }, () => {
  it('a root that is prepared is pushed to proxies at once, kept by them, and shown by who has it', () =>
    withMesh({}, async (mesh) => {
      const agent = await sidecar(mesh, 'n1')
      await allTrust(mesh)
      assert.equal(rootsOf(agent), 1)
      const { certificatePem } = agent.credentials.current
      const { authority } = await mesh.admin.prepareAuthority({ kind: 'root', by: 'carol' })
      await eventually('it trusts both', () => rootsOf(agent) === 2)
      assert.equal(agent.credentials.current.certificatePem, certificatePem, 'its certificate is the same')
      await allTrust(mesh)
      const { authorities, connected } = await mesh.admin.authorities()
      assert.equal(connected, 1)
      assert.deepEqual(authorities.map(({ kind, state }) => `${kind} ${state}`).sort(), [
        'issuing active',
        'root active',
        'root prepared',
      ])
      assert.ok(authorities.some((one) => one.id === authority.id && one.state === 'prepared'))
      // It starts with both while the control plane is away.
      await mesh.control.stop()
      await agent.stop()
      const again = await mesh.agent('n1', undefined, atOnce)
      assert.equal(rootsOf(again), 2)
      await again.stop()
      await mesh.restart()
      assert.equal((await mesh.admin.activateAuthority({ kind: 'root', force: true })).authority.id, authority.id)
    }))

  it('a root is not activated before everybody knows it, and the refusal says who does not, and when', () =>
    withMesh({ svidTtlMs: 10_000 }, async (mesh) => {
      const open = await mesh.token(id('svc/late'), 'workload', 25_000)
      await sleep(10)
      const activated = (force = false) => mesh.admin.activateAuthority({ kind: 'root', force })
      await assert.rejects(activated(), { code: 'USAGE', message: /no root key is prepared/ })
      const { authority } = await mesh.admin.prepareAuthority({ kind: 'root' })
      // It trusts the roots of before it asks, and is behind until it says so.
      const agent = await mesh.agent('n1', await mesh.token(id('ringfence/sidecar/n1'), 'sidecar'))
      const report = {
        policyRevision: 0,
        connections: 0,
        sessions: 0,
        upstreamConnections: 0,
        listeners: [],
        traffic: [],
      }
      const told = await agent.askControl('/v1/report', report, wireAuthorities.optional())
      assert.equal(told, undefined)
      await assert.rejects(activated(), { code: 'USAGE', message: /^n1 do not say that they trust the root/ })
      agent.setReporter(() => report)
      await allTrust(mesh)
      await assert.rejects(activated(), { code: 'USAGE', message: /not everybody has been told/ })
      await eventually('the token is what is left', async () => {
        const refused = await activated().then(
          () => undefined,
          ({ message }: Error) => message,
        )
        return refused !== undefined && /join tokens that were made before/.test(refused)
      })
      assert.ok(await mesh.agent('late', open, { role: 'workload' }))
      const { bundlePem } = agent.credentials.current
      assert.equal(certificatesOf(bundlePem).length, 2)
      assert.equal((await activated()).authority.id, authority.id)
      assert.equal(await active(mesh, 'root'), authority.id)
    }))

  it('enrolment goes on through a root’s activation, with tokens of before and of after', () =>
    withMesh({}, async (mesh) => {
      const { rootFingerprint: first } = await mesh.admin.bundle()
      const beforePrepare = await mesh.token(id('svc/a'), 'workload')
      assert.deepEqual(beforePrepare.split('.').slice(1), [first])
      await mesh.admin.prepareAuthority({ kind: 'root' })
      const between = await Promise.all(['b', 'c', 'd'].map((name) => mesh.token(id(`svc/${name}`), 'workload')))
      for (const token of between) assert.ok(token.length <= 256 && token.split('.').length === 3)
      const enrolled = async (name: string, token: string): Promise<void> => {
        const agent = await mesh.agent(name, token, { role: 'workload' })
        assert.equal(rootsOf(agent), 2)
      }
      await enrolled('a', beforePrepare)
      await enrolled('b', between[0]!)
      await mesh.admin.activateAuthority({ kind: 'root', force: true })
      // At once, and when the control plane shows what the new one signed.
      await enrolled('c', between[1]!)
      await enrolled('e', await mesh.token(id('svc/e'), 'workload'))
      await sleep(2_500)
      await enrolled('d', between[2]!)
      await enrolled('f', await mesh.token(id('svc/f'), 'workload'))
      const stranger = `${(await mesh.token(id('svc/g'), 'workload')).split('.')[0]}.${'ab'.repeat(32)}`
      await assert.rejects(mesh.agent('g', stranger, { role: 'workload' }), /not the one that made this join token/)
    }))

  it('the taint of an issuing key has whoever has a certificate of it renew, and nobody else', () =>
    withMesh({}, async (mesh) => {
      const first = await active(mesh, 'issuing')
      const old = await sidecar(mesh, 'n1')
      await assert.rejects(mesh.admin.taintAuthority({ id: first }), { code: 'USAGE', message: /is the active/ })
      await mesh.admin.prepareAuthority({ kind: 'issuing' })
      await mesh.admin.activateAuthority({ kind: 'issuing' })
      const second = await active(mesh, 'issuing')
      const fresh = await sidecar(mesh, 'n2')
      assert.deepEqual([authorityOf(old), authorityOf(fresh)], [first, second])
      const { certificatePem } = fresh.credentials.current
      await mesh.admin.taintAuthority({ id: first.slice(0, 10) })
      await eventually('it has another', () => authorityOf(old) === second)
      await sleep(1_000)
      assert.equal(fresh.credentials.current.certificatePem, certificatePem)
    }))

  it('who is pushed nothing asks, trusts what it is told, and renews where its own authority is tainted', () =>
    withMesh({}, async (mesh) => {
      const agent = await workload(mesh, 'orders')
      const first = await active(mesh, 'issuing')
      await mesh.admin.prepareAuthority({ kind: 'root' })
      await mesh.admin.activateAuthority({ kind: 'root', force: true })
      const told = await agent.askControl(authoritiesPath, {}, wireAuthorities)
      assert.deepEqual([certificatesOf(told.bundlePem).length, told.tainted], [2, []])
      // As the agent does when it asks.
      const folder = mkdtempSync(join(tmpdir(), 'rf-asked-'))
      const options = { controlUrl: mesh.control.url, log, clock: systemClock, ...atOnce }
      const session = new ControlSession(options, agent.credentials.current)
      const file = new IdentityFile(folder)
      const files = new CertificateFiles({
        files: filesInFolder({ dir: join(folder, 'out'), combined: true, pemBundle: join(folder, 'node.pem') }),
        tell: undefined,
        log,
      })
      try {
        files.follow(session.credentials)
        const paused = session.pauseToRenew(60_000)
        takeAuthorities(session, file, told)
        assert.equal(certificatesOf(session.credentials.current.bundlePem).length, 2)
        assert.equal(certificatesOf(file.read()!.bundlePem).length, 2)
        const textOf = (name: string): string => {
          const path = join(folder, name)
          return existsSync(path) ? readFileSync(path, 'utf8') : ''
        }
        await eventually('the roots of a server are both', () => textOf('out/bundle.pem') === told.bundlePem)
        // In a key store stands the one root that signed its chain: Java takes no other.
        await eventually(
          'its key store is there',
          () => textOf('node.pem') === keyStoreText(session.credentials.current),
        )
        assert.equal(certificatesOf(textOf('node.pem')).filter((one) => one.subject === one.issuer).length, 1)
        // An answer that was made before does not take it back.
        takeAuthorities(session, file, { ...told, bundleSequence: told.bundleSequence - 1, bundlePem: 'older' })
        assert.equal(
          session.withNewestBundle({ ...session.credentials.current, bundlePem: 'older' }, 0).bundlePem,
          told.bundlePem,
        )
        assert.equal(session.credentials.current.bundlePem, told.bundlePem)
        const tainted = [{ authority: first, sinceMs: Date.now() }]
        takeAuthorities(session, file, { ...told, tainted: [{ authority: 'ab'.repeat(20), sinceMs: 0 }] })
        assert.equal(await Promise.race([paused, sleep(50, 'waits')]), 'waits')
        takeAuthorities(session, file, { ...told, tainted })
        assert.equal(await paused, true, 'it is to renew now')
        const once = session.pauseToRenew(50)
        takeAuthorities(session, file, { ...told, tainted })
        assert.equal(await once, false, 'and not again with each answer')
      } finally {
        session.stop()
        await files.stop()
        rmSync(folder, { recursive: true, force: true })
      }
      assert.equal((await overHttps(mesh, undefined, 'POST', authoritiesPath, {})).status, 403, 'a stranger')
    }))

  it('what a revoked authority signed is refused in the mesh, and what another signed is not', () =>
    withMesh({}, async (mesh) => {
      const [oldRoot, oldIssuing] = [await active(mesh, 'root'), await active(mesh, 'issuing')]
      const stolen = await workload(mesh, 'stolen')
      const proxy = await sidecar(mesh, 'n1')
      await mesh.admin.prepareAuthority({ kind: 'root' })
      await mesh.admin.activateAuthority({ kind: 'root', force: true })
      const neighbour = await workload(mesh, 'neighbour')
      const own = { stolen: stolen.credentials.current, neighbour: neighbour.credentials.current }
      /** The status; 0 where not even TLS takes the certificate. */
      const renewed = async (who: keyof typeof own): Promise<number> => {
        const { csrPem } = await makeKey()
        return overHttps(mesh, own[who], 'POST', '/v1/renew', { csrPem }).then(
          ({ status }) => status,
          () => 0,
        )
      }
      assert.deepEqual([await renewed('stolen'), await renewed('neighbour')], [200, 200])
      const revoked = (force = false) =>
        mesh.admin.revokeAuthority({ id: oldRoot, reason: 'a test', force, by: 'carol' })
      await assert.rejects(revoked(), { code: 'USAGE', message: /is not tainted/ })
      await mesh.admin.taintAuthority({ id: oldRoot })
      await assert.rejects(revoked(), { code: 'USAGE', message: /are renewing/ })
      await eventually('the proxy has another', () => authorityOf(proxy) !== oldIssuing)
      const { revocations } = await revoked(true)
      assert.equal(revocations.length, 1)
      const [row] = (await mesh.admin.revocations(false, 10)).revocations
      assert.deepEqual([row?.kind, row?.value, row?.by, row?.reason], ['authority', oldIssuing, 'carol', 'a test'])
      assert.ok(row?.untilMs !== undefined, 'it ends with what it is of')
      await eventually('the proxy trusts one root', () => rootsOf(proxy) === 1)
      assert.deepEqual([await renewed('stolen'), await renewed('neighbour')], [0, 200])
      await proxy.askControl('/v1/renew', { csrPem: (await makeKey()).csrPem }, issuedCertificate)
      await mesh.control.stop()
      await mesh.restart()
      assert.deepEqual([await renewed('stolen'), await renewed('neighbour')], [0, 200], 'after a restart, too')
      const { authorities } = await mesh.admin.authorities()
      assert.deepEqual(authorities.find((one) => one.id === oldIssuing)?.state, 'revoked')
      await assert.rejects(revoked(), { code: 'USAGE', message: /is revoked already/ })
    }))

  it('is not revoked while what is open on its certificates has time to leave', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      const first = await active(mesh, 'issuing')
      await mesh.admin.prepareAuthority({ kind: 'issuing' })
      await mesh.admin.activateAuthority({ kind: 'issuing' })
      await mesh.admin.taintAuthority({ id: first })
      const { taintedLeafMsMax, taintedSpreadMsMax, leaveToldMsMax } = limits
      const overMs = taintedLeafMsMax + taintedSpreadMsMax + leaveToldMsMax
      // The time that the test itself takes is less than a step.
      for (aheadMs of [0, taintedLeafMsMax, overMs - 20_000])
        await assert.rejects(mesh.admin.revokeAuthority({ id: first }), { code: 'USAGE', message: /are renewing/ })
      aheadMs = overMs
      const { authority } = await mesh.admin.revokeAuthority({ id: first })
      assert.equal(authority.state, 'revoked')
    })
  })

  it('who has stolen a root’s key is out with it, also by a connection that was open before, and gets nothing by it', () =>
    withMesh({}, async (mesh) => {
      const spiffeId = id('ringfence/sidecar/n9')
      const thief = await thiefOf(mesh.stateDir, join(mesh.stateDir, 'stolen'), spiffeId, systemClock)
      const honest = (await workload(mesh, 'orders')).credentials.current
      const oldRoot = await active(mesh, 'root')
      // With no request so far, and with one.
      const [silent, asked] = [await Raw.connect(mesh, thief), await Raw.connect(mesh, thief)]
      assert.equal(await asked.ask(authoritiesPath, {}), 200, 'nobody can tell yet')
      await mesh.admin.prepareAuthority({ kind: 'root' })
      await mesh.admin.activateAuthority({ kind: 'root', force: true })
      const fresh = (await workload(mesh, 'fresh')).credentials.current
      const neighbours = [await Raw.connect(mesh, fresh), await Raw.connect(mesh, fresh)]
      for (const one of neighbours) assert.equal(await one.ask(authoritiesPath, {}), 200)
      await mesh.admin.taintAuthority({ id: oldRoot })
      await mesh.admin.revokeAuthority({ id: oldRoot, force: true })
      await asked.closed
      const { csrPem } = await makeKey()
      assert.notEqual(await silent.ask('/v1/renew', { csrPem }), 200)
      for (const one of [thief, honest]) await assert.rejects(overHttps(mesh, one, 'POST', '/v1/renew', { csrPem }))
      for (const one of neighbours) assert.equal(await one.ask(authoritiesPath, {}), 200)
    }))

  it('an issuing key alone is revoked: its root is trusted on, and its leaves are refused all the same', () =>
    withMesh({}, async (mesh) => {
      const first = await active(mesh, 'issuing')
      const stolen = (await workload(mesh, 'stolen')).credentials.current
      await mesh.admin.prepareAuthority({ kind: 'issuing' })
      await mesh.admin.activateAuthority({ kind: 'issuing' })
      const neighbour = (await workload(mesh, 'neighbour')).credentials.current
      const told = async (who: typeof stolen) => (await overHttps(mesh, who, 'POST', authoritiesPath, {})).status
      await mesh.admin.taintAuthority({ id: first })
      assert.deepEqual([await told(stolen), await told(neighbour)], [200, 200])
      await mesh.admin.revokeAuthority({ id: first, force: true })
      assert.deepEqual([await told(stolen), await told(neighbour)], [403, 200])
    }))

  it('issuing keys take turns by themselves, and agents renew through it', () =>
    // What is left of the first when the second signs is a sixth, which has to be enough for a renewal on a slow machine.
    withMesh({ svidTtlMs: 10_000, authorityLives: { issuingMs: 24_000 } }, async (mesh) => {
      const agent = await sidecar(mesh, 'n1')
      const first = await active(mesh, 'issuing')
      await eventually('another one signs, and signed its certificate', async () => {
        return (await active(mesh, 'issuing')) !== first && authorityOf(agent) !== first
      })
      await agent.askControl(authoritiesPath, {}, wireAuthorities)
    }))
})
