import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { renewalDelayMs } from '../agent/renewal.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import { makeKey } from '../mesh/credentials.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { validatePolicy } from '../policy/compiler.ts'
import { startControl } from './main.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'

const log = pino({ level: 'silent' })
const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'

function reportOf(agent: Agent, change: Partial<ProxyReport> = {}): ProxyReport {
  const { revision } = agent.value(pushedKinds.policy).current
  return {
    policyRevision: revision,
    connections: 1,
    sessions: 2,
    upstreamConnections: 3,
    listeners: [],
    traffic: [],
    ...change,
  }
}

const faultOf = (code: RingfenceError['code'], wording: RegExp) => (error: unknown) =>
  error instanceof RingfenceError && error.code === code && wording.test(error.message)

/** POST without any of the agent's own care. */
function post(
  mesh: Mesh,
  path: string,
  body: unknown,
  tls: { cert?: string; key?: string } = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'x-forwarded-client-cert': sidecarId,
      'x-spiffe-id': sidecarId,
    }
    const sent = request(new URL(path, mesh.control.url), {
      method: 'POST',
      agent: false,
      rejectUnauthorized: false,
      headers,
      ...tls,
    })
    sent.on('error', reject)
    sent.on('response', (answer) => {
      let text = ''
      answer.on('data', (part) => {
        text += String(part)
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    })
    sent.end(JSON.stringify(body))
  })
}

