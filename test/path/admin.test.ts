/** What the admin port of each role says while clients are served and refused, the node is away, and workers die. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { certsOf } from '../../src/agent/admin.ts'
import { Counted } from '../../src/audit/counted.ts'
import { Tapped } from '../../src/audit/tapped.ts'
import { startControl } from '../../src/control/main.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { gatewayPages } from '../../src/gateway/admin.ts'
import { answerOf } from '../../src/gateway/shown.ts'
import { startAdminServer } from '../../src/mesh/admin/server.ts'
import type { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { sidecarPages } from '../../src/sidecar/admin.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { RequestSeries } from '../../src/telemetry/metrics/requests.ts'
import { freePort } from '../free-port.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const log = createLogger('admin', { write() {} })
const loopback = { host: '127.0.0.1', port: 0 }

let world: World
let running: RunningSidecar
let gateway: RunningGateway
let drained = 0
/** Where the admin ports are. */
const at = { sidecar: '', gateway: '', control: '' }
const closers: (() => unknown)[] = []

function proxyOf(feed: FakeFeed, role: 'sidecar' | 'gateway') {
  const agent = { role, name: `${role}1`, credentials: feed.credentials, value: feed.value.bind(feed) }
  return {
    agent,
    version: '1.2.3',
    configFile: `/etc/${role}.yaml`,
    config: {
      control: { url: 'https://control:8443' },
      ...(role === 'sidecar'
        ? { nodeCertificate: { keystore: '/k.pem', reload: 'nodetool -pw hunter2 reloadssl' } }
        : {}),
    },
  }
}

const common = { profiling: false, drain: () => void drained++ }

before(async () => {
  world = await World.make()
  const counted = new Counted(new RequestSeries())
  running = await world.sidecar({ more: { consumers: [counted] } })
  const { sidecar, feed } = running
  const own = sidecarPages({ proxy: proxyOf(feed, 'sidecar'), sidecar, counted, tapped: new Tapped(), ...common })
  gateway = await world.gateway([running])
  const answer = answerOf(gateway.gateway)
  const workers = { restarts: 0, pids: [7], ask: (what: string) => Promise.resolve([[7, answer(what)] as const]) }
  const theirs = gatewayPages({ proxy: proxyOf(gateway.feed, 'gateway'), workers, count: 1, ...common })
  for (const [role, pages] of [
    ['sidecar', own],
    ['gateway', theirs],
  ] as const) {
    const server = await startAdminServer(loopback, pages, log)
    at[role] = server.where
    closers.push(() => server.stop())
  }
  const stateDir = mkdtempSync(join(tmpdir(), 'rf-admin-'))
  const port = await freePort()
  at.control = `http://127.0.0.1:${port}`
  const control = await startControl({
    stateDir,
    listen: { address: '127.0.0.1', port: 0 },
    trustDomain: 'demo.local',
    admin: { listen: { host: '127.0.0.1', port }, profiling: false },
    log,
  })
  closers.push(
    () => control.stop(),
    () => rmSync(stateDir, { recursive: true }),
  )
})

after(async () => {
  for (const close of closers) await close()
  await world.close()
})

