import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RingfenceError } from '../base/errors.ts'
import { type AwsKey, FakeSts } from '../identity/aws/fake-sts.fixture.ts'
import { stsHosts } from '../identity/aws/hosts.ts'
import { readPresigned } from '../identity/aws/presigned.ts'
import { presignedPassword, webIdentityPassword } from './aws-token.ts'

const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))
const key: AwsKey = {
  accessKeyId: 'ASIAEXAMPLEEXAMPLE00',
  secretAccessKey: 'secret/with+signs',
  sessionToken: 'IQoJb3JpZ2lu//token+==',
  account: '123456789012',
  arn: 'arn:aws:sts::123456789012:assumed-role/etl/session',
}
const environment = {
  AWS_ACCESS_KEY_ID: key.accessKeyId,
  AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
  AWS_SESSION_TOKEN: key.sessionToken,
  AWS_REGION: 'eu-central-1',
  AWS_EC2_METADATA_DISABLED: 'true',
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  AWS_MAX_ATTEMPTS: '1',
}

/** The environment of this process is the test's own. */
function setEnvironment(more: Record<string, string | undefined> = {}): void {
  for (const [name, value] of Object.entries({ ...environment, AWS_ENDPOINT_URL_STS: undefined, ...more })) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

function run(args: readonly string[]) {
  const env = { ...process.env, ...environment }
  const ran = spawnSync(process.execPath, [bin, 'aws-token', ...args], { encoding: 'utf8', env })
  return { code: ran.status, out: ran.stdout, err: ran.stderr }
}

describe('ringfence aws-token', () => {
  it('prints a password and nothing else, or JSON with its end', () => {
    const { code, out, err } = run(['--server', 'mesh.example.com'])
    assert.equal(code, 0, err)
    assert.match(out, /^aws-sts-v1\.[A-Za-z0-9_-]+\n$/)
    const json = JSON.parse(run(['--server', 'mesh.example.com', '-o', 'json']).out) as Record<string, string>
    assert.deepEqual(Object.keys(json), ['password', 'expiresAt'])
  })

  it('prints one of both', () => {
    for (const args of [[], ['--server', 'a', '--audience', 'b']]) {
      const { code, err } = run(args)
      assert.equal(code, 64)
      assert.match(err, /either --audience or --server/)
    }
  })
})

describe('a pre-signed request', () => {
  it('is one that the mesh reads and AWS’s rules verify', async () => {
    setEnvironment()
    const sts = new FakeSts()
    sts.keys.set(key.accessKeyId, key)
    for (const [region, partition] of [
      [undefined, 'aws'],
      ['cn-north-1', 'aws-cn'],
      ['us-gov-west-1', 'aws-us-gov'],
    ] as const) {
      const nowMs = Date.now()
      const { password, expiresAtMs } = await presignedPassword('mesh.example.com', region, nowMs)
      const check = { serverId: 'mesh.example.com', hosts: stsHosts(partition), nowMs, leewayMs: 0 }
      const { request, endMs } = readPresigned(password, check)
      const { host, path, headers } = request
      assert.equal(endMs, expiresAtMs)
      assert.equal(host.split('.')[1], region ?? 'eu-central-1')
      assert.equal(sts.answer({ method: 'GET', path, headers }).status, 200)
      // For another mesh it is nothing.
      const other = readPresigned(password, { ...check, serverId: 'other.example.com' }).request
      assert.equal(sts.answer({ method: 'GET', path: other.path, headers: other.headers }).status, 403)
    }
  })

  it('needs credentials and a region', async () => {
    setEnvironment({ AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, AWS_SESSION_TOKEN: undefined })
    await assert.rejects(presignedPassword('mesh.example.com', undefined, 0), { code: 'USAGE', message: /not found/ })
    setEnvironment({ AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined })
    await assert.rejects(presignedPassword('mesh.example.com', undefined, 0), { code: 'USAGE', message: /region/i })
    setEnvironment()
    for (const region of ['nowhere', 'eu-central-1.example.com', '']) {
      await assert.rejects(presignedPassword('mesh.example.com', region, 0), { code: 'USAGE' }, region)
    }
  })
})

describe('a token of GetWebIdentityToken', () => {
  let asked = new URLSearchParams()
  let fails = false
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked = new URLSearchParams(body)
    const error =
      '<Error><Type>Sender</Type><Code>OutboundWebIdentityFederationDisabled</Code><Message>not enabled</Message></Error>'
    const result =
      '<GetWebIdentityTokenResult><WebIdentityToken>header.claims.signature</WebIdentityToken><Expiration>2026-11-29T12:05:00Z</Expiration></GetWebIdentityTokenResult>'
    const namespace = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'
    response.writeHead(fails ? 403 : 200, { 'content-type': 'text/xml' })
    response.end(
      fails
        ? `<ErrorResponse ${namespace}>${error}<RequestId>a</RequestId></ErrorResponse>`
        : `<GetWebIdentityTokenResponse ${namespace}>${result}<ResponseMetadata><RequestId>a</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>`,
    )
  })
  before(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  const endpoint = () => ({ AWS_ENDPOINT_URL_STS: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })

  const asks = { region: undefined, audience: 'ringfence', algorithm: 'RS256', durationMs: 600_000 } as const

  it('is what AWS gives', async () => {
    setEnvironment(endpoint())
    const expiresAtMs = Date.UTC(2026, 10, 29, 12, 5)
    assert.deepEqual(await webIdentityPassword(asks), { password: 'header.claims.signature', expiresAtMs })
    assert.equal(asked.get('Action'), 'GetWebIdentityToken')
    assert.equal(asked.get('Audience.member.1'), 'ringfence')
    assert.equal(asked.get('SigningAlgorithm'), 'RS256')
    assert.equal(asked.get('DurationSeconds'), '600')
  })

  it('is refused with what to do, and without the credentials', async () => {
    fails = true
    setEnvironment(endpoint())
    await assert.rejects(webIdentityPassword(asks), (reason: unknown) => {
      assert.ok(reason instanceof RingfenceError)
      assert.match(`${reason.hint}`, /enable-outbound-web-identity-federation/)
      const told = `${reason.message} ${reason.stack}`
      assert.ok(!told.includes(key.secretAccessKey) && !told.includes(key.sessionToken ?? ''))
      return true
    })
  })
})