describe('enrolment', () => {
  it('gives the identity that the token is for, once', () =>
    withMesh({}, async (mesh) => {
      const token = await mesh.token(sidecarId, 'sidecar')
      const agent = await mesh.agent('n1', token)
      assert.equal(agent.credentials.current.spiffeId, sidecarId)
      await assert.rejects(mesh.agent('n2', token), faultOf('IDENTITY', /join token is not valid/))
      const { issuances } = await mesh.admin.issuances(10)
      assert.deepEqual(
        issuances.filter(({ reason }) => reason === 'enrol').map(({ spiffeId }) => spiffeId),
        [sidecarId],
      )
    }))

  it('spends a token exactly once however many come at the same moment', () =>
    withMesh({}, async (mesh) => {
      const token = await mesh.token(sidecarId, 'sidecar')
      const { csrPem } = await makeKey()
      const body = { token, csrPem, name: 'x', role: 'sidecar' }
      const answers = await Promise.all(Array.from({ length: 8 }, () => post(mesh, '/v1/enrol', body)))
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 403, 403, 403, 403, 403, 403, 403])
    }))

  it('refuses a token that is late, for another role, unknown, or no token at all', async () => {
    let skewMs = 0
    const clock: Clock = { now: () => Date.now() + skewMs, monotonic: systemClock.monotonic }
    await withMesh({ clock }, async (mesh) => {
      const token = await mesh.token(sidecarId, 'sidecar')
      await assert.rejects(mesh.agent('g', token, { role: 'gateway' }), faultOf('IDENTITY', /join token is not valid/))
      skewMs = 599_000
      const { csrPem } = await makeKey()
      skewMs = 601_000
      const late = await post(mesh, '/v1/enrol', { token, csrPem, name: 'x', role: 'sidecar' })
      assert.equal(late.status, 403)
      skewMs = 0
      await assert.rejects(
        mesh.agent('n1', `guess.${token.split('.')[1]}`),
        faultOf('IDENTITY', /join token is not valid/),
      )
      await assert.rejects(mesh.agent('n1', 'guess'), faultOf('IDENTITY', /not a join token/))
      await assert.rejects(mesh.agent('n1'), faultOf('IDENTITY', /no join token was given/))
      assert.ok(await mesh.agent('n1', token))
    })
  })

  it('keeps only the hash of a token', () =>
    withMesh({}, async (mesh) => {
      const token = await mesh.token(sidecarId, 'sidecar')
      await mesh.control.stop()
      const stored = ['control.db', 'control.db-wal'].map((name) => {
        try {
          return readFileSync(join(mesh.stateDir, name), 'latin1')
        } catch {
          return ''
        }
      })
      assert.ok(!stored.join().includes(token.split('.')[0] ?? ''))
      await mesh.restart()
    }))

  it('shows the token to nobody but the control plane whose root it names', () =>
    withMesh({}, (mesh) =>
      withMesh({}, async (impostor) => {
        const token = await mesh.token(sidecarId, 'sidecar')
        const options = { controlUrl: impostor.control.url }
        await assert.rejects(
          mesh.agent('n1', token, options),
          faultOf('IDENTITY', /not the one that made this join token/),
        )
        // The token was not spent anywhere.
        assert.ok(await mesh.agent('n1', token))
      }),
    ))

  it('makes tokens only for ids that fit their role', () =>
    withMesh({}, async (mesh) => {
      for (const [spiffeId, role] of [
        ['spiffe://demo.local/svc/orders', 'sidecar'],
        [sidecarId, 'workload'],
        [sidecarId, 'gateway'],
        ['spiffe://demo.local/ringfence/control-plane/x', 'workload'],
        ['spiffe://other/svc/orders', 'workload'],
      ] as const) {
        await assert.rejects(mesh.token(spiffeId, role), faultOf('USAGE', /is not an id for|trust domain/), spiffeId)
      }
      await assert.rejects(
        mesh.admin.makeToken({ spiffeId: 'spiffe://demo.local/svc/x', role: 'workload', ipAddresses: ['127.0.0.1'] }),
        /a workload carries no addresses/,
      )
      await assert.rejects(mesh.admin.mint({ spiffeId: 'spiffe://demo.local/ringfence/control-plane/x' }), /not minted/)
    }))

  it('writes into a gateway’s certificates, renewed ones too, whom its plain listeners may speak for, and nobody else', () =>
    withMesh({}, async (mesh) => {
      const spiffeId = 'spiffe://demo.local/ringfence/gateway/g1'
      const named = ['spiffe://demo.local/svc/backup', 'spiffe://demo.local/svc/report']
      const { token } = await mesh.admin.makeToken({ spiffeId, role: 'gateway', listenerIdentities: named })
      const agent = await mesh.agent('g1', token, { role: 'gateway' })
      assert.deepEqual(readLeaf(agent.credentials.current.leafDer).listenerIdentities, named)
      const { certificatePem: cert, keyPem: key } = agent.credentials.current
      const { csrPem } = await makeKey()
      const renewed = await post(mesh, '/v1/renew', { csrPem }, { cert, key })
      const issued = JSON.parse(renewed.text) as { certificatePem: string }
      assert.deepEqual(readLeaf(new X509Certificate(issued.certificatePem).raw).listenerIdentities, named)
      const plain = await mesh.agent('g2', await mesh.token(`${spiffeId}2`, 'gateway'), { role: 'gateway' })
      assert.deepEqual(readLeaf(plain.credentials.current.leafDer).listenerIdentities, [])
      for (const [id, role, said] of [
        ['spiffe://demo.local/svc/a', 'workload', /only a gateway's token/],
        ['spiffe://demo.local/svc/a', 'sidecar', /only a gateway's token/],
        ['spiffe://demo.local/ringfence/gateway/x', 'gateway', /the mesh's own/],
        ['spiffe://demo.local/cassandra/node1', 'gateway', /the mesh's own/],
        ['spiffe://other/svc/a', 'gateway', /trust domain/],
        ['svc/a', 'gateway', /not a SPIFFE id/],
      ] as const) {
        const holder = role === 'workload' ? 'spiffe://demo.local/svc/x' : role === 'sidecar' ? sidecarId : spiffeId
        await assert.rejects(mesh.admin.makeToken({ spiffeId: holder, role, listenerIdentities: [id] }), said, id)
      }
    }))

  it('limits how often one identity is signed for', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const { csrPem } = await makeKey()
      const tls = { cert: agent.credentials.current.certificatePem, key: agent.credentials.current.keyPem }
      const answers = await Promise.all(Array.from({ length: 40 }, () => post(mesh, '/v1/renew', { csrPem }, tls)))
      const count = (status: number): number => answers.filter((answer) => answer.status === status).length
      assert.ok(count(200) >= 20 && count(429) >= 1, `${count(200)} signed, ${count(429)} refused`)
      assert.equal(count(200) + count(429), 40)
    }))
})

