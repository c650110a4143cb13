import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { StatusAnswer } from '../control/services/proxies.ts'
import { nowMs, proxy, sidecar, status } from './check/status.fixture.ts'
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
    assert.equal(run(['token', 'generate', ...state, '--spiffe-id', 'nonsense', '--role', 'workload']).code, 64)
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
    const away = run(['check', '--state-dir', join(folder, 'absent')])
    assert.equal(away.code, 1)
    assert.match(away.out, /× .*\n {4}hint: /)
    assert.match(run(['version']).out, /^ringfence \d/)
  })

  it('ends in order on SIGTERM, through the outer Node as well', async () => {
    assert.equal(await stop(), 0)
    assert.ok(!existsSync(join(folder, 'c', 'control.sock')))
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

describe('the state of a proxy', () => {
  for (const [state, change] of [
    ['synced', {}],
    ['stale', { synced: false }],
    ['node away', { nodeAway: true }],
    ['no record', { recordFailed: true }],
    ['not collected', { recordUncollected: 'it is away' }],
    ['leaving', { draining: true, nodeAway: true }],
    ['away', { connected: false, draining: true, nodeAway: true, recordFailed: true }],
  ] as const) {
    it(`is the worst that is known of it: ${state}`, () => {
      const text = statusText({ ...status, proxies: [{ ...sidecar, ...change }] }, nowMs)
      assert.match(text, new RegExp(`^s +sidecar +${state}  `, 'm'))
    })
  }
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