const get = (role: keyof typeof at, path: string): Promise<Response> => fetch(at[role] + path)
const textOf = async (role: keyof typeof at, path: string): Promise<string> => (await get(role, path)).text()
/** A sample's value, or 0; names of labels as they are written. */
const sampleOf = (text: string, sample: string): number =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${sample} `))
      ?.slice(sample.length + 1) ?? 0,
  )

suite('the admin ports', () => {
  it('count requests by who asked for what, and what was decided', async () => {
    const alice = await world.client(gateway.port, 'alice')
    const bob = await world.client(running.port, 'bob')
    for (let n = 0; n < 3; n++) await alice.ask(queryEnvelope(4, 1, 'SELECT * FROM shop.items'))
    await bob.ask(queryEnvelope(4, 1, "INSERT INTO shop.items (k) VALUES ('v')"))
    const text = await textOf('sidecar', '/metrics')
    const requests = (who: string, verb: string, verdict: string, rule: string): number =>
      sampleOf(
        text,
        `ringfence_requests_total{workload="spiffe://demo.local/svc/${who}",person_group="",db_namespace="shop",` +
          `db_collection_name="items",db_operation_name="${verb}",verdict="${verdict}",rule="${rule}"}`,
      )
    assert.equal(requests('alice', 'SELECT', 'allow', 'alice-shop'), 3)
    assert.equal(requests('bob', 'INSERT', 'deny', 'default-deny'), 1, text)
    const node = 'db_client_operation_duration_seconds_count'
    const labels = (who: string, verb: string): string =>
      `{db_system_name="cassandra",workload="spiffe://demo.local/svc/${who}",db_operation_name="${verb}"}`
    assert.equal(sampleOf(text, node + labels('alice', 'SELECT')), 3)
    assert.equal(sampleOf(text, node + labels('bob', 'INSERT')), 0, 'the node never saw it')
    assert.equal(sampleOf(text, 'ringfence_log_ins_total{method="certificate"}'), 2, text)
    assert.equal(sampleOf(text, 'ringfence_sessions{door="link"}'), 1)
    assert.equal(sampleOf(text, 'ringfence_sessions{door="driver"}'), 1)
    assert.equal(sampleOf(text, 'ringfence_node_disagreements_total{about="tables"}'), 0)
    assert.match(text, /^ringfence_node_disagreements_total\{about="tables"\} 0$/m)
    assert.ok(sampleOf(text, 'ringfence_record_lines_total') >= 6)
    const front = await textOf('gateway', '/metrics')
    assert.equal(sampleOf(front, 'ringfence_sessions{door="driver"}'), 1)
    assert.equal(sampleOf(front, 'ringfence_links_usable'), 1)
    assert.equal(sampleOf(front, 'ringfence_workers'), 1)
  })

  it('show who has a session', async () => {
    const { sessions } = JSON.parse(await textOf('sidecar', '/sessions')) as { sessions: Record<string, unknown>[] }
    const seen = sessions.map(({ door, workload, gateway: by }) => [door, workload, by])
    assert.deepEqual(seen.sort(), [
      ['driver', 'spiffe://demo.local/svc/bob', undefined],
      ['link', 'spiffe://demo.local/svc/alice', 'spiffe://demo.local/ringfence/gateway/gateway1'],
    ])
    const outside = JSON.parse(await textOf('gateway', '/sessions')) as { sessions: Record<string, unknown>[] }
    assert.deepEqual(
      outside.sessions.map(({ workload }) => workload),
      ['spiffe://demo.local/svc/alice'],
    )
  })

  it('show what is in force and from where, and no secret', async () => {
    const text = await textOf('sidecar', '/config_dump')
    const dump = JSON.parse(text) as { pushed: Record<string, Record<string, unknown>>; configuration: unknown }
    assert.deepEqual(dump.configuration, {
      from: '/etc/sidecar.yaml',
      value: {
        control: { url: 'https://control:8443' },
        nodeCertificate: { keystore: '/k.pem', reload: '(a command)' },
      },
    })
    assert.doesNotMatch(text, /hunter2/)
    assert.deepEqual(dump.pushed.keys, { from: 'https://control:8443', secret: true })
    assert.match(JSON.stringify(dump.pushed.policy), /alice-shop/)
    // The fixture's mesh key is 32 times the byte 1.
    for (const form of ['hex', 'base64', 'base64url'] as const)
      assert.ok(!text.includes(Buffer.alloc(32, 1).toString(form).slice(0, 40)), form)
    for (const role of ['sidecar', 'gateway', 'control'] as const)
      for (const page of ['/config_dump', '/certs', '/sessions', '/metrics'])
        assert.doesNotMatch(await textOf(role, page), /PRIVATE KEY|"d":/, `${role} ${page}`)
    const certs = JSON.parse(await textOf('sidecar', '/certs')) as object
    assert.deepEqual(certs, certsOf(running.feed.credentials.current))
  })

  it('are metrics that promtool has nothing to say about', async () => {
    for (const role of ['sidecar', 'gateway', 'control'] as const) {
      const input = await textOf(role, '/metrics')
      const names = [...input.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
      assert.equal(new Set(names).size, names.length, `${role} says each family once`)
      const checked = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
      if (checked.error !== undefined && process.env.CI !== 'true') continue
      assert.deepEqual([checked.status, checked.stdout + checked.stderr], [0, ''], role)
    }
  })

  it('say why a sidecar is not ready, and a gateway behind it neither', async () => {
    for (const role of ['sidecar', 'gateway', 'control'] as const)
      assert.equal((await get(role, '/readyz')).status, 200, role)
    await running.node.stop()
    await until('the node is away', () => running.sidecar.shown.nodeAway)
    assert.deepEqual(
      [(await get('sidecar', '/readyz')).status, await textOf('sidecar', '/readyz')],
      [503, 'not ready: the node is away\n'],
    )
    assert.equal(await textOf('sidecar', '/livez'), 'ok\n')
    assert.equal(sampleOf(await textOf('sidecar', '/metrics'), 'ringfence_node_up'), 0)
    await until('the gateway knows', () => gateway.gateway.shown.links.usable.length === 0)
    assert.match(await textOf('gateway', '/readyz'), /no link to a sidecar/)
    await running.node.start()
    await until('the node is back', () => !running.sidecar.shown.nodeAway)
    assert.equal(await textOf('sidecar', '/readyz'), 'ok\n')
  })

  it('drain nobody by TCP, who ever asks', async () => {
    for (const role of ['sidecar', 'gateway'] as const) {
      assert.equal((await get(role, '/drain')).status, 405)
      const { status } = await fetch(`${at[role]}/drain`, { method: 'POST' })
      assert.equal(status, 403, role)
    }
    assert.equal((await fetch(`${at.control}/drain`, { method: 'POST' })).status, 404)
    assert.equal(drained, 0)
  })
})