describe('proxy API', () => {
  it('answers who has no certificate nothing but enrol, whatever headers say', () =>
    withMesh({}, async (mesh) => {
      const { csrPem } = await makeKey()
      for (const [path, body] of [
        ['/v1/renew', { csrPem }],
        ['/v1/report', {}],
      ] as const) {
        const answer = await post(mesh, path, body)
        assert.equal(answer.status, 403)
        assert.match(answer.text, /client certificate of this mesh is needed/)
      }
    }))

  it('refuses a certificate of another authority before it answers anything', () =>
    withMesh({}, (mesh) =>
      withMesh({}, async (foreign) => {
        const minted = await foreign.admin.mint({ spiffeId: sidecarId })
        const token = await mesh.token(sidecarId, 'sidecar')
        const { csrPem } = await makeKey()
        const tls = { cert: minted.certificatePem, key: minted.keyPem }
        await assert.rejects(
          post(mesh, '/v1/enrol', { token, csrPem, name: 'x', role: 'sidecar' }, tls),
          /hang up|ECONNRESET|EPIPE/,
        )
        await assert.rejects(post(mesh, '/v1/renew', { csrPem }, tls), /hang up|ECONNRESET|EPIPE/)
        assert.ok(await mesh.agent('n1', token))
      }),
    ))

  it('refuses an expired certificate', () =>
    withMesh({}, async (mesh) => {
      const minted = await mesh.admin.mint({ spiffeId: sidecarId, ttlMs: 1_000 })
      await sleep(2_100)
      const tls = { cert: minted.certificatePem, key: minted.keyPem }
      await assert.rejects(post(mesh, '/v1/report', {}, tls), /hang up|ECONNRESET|EPIPE/)
    }))

  it('takes reports only from enrolled proxies, and an endpoint only from its own sidecar', () =>
    withMesh({}, async (mesh) => {
      const minted = await mesh.admin.mint({ spiffeId: 'spiffe://demo.local/svc/orders' })
      const workload = await post(mesh, '/v1/report', {}, { cert: minted.certificatePem, key: minted.keyPem })
      assert.equal(workload.status, 403)
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const tls = { cert: agent.credentials.current.certificatePem, key: agent.credentials.current.keyPem }
      const endpoint = { name: 'n1', spiffeId: sidecarId, address: '127.0.0.1', port: 9142 }
      assert.equal((await post(mesh, '/v1/report', reportOf(agent, { endpoint }), tls)).status, 204)
      const stolen = { ...endpoint, spiffeId: `${sidecarId}0` }
      assert.equal((await post(mesh, '/v1/report', reportOf(agent, { endpoint: stolen }), tls)).status, 403)
      assert.deepEqual((await mesh.admin.status()).sidecars, [endpoint])
    }))

  it('keeps its keys, store and socket from others', () =>
    withMesh({}, async (mesh) => {
      await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const modeOf = (path: string): number => statSync(path).mode & 0o777
      assert.equal(modeOf(mesh.stateDir), 0o700)
      assert.equal(modeOf(join(mesh.stateDir, 'control.sock')), 0o600)
      assert.equal(modeOf(join(mesh.stateDir, 'ca', 'root.pem')), 0o600)
      assert.equal(modeOf(join(mesh.stateDir, '..', 'n1', 'identity.json')), 0o600)
    }))
})

describe('renewal', () => {
  it('comes at a random point of 50 to 67 % of the issued life, and at once from 90 %', () => {
    const at = (nowMs: number, random: number): number => renewalDelayMs(0, 1_000, nowMs, () => random)
    assert.equal(at(0, 0), 500)
    assert.ok(Math.abs(at(0, 0.999_999) - 670) < 0.01)
    assert.equal(at(600, 0), 0)
    assert.equal(at(899, 0.999_999), 0)
    assert.equal(at(900, 0.5), 0)
  })

  it('goes on by itself with a new key each time while policy and reports keep flowing', () =>
    withMesh({ svidTtlMs: 10_000 }, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      agent.setReporter(() => reportOf(agent))
      const keys = new Set([agent.credentials.current.keyPem])
      agent.credentials.observe(({ keyPem }) => keys.add(keyPem))
      await eventually('two renewals', () => keys.size >= 3)
      await mesh.admin.applyPolicy('two', 'p.yaml', false)
      await eventually('the policy after renewal', () => agent.value(pushedKinds.policy).current.revision === 2)
      const { proxies } = await mesh.admin.status()
      assert.ok(proxies[0]?.connected)
    }))

  it('starts again from the identity on disk, and says what to do when that has expired', () =>
    withMesh({}, async (mesh) => {
      const first = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      await first.stop()
      const second = await mesh.agent('n1')
      assert.equal(second.credentials.current.certificatePem, first.credentials.current.certificatePem)
      const clock: Clock = { now: () => Date.now() + 3_700_000, monotonic: systemClock.monotonic }
      await assert.rejects(mesh.agent('n1', undefined, { clock }), faultOf('IDENTITY', /expired and cannot be renewed/))
      writeFileSync(join(mesh.stateDir, '..', 'n1', 'identity.json'), '{')
      await assert.rejects(mesh.agent('n1'), faultOf('IDENTITY', /damaged/))
    }))
})

