/**
 * `ringfence drill breach` on a control plane, sidecars and a gateway as they are: it times who is out, cuts off nobody who works, and leaves nobody
 * revoked. `src/cli/drill/breach.test.ts` has doors and control planes that misbehave.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { pino } from 'pino'
import { doorsOf } from '../../src/cli/check/doors.ts'
import type { BreachOutcome } from '../../src/cli/drill/breach.ts'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import { credentialsOf } from '../../src/mesh/credentials.ts'
import { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import type { Feed } from '../../src/mesh/feed.ts'
import { Sidecar } from '../../src/sidecar/sidecar.ts'
import { freePort } from '../free-port.ts'
import { describe, RawClient } from './client.ts'
import { FakeNode } from './fake-node.ts'
import { endPrograms, Program } from './program.ts'
import { usualPolicy } from './world.ts'

const log = pino({ level: 'silent' })
const alice = 'spiffe://demo.local/svc/alice'
const select = 'SELECT * FROM shop.items'
/** A machine that is busy: what is tried here is that it comes, not how soon. */
const noBoundMs = 10_000

let folder: string
const closers: (() => Promise<unknown> | unknown)[] = []
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-breach-'))
})
after(() => {
  endPrograms()
  rmSync(folder, { recursive: true, force: true })
})

let folders = 0
const minted = async ({ admin }: Mesh, path: string) => {
  const { certificatePem, keyPem, bundlePem } = await admin.mint({ spiffeId: `spiffe://demo.local/${path}` })
  return credentialsOf(certificatePem, keyPem, bundlePem)
}

async function sidecarAt(mesh: Mesh, name: string, feed: Feed): Promise<number> {
  const node = new FakeNode(await minted(mesh, 'cassandra/node1'))
  await node.start()
  const port = await freePort()
  const sidecar = new Sidecar({
    config: {
      name,
      control: { url: mesh.control.url },
      dataCenter: 'dc1',
      rack: 'rack1',
      upstream: { address: '127.0.0.1', port: node.port, connections: 1, share: 'mesh' },
      listeners: [{ address: '127.0.0.1', port, tls: true } as never],
      audit: { directory: 'unused' },
    },
    feed,
    log,
    auditDirectory: join(folder, `audit${++folders}`),
  })
  await sidecar.start()
  closers.unshift(
    () => sidecar.stop(0),
    () => node.stop().catch(() => {}),
  )
  return port
}

/** One sidecar and one gateway that the control plane knows, and a client who works all the while. */
async function withDoors(test: (mesh: Mesh, at: { sidecar: number; gateway: number }) => Promise<void>): Promise<void> {
  await withMesh({}, async (mesh) => {
    try {
      await mesh.admin.applyPolicy(usualPolicy, 'p.yaml', false)
      const id = (role: string, name: string): string => `spiffe://demo.local/ringfence/${role}/${name}`
      const own = id('sidecar', 'c1/dc1/n1')
      const sidecar = await sidecarAt(mesh, 'n1', await mesh.agent('n1', await mesh.token(own, 'sidecar')))
      const token = await mesh.token(id('gateway', 'g1'), 'gateway')
      const feed = await mesh.agent('g1', token, { role: 'gateway' })
      const gateway = await freePort()
      const place = { address: '127.0.0.1', port: gateway }
      const control = { url: mesh.control.url }
      const listeners = [{ ...place, tls: true as const }]
      const started = new Gateway({
        config: { name: 'g1', control, workers: 1, listeners, advertise: [place], locality: {} },
        feed,
        log,
      })
      await started.start()
      closers.unshift(() => started.stop(0))
      await eventually('both doors are known', async () => doorsOf(await mesh.admin.status()).length === 2)
      const credentials = await minted(mesh, 'svc/alice')
      for (const port of [sidecar, gateway]) {
        const client = await eventually('a client is let in', () =>
          RawClient.open({ port, credentials }).catch(() => undefined),
        )
        await eventually('its node is known', async () => answerOf(client).then((text) => text.startsWith('echo')))
        works.set(port, client)
        closers.unshift(() => client.close())
      }
      await test(mesh, { sidecar, gateway })
      for (const [port, client] of works) assert.match(await answerOf(client), /^echo/, `who works at ${port}`)
    } finally {
      works.clear()
      for (const close of closers.splice(0)) await close()
    }
  })
}
/** By another certificate of the same identity. */
const works = new Map<number, RawClient>()
let streams = 0
const answerOf = async (client: RawClient): Promise<string> =>
  describe(await client.ask(queryEnvelope(4, 1 + (++streams % 100), select), 20_000))

/** Its revocations are over, and each was one that ends by itself soon. */
async function nobodyIsRevoked({ admin }: Mesh, count: number): Promise<void> {
  const { revocations, count: inForce } = await admin.revocations(true, 100)
  assert.equal(inForce, 0)
  assert.equal(revocations.length, count)
  for (const { untilMs, createdAtMs, ended } of revocations) {
    assert.ok(untilMs !== undefined && untilMs - createdAtMs <= 120_000)
    assert.notEqual(ended, undefined)
  }
}

/** A sidecar to whom nobody tells anything. */
async function deafSidecar(mesh: Mesh): Promise<number> {
  const feed = new FakeFeed(await minted(mesh, 'ringfence/sidecar/c1/dc1/deaf'), { revision: 1, source: usualPolicy })
  const port = await sidecarAt(mesh, 'deaf', feed)
  const credentials = await minted(mesh, 'svc/alice')
  const client = await eventually('it lets in', () => RawClient.open({ port, credentials }).catch(() => undefined))
  await eventually('its node is known', async () => answerOf(client).then((text) => text.startsWith('echo')))
  client.close()
  return port
}

