/** The files of deploy/observability: alerts and dashboards ask for metrics that there are, and a real Prometheus sees the cause of an alert. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it, describe as suite } from 'node:test'
import { parse, stringify } from 'yaml'
import { Counted } from '../../src/audit/counted.ts'
import { Tapped } from '../../src/audit/tapped.ts'
import { eventually } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { startAdminServer } from '../../src/mesh/admin/server.ts'
import { sidecarPages } from '../../src/sidecar/admin.ts'
import { createLogger } from '../../src/telemetry/log.ts'
import { RequestSeries } from '../../src/telemetry/metrics/requests.ts'
import { freePort } from '../free-port.ts'
import { until, World } from './world.ts'

const root = join(import.meta.dirname, '..', '..')
const folder = join(root, 'deploy', 'observability')
const textOf = (name: string): string => readFileSync(join(folder, name), 'utf8')
const page = readFileSync(join(root, 'docs', 'observe.md'), 'utf8')

const isThere = spawnSync('promtool', ['--version']).error === undefined
const skip = !isThere && process.env.CI !== 'true' ? 'prometheus is not on this host' : false

interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
}

const rules = (parse(textOf('ringfence.rules.yaml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (one) => one.rules,
)
const alerts = rules.flatMap(({ alert }) => (alert === undefined ? [] : [alert]))

interface Dashboard {
  readonly uid: string
  readonly panels: readonly {
    readonly id: number
    readonly title: string
    readonly targets: readonly { expr: string }[]
  }[]
}

const boards = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(textOf(name)) as Dashboard)

const queries = [
  ...rules.map(({ expr }) => expr),
  ...boards.flatMap(({ panels }) => panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))),
]

suite('alerts and dashboards', () => {
  it('ask for metrics that the page describes', () => {
    assert.ok(queries.length > 50, `${queries.length} queries`)
    const names = new Set(queries.flatMap((query) => query.match(/\b(?:ringfence|db|process|nodejs)_\w+/g) ?? []))
    for (const name of names) {
      // Labels of OpenTelemetry's names, and what the page has as a family.
      if (
        ['db_namespace', 'db_collection_name', 'db_operation_name'].includes(name) ||
        /^(?:process|nodejs)_/.test(name)
      )
        continue
      const family = name.replace(/_(?:bucket|count|sum)$/, '')
      const short = family.replace(/^ringfence_record/, '…')
      assert.ok(page.includes(family) || page.includes(short), `${name} is in docs/observe.md`)
    }
    const recorded = new Set(rules.flatMap(({ record }) => (record === undefined ? [] : [record])))
    for (const name of queries.flatMap((query) => query.match(/\bringfence:[\w:]+/g) ?? []))
      assert.ok(recorded.has(name), name)
  })

  it('are each on the page, and in the tests of the rules twice', () => {
    const tests = textOf('ringfence.rules.test.yaml')
    assert.ok(alerts.length > 15)
    for (const alert of alerts) {
      assert.ok(page.includes(`| \`${alert}\` |`), `${alert} in docs/observe.md`)
      assert.equal(tests.split(new RegExp(`alertname: ${alert}\\b`)).length, 3, `${alert} fires once and rests once`)
    }
    for (const { uid, panels } of boards) {
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, uid)
      assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length, uid)
    }
  })
})

suite('promtool', { skip }, () => {
  for (const args of [
    ['check', 'rules', 'ringfence.rules.yaml'],
    ['check', 'config', 'prometheus.yaml'],
    ['test', 'rules', 'ringfence.rules.test.yaml'],
  ])
    it(`has no fault to find: ${args.join(' ')}`, () => {
      const { status, stdout, stderr } = spawnSync('promtool', args, { cwd: folder, encoding: 'utf8' })
      assert.equal(status, 0, stdout + stderr)
    })
})

suite('a real Prometheus', { skip }, () => {
  const closers: (() => unknown)[] = []
  after(async () => {
    for (const close of closers.reverse()) await close()
  })

  it('scrapes a sidecar, and sees that its node is away, and that it is back', { timeout: 120_000 }, async () => {
    const world = await World.make()
    closers.push(() => world.close())
    const counted = new Counted(new RequestSeries())
    const { sidecar, feed, node, port } = await world.sidecar({ more: { consumers: [counted] } })
    const agent = {
      role: 'sidecar' as const,
      name: 'node1',
      credentials: feed.credentials,
      value: feed.value.bind(feed),
    }
    const proxy = { agent, version: '1', configFile: 'sidecar.yaml', config: { control: { url: 'https://c:8443' } } }
    const pages = sidecarPages({ proxy, sidecar, counted, tapped: new Tapped(), profiling: false, drain() {} })
    const log = createLogger('admin', { write() {} })
    const admin = await startAdminServer({ host: '127.0.0.1', port: 0 }, pages, log)
    closers.push(() => admin.stop())
    const alice = await world.client(port, 'alice')
    for (let n = 0; n < 5; n++) await alice.ask(queryEnvelope(4, 1, 'SELECT * FROM shop.items'))

    const dir = mkdtempSync(join(tmpdir(), 'rf-prometheus-'))
    closers.push(() => rmSync(dir, { recursive: true, force: true }))
    const config = {
      global: { scrape_interval: '500ms', scrape_timeout: '500ms', evaluation_interval: '500ms' },
      rule_files: [join(folder, 'ringfence.rules.yaml')],
      scrape_configs: [{ job_name: 'ringfence', static_configs: [{ targets: [new URL(admin.where).host] }] }],
    }
    writeFileSync(join(dir, 'prometheus.yaml'), stringify(config))
    const web = `127.0.0.1:${await freePort()}`
    const flags = [
      `--config.file=${join(dir, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${dir}/data`,
      `--web.listen-address=${web}`,
    ]
    const prometheus = spawn('prometheus', flags, { stdio: 'ignore' })
    const gone = once(prometheus, 'exit')
    closers.push(async () => {
      prometheus.kill('SIGKILL')
      await gone
    })
    const ask = async (path: string): Promise<unknown> => {
      const answer = await fetch(`http://${web}/api/v1/${path}`).catch(() => undefined)
      return answer?.ok === true ? ((await answer.json()) as { data: unknown }).data : undefined
    }
    const sampleOf = async (query: string): Promise<string | undefined> => {
      const data = (await ask(`query?query=${encodeURIComponent(query)}`)) as
        | { result: { value: [number, string] }[] }
        | undefined
      return data?.result[0]?.value[1]
    }
    const stateOf = async (alert: string): Promise<string | undefined> => {
      const data = (await ask('alerts')) as { alerts: { labels: { alertname: string }; state: string }[] } | undefined
      return data?.alerts.find(({ labels }) => labels.alertname === alert)?.state
    }
    const requests = 'sum(ringfence_requests_total{workload="spiffe://demo.local/svc/alice",verdict="allow"})'
    await eventually('the requests are seen', async () => (await sampleOf(requests)) === '5')
    await eventually('it is up', async () => (await sampleOf('up{job="ringfence"}')) === '1')
    for (const query of queries) {
      const asked = query.replaceAll('$workload', 'spiffe://demo.local/svc/alice')
      assert.notEqual(await ask(`query?query=${encodeURIComponent(asked)}`), undefined, `Prometheus takes ${asked}`)
    }
    assert.equal(await stateOf('RingfenceNodeAway'), undefined)
    await node.stop()
    await until('the node is away', () => sidecar.shown.nodeAway)
    // It fires after a minute; that its cause is there is seen at once.
    await eventually('the alert is pending', async () => (await stateOf('RingfenceNodeAway')) !== undefined)
    await node.start()
    await eventually('the alert rests', async () => (await stateOf('RingfenceNodeAway')) === undefined)
  })
})