describe('policy', () => {
  it('reaches a connected proxy, and its acknowledgement comes back, within a second', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      agent.setReporter(() => reportOf(agent))
      const tookMs: number[] = []
      for (let revision = 1; revision <= 20; revision++) {
        const startMs = performance.now()
        await mesh.admin.applyPolicy(`policy ${revision}`, 'p.yaml', false)
        await eventually('the revision', () => agent.value(pushedKinds.policy).current.revision === revision)
        tookMs.push(performance.now() - startMs)
      }
      const status = await eventually('acknowledgement', async () => {
        const now = await mesh.admin.status()
        return now.proxies[0]?.synced === true && now
      })
      assert.ok(Math.max(...tookMs) < 1_000, `took up to ${Math.max(...tookMs)} ms`)
      assert.ok((status.pushLatency?.maxMs ?? Number.POSITIVE_INFINITY) < 1_000, JSON.stringify(status.pushLatency))
    }))

  it('is refused with its position when it does not validate, and the last one stays', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await assert.rejects(mesh.admin.applyPolicy('wrong', 'p.yaml', false), faultOf('CONFIG', /p\.yaml:1:1: wrong/))
      await assert.rejects(
        mesh.admin.applyPolicy('x'.repeat(1024 * 1024 + 1), 'p.yaml', false),
        faultOf('TOO_LARGE', /policyBytesMax/),
      )
      assert.deepEqual(await mesh.admin.applyPolicy('two', 'p.yaml', true), { revision: 1, applied: false })
      assert.deepEqual(await mesh.admin.policy(), { revision: 1, source: 'one' })
    }))

  it('is refused where it is for another trust domain, when it is applied and when the control plane starts with it', async () => {
    const policyFor = (trustDomain: string): string => `apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: one }
spec:
  subjects: [{ spiffeId: "spiffe://${trustDomain}/svc/*" }]
  keyspaces: [shop]
  operations: [READ]
`
    const words = /^p\.yaml:5:\d+: .*another trust domain than this mesh, which is demo\.local/
    await withMesh({ validatePolicy }, async (mesh) => {
      for (const dryRun of [true, false]) {
        await assert.rejects(
          mesh.admin.applyPolicy(policyFor('demo.locale'), 'p.yaml', dryRun),
          faultOf('CONFIG', words),
        )
      }
      const applied = await mesh.admin.applyPolicy(policyFor('demo.local'), 'p.yaml', false)
      assert.deepEqual(applied, { revision: 1, applied: true })
    })
    const policy = { source: policyFor('prod.example'), fileName: 'p.yaml' }
    await assert.rejects(
      withMesh({ validatePolicy, policy }, async () => {}),
      faultOf('CONFIG', words),
    )
  })

  it('goes back to an older text only as a new revision; an older revision is refused (attack D15)', () =>
    withMesh({}, async (mesh) => {
      for (const source of ['one', 'two', 'one']) await mesh.admin.applyPolicy(source, 'p.yaml', false)
      const lines: string[] = []
      const log = pino({ level: 'error' }, { write: (line: string) => lines.push(line) })
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'), { log })
      assert.deepEqual(agent.value(pushedKinds.policy).current, { revision: 3, source: 'one' })
      // A control plane that lost its revisions, or came up on an older copy of its store, is back at the same place.
      await mesh.control.stop()
      for (const suffix of ['', '-wal', '-shm']) rmSync(join(mesh.stateDir, `control.db${suffix}`), { force: true })
      await mesh.restart({ policy: { source: 'old', fileName: 'p.yaml' } })
      const other = await mesh.agent('other', await mesh.token(sidecarId, 'sidecar'))
      assert.deepEqual(other.value(pushedKinds.policy).current, { revision: 1, source: 'old' })
      await eventually('the refusal', () => lines.some((line) => line.includes('older policy revision refused')))
      assert.deepEqual(agent.value(pushedKinds.policy).current, { revision: 3, source: 'one' })
    }))
})