const drill = (mesh: Mesh, ...args: string[]): Program =>
  new Program(['drill', 'breach', '--state-dir', mesh.stateDir, ...args])

suite('the drill of a breach', () => {
  it('times each door, with a neighbour of the same identity that goes on, and lets in again', () =>
    withDoors(async (mesh, at) => {
      const table = await drill(mesh, '--as', alice, '--by', 'carol').ended
      const json = await drill(mesh, '--as', 'corp/alice', '-o', 'json').ended
      const outcome = JSON.parse(json.out) as BreachOutcome & { good: boolean }
      assert.equal(outcome.identity, 'spiffe://demo.local/user/corp/alice')
      assert.deepEqual(
        outcome.doors.map(({ door, kind, proxy }) => `${door} ${kind} ${proxy}`).sort(),
        [`127.0.0.1:${at.sidecar} sidecar n1`, `127.0.0.1:${at.gateway} gateway g1`].sort(),
      )
      for (const {
        refusedMs = noBoundMs,
        closedMs = noBoundMs,
        comesAgain,
        neighbourAnswered,
        letInMs,
      } of outcome.doors) {
        assert.ok(refusedMs <= closedMs && closedMs < noBoundMs, json.out)
        assert.equal(comesAgain, 'refused')
        assert.ok(neighbourAnswered > 0 && letInMs !== undefined, json.out)
      }
      const { have, connected, missing } = outcome.inForce
      assert.deepEqual({ have, connected, missing }, { have: 2, connected: 2, missing: [] })
      // With time to spare it is good; a machine that is busy may be late, and says so.
      const late = outcome.doors.flatMap(({ faults }) => faults)
      for (const fault of late) assert.match(fault, /^(refused|closed) after/)
      assert.equal(json.code, late.length === 0 ? 0 : 1, json.err)
      assert.equal(outcome.good, late.length === 0)
      assert.match(table.out, /^DOOR +KIND +PROXY +REFUSED +CLOSED +COMES AGAIN +NEIGHBOUR +LET IN AGAIN\n/)
      assert.match(
        table.out,
        new RegExp(`^127\\.0\\.0\\.1:${at.gateway} +gateway +g1 +\\d+\\.\\d{3} s .* refused +\\d+ answered`, 'm'),
      )
      assert.match(
        table.out,
        /\nin force at 2 of 2 proxies after \d+\.\d\d s\nrevocation 1 of certificate [0-9A-F]+ of .*alice is over/,
      )
      assert.match(table.err, /^4 sessions of two certificates at 2 doors\nrevocation 1: certificate /m)
      await nobodyIsRevoked(mesh, 2)
      const [, first] = (await mesh.admin.revocations(true, 10)).revocations
      assert.deepEqual([first?.kind, first?.by, first?.reason], ['one-certificate', 'carol', 'drill'])
    }))

  it('that is only said makes nothing, and what can be nobody’s is refused', () =>
    withDoors(async (mesh) => {
      const before = (await mesh.admin.issuances(100)).issuances.length
      const planned = await drill(mesh, '--as', alice, '--dry-run').ended
      assert.equal(planned.code, 0, planned.err)
      assert.match(
        planned.out,
        /^would revoke a certificate of .*alice that is made for it, and try\n( {2}127\S+ \((gateway|sidecar)\)\n){2}$/,
      )
      const wrong = [
        'alice',
        'spiffe://other.local/svc/a',
        'spiffe://demo.local/svc/*',
        'spiffe://demo.local/ringfence/gateway/g1',
        '/x',
        'corp/',
      ]
      for (const { code, err, out } of await Promise.all(wrong.map((as) => drill(mesh, '--as', as).ended)))
        assert.equal(code, 64, err + out)
      assert.equal((await mesh.admin.issuances(100)).issuances.length, before)
      await nobodyIsRevoked(mesh, 0)
      const away = await new Program(['drill', 'breach', '--state-dir', join(folder, 'none'), '--as', alice]).ended
      assert.equal(away.code, 1)
    }))

  it('fails where a proxy does not hear of it, and where a door cannot be tried, and tells of the others', () =>
    withDoors(async (mesh, at) => {
      const deaf = await deafSidecar(mesh)
      const closedPort = await freePort()
      const doors = [at.sidecar, deaf, closedPort].flatMap((port) => ['--door', `127.0.0.1:${port}`])
      const { code, out, err } = await drill(mesh, '--as', alice, ...doors, '-o', 'json').ended
      assert.equal(code, 1, err)
      const outcome = JSON.parse(out) as BreachOutcome
      const [good, silent, dead] = outcome.doors
      assert.equal(good?.comesAgain, 'refused')
      assert.equal(silent?.closedMs, undefined)
      assert.equal(silent?.comesAgain, 'let in')
      assert.deepEqual(silent?.faults, [
        'not refused within 5 s',
        'not closed within 5 s',
        'a new connection was let in while it was revoked',
      ])
      assert.match(dead?.faults.join() ?? '', /^not tried: .*ECONNREFUSED/)
      await nobodyIsRevoked(mesh, 1)
    }))

  it('that is cancelled ends the revocation first', () =>
    withDoors(async (mesh) => {
      const deaf = await deafSidecar(mesh)
      const program = drill(mesh, '--as', alice, '--door', `127.0.0.1:${deaf}`)
      await program.says(/revocation 1: /)
      program.child.kill('SIGINT')
      const { code, out, err } = await program.ended
      assert.equal(code, 1)
      assert.equal(out, '')
      assert.match(err, /cancelled: the revocation is ended first\nerror: cancelled; nobody is revoked/)
      await nobodyIsRevoked(mesh, 1)
    }))
})
