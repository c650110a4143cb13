import assert from 'node:assert/strict'
import { Agent as HttpsAgent, request } from 'node:https'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { reportBytesMax } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { fullReport, variantsOf } from '../mesh/report.fixture.ts'
import type { TrafficRow } from '../mesh/traffic.ts'
import { lineOf } from '../mesh/watch.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'
const { advertise: _, ...sidecarReport } = fullReport

/** POSTs as an enrolled sidecar, without any of the agent's own care. */
async function rawSidecar(
  mesh: Mesh,
): Promise<(path: string, body: string, type?: string) => Promise<{ status: number; text: string }>> {
  await (await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))).stop()
  const { certificatePem: cert, keyPem: key } = await mesh.admin.mint({ spiffeId: sidecarId })
  const agent = new HttpsAgent({ keepAlive: true, cert, key, rejectUnauthorized: false, maxSockets: 1 })
  return (path, body, type = 'application/json') =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body) }
      const sent = request(new URL(path, mesh.control.url), { method: 'POST', agent, headers })
      sent.on('error', reject)
      sent.on('response', (answer) => {
        let text = ''
        answer.on('data', (part) => (text += String(part)))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
        answer.on('error', reject)
      })
      sent.end(body)
    })
}

describe('the control plane and what a proxy reports', () => {
  it('takes the good parts of a report with any field at its bound and beyond, and says what it dropped', () =>
    withMesh({}, async (mesh) => {
      const post = await rawSidecar(mesh)
      let sent = 0
      let taken = 0
      for (const { path, value, report } of variantsOf(sidecarReport)) {
        const where = `${path} = ${JSON.stringify(value)?.slice(0, 40)}`
        const { status, text } = await post('/v1/report', JSON.stringify(report))
        sent++
        // Whose endpoint it is decides more than what it says.
        if (status === 403 && path === 'endpoint.spiffeId') continue
        if (path !== 'traffic') taken++
        assert.ok(status === 204 || status === 200, `${status} for ${where}`)
        if (status === 200)
          assert.match(text, new RegExp(`^{"dropped":\\[{"field":"${path.split('.')[0]}","count":1}\\]}$`), where)
        if (sent % 50 === 0) assert.equal((await mesh.admin.status()).proxies[0]?.connected, true, where)
      }
      const { lines } = await mesh.admin.traffic(60)
      // The second row of every report was good, whatever its first one was.
      const good = lines.find(({ operation, table }) => operation === 'INSERT' && table === 'orders')
      assert.equal(good?.count, 5 * taken)
      assert.deepEqual((await mesh.admin.status()).sidecars.length, 1)
    }))

  it('knows a proxy as there whatever it sends', async () => {
    for (const [name, body, type] of [
      ['no JSON', '{', undefined],
      ['nothing', '', undefined],
      ['another type', 'x', 'text/plain'],
      ['no object', '[]', undefined],
      ['a report beyond the bound', JSON.stringify({ x: 'x'.repeat(reportBytesMax) }), undefined],
      ['a name that JSON cannot give to an object', '{"__proto__":{}}', undefined],
      ['deep nesting', '['.repeat(100_000), undefined],
    ] as const) {
      await withMesh({}, async (mesh) => {
        const post = await rawSidecar(mesh)
        await post('/v1/report', body, type).catch(() => undefined)
        assert.equal((await mesh.admin.status()).proxies[0]?.connected, true, name)
      })
    }
  })

  it('keeps a sidecar whose clients name what they may not, and its other traffic', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
      const gateway = await mesh.agent('g1', await mesh.token('spiffe://demo.local/ringfence/gateway/g1', 'gateway'), {
        role: 'gateway',
      })
      const row: TrafficRow = fullReport.traffic[0] ?? assert.fail('no row')
      let made = 0
      agent.setReporter(
        (): ProxyReport => ({
          ...sidecarReport,
          policyRevision: 0,
          traffic: [
            { ...row, count: 1 },
            ...(['workload', 'person', 'keyspace', 'table', 'operation', 'rule'] as const).flatMap((field) =>
              [257, 2049, 50_000].map((length) => ({ ...row, [field]: `${made++}${'😀'.repeat(length)}` })),
            ),
            { ...row, verdict: 'maybe' as 'allow' },
            { ...row, count: Number.NaN },
          ],
        }),
      )
      await eventually('reports', async () => {
        const { proxies, sidecars } = await mesh.admin.status()
        return proxies.some(({ name, connected }) => name === 'n1' && connected) && sidecars.length === 1
      })
      await sleep(2_500)
      const { lines } = await mesh.admin.traffic(60)
      assert.ok((lines.find(({ table, verdict }) => table === 'orders' && verdict === 'allow')?.count ?? 0) >= 2)
      assert.equal(gateway.value(pushedKinds.sidecars).current.length, 1)
    }))

  it('is not sent again what it refused', () =>
    withMesh({}, async (mesh) => {
      const lines: string[] = []
      const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) })
      const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'), { log })
      const row: TrafficRow = fullReport.traffic[0] ?? assert.fail('no row')
      let reports = 0
      agent.setReporter((): ProxyReport => {
        reports++
        // An advertised address makes the whole report of a sidecar refused.
        const refused = reports === 1 ? { advertise: [{ address: '127.0.0.1', port: 1 }] } : {}
        // What it runs is what was told, so each report that is made is sent.
        const { revocationsDigest } = agent.value(pushedKinds.revocationsAsOf).current
        return {
          ...sidecarReport,
          ...refused,
          revocationsDigest,
          traffic: [{ ...row, count: reports === 1 ? 1_000 : 1 }],
        }
      })
      await eventually('reports', () => reports >= 3)
      await eventually('traffic', async () => (await mesh.admin.traffic(60)).lines.length > 0)
      const [line] = (await mesh.admin.traffic(60)).lines
      assert.ok((line?.count ?? 1_000) < 1_000, 'the refused row came again')
      assert.equal(lines.filter((text) => text.includes('did not understand')).length, 1)
    }))
})

describe('the watch stream', () => {
  it('tells as much of a list as its reader takes in one line', () => {
    const entry = { name: 'n', spiffeId: sidecarId, address: '127.0.0.1', port: 9142 }
    const sidecars = Array.from({ length: 100 }, (_, i) => ({ ...entry, name: `n${i}` }))
    const errors: unknown[] = []
    const log = { error: (fields: unknown) => void errors.push(fields) }
    for (const lengthMax of [60, 500, 5_000, 50_000]) {
      for (const kind of [pushedKinds.sidecars, pushedKinds.gateways]) {
        const line = lineOf(kind, sidecars, log as Parameters<typeof lineOf>[2], lengthMax)
        assert.ok(line.length <= lengthMax + 1 && line.endsWith('\n'))
        const read = JSON.parse(line) as Record<string, unknown[]>
        const told = read[kind.name] ?? assert.fail(kind.name)
        assert.deepEqual(told, sidecars.slice(0, told.length))
        assert.equal(told.length === 100, lengthMax === 50_000)
      }
    }
    assert.equal(errors.length, 6)
  })
})