describe('a control plane that is away', () => {
  it('does not stop a proxy: it starts from disk, serves, and follows again when it is back', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const endpoint = { name: 'n1', spiffeId: sidecarId, address: '127.0.0.1', port: 9142 }
      const sidecar = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      sidecar.setReporter(() => reportOf(sidecar, { endpoint }))
      const gatewayId = 'spiffe://demo.local/ringfence/gateway/g1'
      const gateway = await mesh.agent('g1', await mesh.token(gatewayId, 'gateway'), { role: 'gateway' })
      await eventually('the sidecar', () => gateway.value(pushedKinds.sidecars).current.length === 1)
      await gateway.stop()
      await mesh.control.stop()

      const restarted = await mesh.agent('g1', undefined, { role: 'gateway' })
      assert.deepEqual(restarted.value(pushedKinds.policy).current, { revision: 1, source: 'one' })
      assert.deepEqual(restarted.value(pushedKinds.sidecars).current, [endpoint])

      await mesh.restart()
      await mesh.admin.applyPolicy('two', 'p.yaml', false)
      await eventually(
        'the new revision',
        () =>
          restarted.value(pushedKinds.policy).current.revision === 2 &&
          sidecar.value(pushedKinds.policy).current.revision === 2,
      )
      assert.deepEqual(restarted.value(pushedKinds.sidecars).current, [endpoint])
      await eventually('everybody synced', async () => {
        const { proxies } = await mesh.admin.status()
        return proxies.find(({ name }) => name === 'n1')?.synced
      })
    }))

  it('leaves a proxy with nothing permitted, not everything, when its cache is damaged', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      await agent.stop()
      await mesh.control.stop()
      const path = join(mesh.stateDir, '..', 'n1', 'policy-cache.json')
      writeFileSync(path, readFileSync(path, 'utf8').replace('one', 'all'))
      const again = await mesh.agent('n1')
      assert.deepEqual(again.value(pushedKinds.policy).current, { revision: 0, source: '' })
      await mesh.restart()
      await eventually(
        'the policy from the control plane',
        () => again.value(pushedKinds.policy).current.source === 'one',
      )
    }))

  it('does not start with a damaged store, and says so', () =>
    withMesh({}, async (mesh) => {
      for (let i = 0; i < 50; i++) await mesh.token(`spiffe://demo.local/svc/s${i}`, 'workload')
      await mesh.control.stop()
      const path = join(mesh.stateDir, 'control.db')
      const whole = readFileSync(path)
      writeFileSync(path, Buffer.concat([whole.subarray(0, 4_096), Buffer.alloc(4_096, 0x55), whole.subarray(8_192)]))
      await assert.rejects(mesh.restart(), faultOf('CONFIG', /control\.db is damaged/))
      writeFileSync(path, 'not a database, but long enough to be one if nobody looked at it'.repeat(20))
      await assert.rejects(mesh.restart(), faultOf('CONFIG', /control\.db is damaged/))
      writeFileSync(path, whole)
      await mesh.restart()
    }))

  it('does not start twice in one folder, nor under another trust domain', () =>
    withMesh({}, async (mesh) => {
      const options = {
        stateDir: mesh.stateDir,
        listen: { address: '127.0.0.1', port: 0 },
        trustDomain: 'demo.local',
        log,
      }
      await assert.rejects(startControl(options), faultOf('CONFIG', /another control plane is running/))
      await assert.rejects(
        startControl({ ...options, trustDomain: 'other.local' }),
        faultOf('CONFIG', /belongs to spiffe:\/\/demo\.local/),
      )
      assert.ok(await mesh.admin.status())
    }))
})

describe('traffic', () => {
  it('adds up what proxies report, and keeps what could not be sent', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const row = {
        workload: 'spiffe://demo.local/svc/orders',
        keyspace: 'shop',
        table: 'orders',
        operation: 'SELECT',
        rule: 'orders-read',
      }
      let sent = 0
      agent.setReporter(() => {
        sent += 5
        return reportOf(agent, {
          traffic: [{ ...row, verdict: 'allow', count: 5, errors: 1, p50Micros: 100, p99Micros: 900 }],
        })
      })
      await eventually('a line', async () => (await mesh.admin.traffic(60)).lines.length > 0)
      await mesh.control.stop()
      await sleep(1_200)
      await mesh.restart()
      const before = sent
      const line = await eventually('the rows of the outage', async () => {
        const [first] = (await mesh.admin.traffic(60)).lines
        // The restarted control plane counts from nothing, so five or more at once were kept meanwhile.
        return first !== undefined && first.count > 5 && first
      })
      // Sums are of buckets, each a sixteenth of its value wide.
      assert.ok(before > 0 && Math.abs(line.p99Micros - 900) <= 29 && Math.abs(line.p50Micros - 100) <= 4)
      assert.equal(line.errors * 5, line.count)
    }))
})
