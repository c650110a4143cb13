import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { StatusAnswer } from '../control/services/proxies.ts'
import { findingsOf } from './check/of-status.ts'
import { statusText } from './commands/admin.ts'
import { parseDuration, parseHostPort } from './options.ts'
import { formatDuration, printable, table } from './output.ts'

const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))

function run(args: readonly string[], input = '', env: NodeJS.ProcessEnv = {}) {
  const ran = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', input, env: { ...process.env, ...env } })
  return { code: ran.status, out: ran.stdout, err: ran.stderr }
}

describe('ringfence', () => {
  let folder: string
  let state: string[]
  let stop: () => Promise<number | null>
  let url: string

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-cli-'))
    const stateDir = join(folder, 'c')
    state = ['--state-dir', stateDir]
    // Flags win over the environment.
    const env = {
      ...process.env,
      RINGFENCE_LOG: 'silent',
      RINGFENCE_CONTROL_LISTEN: '127.0.0.1:0',
      RINGFENCE_CONTROL_TRUST_DOMAIN: 'env.local',
    }
    const args = [bin, 'control', ...state, '--trust-domain', 'cli.local', '-o', 'json']
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const [text] = (await once(child.stdout, 'data')) as [Buffer]
    url = (JSON.parse(text.toString()) as { url: string }).url
    stop = async () => {
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      return (await exit)[0] as number | null
    }
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('enrols an agent with a token from a file, which writes its certificates', () => {
    const spiffeId = 'spiffe://cli.local/svc/orders'
    const made = run(['token', 'generate', ...state, '--spiffe-id', spiffeId, '--role', 'workload'])
    assert.equal(made.code, 0, made.err)
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, made.out)
    const out = join(folder, 'w')
    const args = ['agent', '--control-url', url, '--out', out, '--once', '--pem-bundle', join(folder, 'one.pem')]
    const ran = run(args, '', { RINGFENCE_AGENT_TOKEN_FILE: tokenFile })
    assert.equal(ran.code, 0, ran.err)
    for (const name of ['svid.pem', 'key.pem', 'bundle.pem']) assert.ok(existsSync(join(out, name)), name)
    assert.equal(statSync(join(out, 'key.pem')).mode & 0o777, 0o600)
    const one = readFileSync(join(folder, 'one.pem'), 'utf8')
    assert.equal(one.match(/-----BEGIN/g)?.length, 4, 'key, leaf, issuing certificate, root')
    const other = run([...args, '--spiffe-id', 'spiffe://cli.local/svc/other'])
    assert.equal(other.code, 1)
    assert.match(other.err, /this agent is spiffe:\/\/cli\.local\/svc\/orders/)
  })

  it('validates, applies and prints policy, with exit codes that a script can tell apart', () => {
    const bad = run(['policy', 'apply', ...state, '-f', '-'], 'kind: Nope\n')
    assert.equal(bad.code, 3)
    assert.match(bad.err, /-:1:\d+: /)
    assert.equal(run(['policy', 'apply', ...state, '-f', join(folder, 'absent.yaml')]).code, 65)
    assert.equal(run(['policy', 'apply', ...state]).code, 64)
    assert.equal(run(['policy', 'aply']).code, 64)
    assert.equal(run(['token', 'generate', ...state, '--spiffe-id', 'nonsense', '--role', 'workload']).code, 1)
    assert.equal(run(['status', '--state-dir', join(folder, 'absent')]).code, 1)
    assert.match(run(['policy', 'get', ...state]).out, /no policy yet: everything is refused/)
  })

  it('prints JSON for programs', () => {
    const status = JSON.parse(run(['status', ...state, '-o', 'json']).out) as StatusAnswer
    assert.equal(status.control.trustDomain, 'cli.local')
    assert.deepEqual(JSON.parse(run(['traffic', ...state, '-o', 'json']).out), { seconds: 60, lines: [] })
    const minted = JSON.parse(
      run(['x509', 'mint', ...state, '--spiffe-id', 'spiffe://cli.local/node/n1', '--ip', '127.0.1.1', '-o', 'json'])
        .out,
    ) as { keyPem: string }
    assert.match(minted.keyPem, /BEGIN PRIVATE KEY/)
    assert.equal(run(['check', ...state, '-o', 'json']).code, 1)
    assert.match(run(['version']).out, /^ringfence \d/)
  })

  it('ends in order on SIGTERM, through the outer Node as well', async () => {
    assert.equal(await stop(), 0)
    assert.ok(!existsSync(join(folder, 'c', 'control.sock')))
  })
})

const nowMs = Date.UTC(2026, 0, 1)
const hourMs = 3_600_000
const proxy = {
  spiffeId: 'spiffe://d/ringfence/gateway/g',
  name: 'g',
  role: 'gateway' as const,
  connected: true,
  synced: true,
  policyRevision: 3,
  certificateNotAfterMs: nowMs + hourMs / 2,
  connections: 0,
  sessions: 0,
  upstreamConnections: 0,
  lastReportMs: nowMs,
  listeners: [],
  endpoint: undefined,
  draining: false,
  nodeAway: false,
  recordFailed: false,
  advertise: [{ address: '203.0.113.7', port: 9042 }],
}
const sidecar = {
  ...proxy,
  spiffeId: 'spiffe://d/ringfence/sidecar/s',
  name: 's',
  role: 'sidecar' as const,
  advertise: [],
}
const status: StatusAnswer = {
  control: {
    name: 'c',
    listen: '127.0.0.1:1',
    startedMs: nowMs,
    version: '1',
    trustDomain: 'd',
    svidTtlMs: hourMs,
    issuingNotAfterMs: nowMs + 700 * hourMs,
    rootNotAfterMs: nowMs + 9_000 * hourMs,
  },
  policyRevision: 3,
  proxies: [proxy, sidecar],
  sidecars: [{ name: 's', spiffeId: sidecar.spiffeId, address: '127.0.0.1', port: 1 }],
}

