/** What a report of a fault must not have: each kind of secret, in each place where one may stand. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { startAdminServer } from '../mesh/admin/server.ts'
import { createLogger } from '../telemetry/log.ts'
import { textWithoutSecrets, withoutSecrets } from './without-secrets.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const canary = 'kanarienvogel'
const joinToken = `${randomBytes(32).toString('base64url').slice(0, 40)}aA1`

/** Text, and what of it must not be left. */
const secrets: readonly (readonly [text: string, gone: string])[] = [
  [pem, pem.split('\n')[1]!],
  [JSON.stringify({ keys: pem }), pem.split('\n')[1]!],
  [pem.slice(0, 120), pem.split('\n')[1]!],
  [`Authorization: Bearer ${canary}`, canary],
  [`authorization=Basic ${canary}==`, canary],
  [`token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJh${canary}.c2ln`, canary],
  [`password=${canary}`, canary],
  [`"clientSecret": "${canary} with a space"`, canary],
  [`--token ${joinToken}`, joinToken],
  [`RINGFENCE_GATEWAY_TOKEN=${canary}`, canary],
  [`https://user:${canary}@host/`, canary],
  [`GET /?X-Amz-Signature=${canary}&a=b`, canary],
  [`callback?code=${canary}&state=x`, canary],
  [`Cookie: a=b; session=${canary}; c=d`, canary],
  ['key AKIAIOSFODNN7EXAMPLE', 'AKIAIOSFODNN7EXAMPLE'],
  ['aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'K7MDENG'],
  ['found wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', 'K7MDENG'],
  [`private_key=${canary}`, canary],
  [`secret_key: ${canary}`, canary],
  [`passwords=["a", "${canary}"]`, canary],
  [`tokens: a, b ${canary}`.replace(', b', ''), canary],
  [`{"msg":"body {\\"password\\":\\"${canary} and more\\"}"}`, canary],
  [`https://:${canary}@host/`, canary],
  [`PASSWORD ${canary}`, canary],
  [`password: correct ${canary} battery`, canary],
  [`glpat-${canary}`, canary],
  [`session-keys = {"a": "${canary}"}`, canary],
  [`apiKey='${canary}'`, canary],
]
const kept = [
  'spiffe://demo.local/svc/orders',
  '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  '2026-11-29T12:00:00.001Z',
  '/etc/ringfence/sidecar.yaml:12:3',
  'SELECT * FROM shop.orders WHERE id = ?',
  'ringfence_identity_cert_expiration_timestamp_seconds 1790000000',
  'default-deny',
  'spiffe://a.b/svc/OrdersServiceWithAVeryLongName-2024-Prod',
  '/usr/lib/Ringfence2/node_modules/@peculiar/x509/build/x509.cjs.js',
  'tokenFile: /run/token',
]

describe('a text without secrets', () => {
  it('has none of any kind', () => {
    for (const [text, gone] of secrets) {
      assert.ok(text.includes(gone), text)
      assert.ok(!textWithoutSecrets(text).includes(gone), textWithoutSecrets(text))
      assert.ok(!textWithoutSecrets(`before ${text} behind`).includes(gone), text)
    }
  })

  it('has what a report is made for', () => {
    for (const text of kept) assert.equal(textWithoutSecrets(text), text)
  })

  it('of fields goes by their names too', () => {
    for (const name of [
      'password',
      'clientSecret',
      'token',
      'Authorization',
      'apiKey',
      'keyPem',
      'cookie',
      'sessionKey',
      'secretAccessKey',
      'accessKey',
      'SecretKey',
      'passwords',
      'tokens',
      'credentials',
      'keys',
      'X-Amz-Security-Token',
    ])
      assert.deepEqual(withoutSecrets({ a: [{ [name]: canary }] }), { a: [{ [name]: '[removed]' }] }, name)
    const harmless = {
      tokenFile: '/run/token',
      tokenHash: 'ab',
      clientSecretFile: '/etc/s',
      tokenTtl: 5,
      passwordCount: 3,
    }
    assert.deepEqual(withoutSecrets(harmless), harmless)
    assert.deepEqual(withoutSecrets([['authorization', canary]]), [['authorization', '[removed]']])
  })

  it('costs no more for a line that is made to cost much', () => {
    for (const part of ['a-', 'password', '-----BEGIN CERTIFICATE-----', 'a=', '"', '\\"', '://', 'A1b/']) {
      const line = part.repeat(Math.ceil(1_000_000 / part.length))
      const started = process.cpuUsage()
      textWithoutSecrets(line)
      const { user, system } = process.cpuUsage(started)
      assert.ok(user + system < 5_000_000, `${part}: ${user + system} µs`)
    }
  })
})

describe('ringfence bundle-report', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rf-report-'))
  const page = (path: string, body: string) =>
    ({ method: 'GET', path, help: '', answer: () => ({ status: 200, type: 'text/plain', body }) }) as const
  const canaries = { password: canary, note: `Bearer ${canary}`, deep: [{ keyPem: pem }] }
  const policy = { from: 'x', version: '1', value: { revision: 1, source: `secretOfPolicy: ${canary}` } }
  const server = await startAdminServer(
    { path: join(folder, 'admin.sock') },
    [
      page('/readyz', 'not ready: the node is away\n'),
      page('/metrics', `a{token="${canary}"} 1\nringfence_node_up 0\n`),
      page('/config_dump', JSON.stringify({ name: 'node1', configuration: canaries, pushed: { policy } })),
      page('/certs', JSON.stringify({ chain: [{ subject: 'CN=x', pem }] })),
    ],
    createLogger('report', { write() {} }),
  )
  after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('writes what is there, says what is not, and has no canary', async () => {
    const log = join(folder, 'log')
    writeFileSync(log, `${secrets.map(([text]) => text).join('\n')}\nthe node is away\n`)
    const out = join(folder, 'report.json')
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const args = [join(import.meta.dirname, 'main.ts'), 'bundle-report', '--state-dir', join(folder, 'none')]
    execFile(
      process.execPath,
      [
        ...args,
        '--admin',
        `unix:${server.where}`,
        '--admin',
        'unix:/nowhere',
        '--log',
        log,
        '--log',
        join(folder, 'no-log'),
        '--out',
        out,
      ],
      (error, stdout) => (error === null ? resolve(stdout) : reject(error)),
    )
    assert.match(await promise, /read it before you send it/)
    const text = readFileSync(out, 'utf8')
    for (const [, gone] of secrets) assert.ok(!text.includes(gone), gone)
    assert.equal(statSync(out).mode & 0o777, 0o600)
    const report = JSON.parse(text) as {
      status: { missing: string }
      processes: Record<string, unknown>[]
      logs: { missing?: string }[]
    }
    assert.match(report.logs[1]?.missing ?? '', /no-log cannot be read/)
    assert.match(report.status.missing, /control/)
    assert.match(JSON.stringify(report.processes[0]), /the node is away.*ringfence_node_up 0.*node1/)
    assert.match(JSON.stringify(report.processes[1]), /does not answer/)
  })
})