describe('check', () => {
  const levels = (change: Partial<StatusAnswer>): string[] =>
    findingsOf({ ...status, ...change }, nowMs, 168 * hourMs).flatMap(({ level, text }) =>
      level === 'ok' ? [] : [`${level}: ${text}`],
    )

  it('finds nothing wrong with a mesh that is well', () => {
    assert.deepEqual(levels({}), [])
  })

  it('names what is broken and what soon will be, each with a hint', () => {
    assert.deepEqual(levels({ control: { ...status.control, issuingNotAfterMs: nowMs + hourMs } }), [
      'warning: issuing certificate ends in 1h0m',
    ])
    assert.deepEqual(levels({ control: { ...status.control, rootNotAfterMs: nowMs - 1 } }), [
      'failure: root certificate has expired',
    ])
    assert.deepEqual(levels({ proxies: [{ ...proxy, connected: false }, sidecar] }), [
      'failure: no gateway is connected',
      'failure: g does not report',
    ])
    assert.deepEqual(levels({ proxies: [{ ...proxy, synced: false, policyRevision: 2 }, sidecar] }), [
      'failure: g runs revision 2, not 3',
    ])
    assert.deepEqual(levels({ proxies: [{ ...proxy, certificateNotAfterMs: nowMs - 1 }, sidecar] }), [
      'failure: certificate of g has expired',
    ])
    assert.deepEqual(levels({ sidecars: [] }), ['warning: s takes no mesh links'])
    for (const [skewMs, words] of [
      [2 * hourMs, '2h0m ahead of'],
      [-2 * hourMs, '2h0m behind'],
    ] as const) {
      assert.deepEqual(levels({ proxies: [{ ...proxy, clockSkewMs: skewMs }, sidecar] }), [
        `failure: the clock of g is ${words} the control plane’s`,
      ])
    }
    assert.deepEqual(levels({ proxies: [{ ...proxy, clockSkewMs: 59_000 }, sidecar] }), [])
    assert.deepEqual(levels({ proxies: [proxy, { ...sidecar, nodeAway: true }] }), [
      'failure: the Cassandra node of s does not answer it',
    ])
    assert.deepEqual(levels({ proxies: [proxy, { ...sidecar, recordFailed: true }] }), [
      'failure: s cannot write its record, so it lets nothing pass',
    ])
    assert.deepEqual(levels({ proxies: [{ ...proxy, advertise: [] }, sidecar] }), [
      'warning: drivers at other gateways are not told of g',
    ])
    assert.deepEqual(levels({ proxies: [{ ...proxy, advertise: [], draining: true }, sidecar] }), [])
    assert.deepEqual(levels({ pushLatency: { count: 1, p99Ms: 1_500, maxMs: 1_500 } }).length, 1)
    for (const finding of findingsOf({ ...status, proxies: [], policyRevision: 0 }, nowMs, 0))
      assert.ok(finding.level === 'ok' || finding.hint)
  })
})

describe('status', () => {
  it('shows what drivers are told of each gateway, and which is about to stop', () => {
    const text = statusText(
      { ...status, proxies: [proxy, { ...proxy, name: 'h', draining: true, advertise: [] }] },
      nowMs,
    )
    const rows = text.split('\n').filter((line) => / gateway /.test(line))
    assert.match(rows[0] ?? '', /^g .*synced.* 203\.0\.113\.7:9042$/)
    assert.match(rows[1] ?? '', /^h .*leaving.* -$/)
  })
})

describe('what people write and read', () => {
  it('durations', () => {
    assert.deepEqual(
      ['90s', '5m', '1h30m', '7d', '250ms'].map(parseDuration),
      [90_000, 300_000, 5_400_000, 604_800_000, 250],
    )
    for (const text of ['', '5', 'm', '5 m', '-5m', '5x', '5m!']) assert.throws(() => parseDuration(text), text)
    assert.deepEqual([-1, 5_000, 65_000, 3_660_000, 90_000_000].map(formatDuration), [
      'expired',
      '5s',
      '1m5s',
      '1h1m',
      '1d1h',
    ])
  })

  it('addresses', () => {
    assert.deepEqual(parseHostPort('127.0.0.1:8443'), { address: '127.0.0.1', port: 8443 })
    assert.deepEqual(parseHostPort('[::1]:0'), { address: '::1', port: 0 })
    for (const text of ['8443', 'host', '::1:8443', 'host:65536', 'host:', ':1', 'a b:1'])
      assert.throws(() => parseHostPort(text), text)
  })

  it('tables in which nobody can paint: control and bidi characters are shown as escapes (F1)', () => {
    assert.equal(printable('a\u001b[31m\u202e\n'), 'a\\u001b[31m\\u202e\\u000a')
    assert.equal(
      table(
        ['A', 'N'],
        [
          ['x\u0007', '1'],
          ['y', '22'],
        ],
        [1],
      ).split('\n').length,
      3,
    )
  })
})
