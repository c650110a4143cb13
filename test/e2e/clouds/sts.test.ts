/** Log-ins by a pre-signed GetCallerIdentity, one suite against moto and against the STS that `src` and the other tests use. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { AssumeRoleCommand, STSClient } from '@aws-sdk/client-sts'
import { presignedPassword } from '../../../src/cli/aws-token.ts'
import { type AwsKey, FakeSts } from '../../../src/identity/aws/fake-sts.fixture.ts'
import type { StsRequest } from '../../../src/identity/aws/presigned.ts'
import { StsLogIns, type StsProvider } from '../../../src/identity/aws/sts.ts'
import type { OutsideAnswer } from '../../../src/identity/outside/answer.ts'
import { freePort } from '../../free-port.ts'
import { pythonEnvironment } from '../drivers/toolchain.ts'

type Keys = Pick<AwsKey, 'accessKeyId' | 'secretAccessKey' | 'sessionToken'>

interface Sts {
  readonly account: string
  readonly send: (asked: StsRequest) => Promise<OutsideAnswer>
  /** Credentials of a session of a role. */
  readonly assume: (role: string, session: string) => Promise<Keys>
}

function setKeys({ accessKeyId, secretAccessKey, sessionToken }: Keys): void {
  process.env.AWS_ACCESS_KEY_ID = accessKeyId
  process.env.AWS_SECRET_ACCESS_KEY = secretAccessKey
  process.env.AWS_SESSION_TOKEN = sessionToken
}

function stsSuite(name: string, open: () => Promise<Sts | { absent: string }>): void {
  suite(`a log-in by a pre-signed request, with ${name}`, () => {
    let sts: Sts | { absent: string }
    before(async () => {
      sts = await open()
    })

    it('is that of the role whose session signed it', async (test) => {
      if ('absent' in sts) return test.skip(sts.absent)
      const { account, send, assume } = sts
      const logIns = new StsLogIns(send)
      const provider: StsProvider = {
        ...{ serverId: 'mesh.example.com', partition: 'aws', regions: undefined },
        ...{ accounts: [account], allowPrivate: false, leewayMs: 30_000 },
      }
      const check = { nowMs: Date.now(), trustDomain: 'demo.local', address: '192.0.2.1' }
      for (const [role, session] of [
        ['etl', 'night'],
        ['etl', 'alice@example.com'],
        ['reports.v2+x', 's-1'],
      ] as const) {
        setKeys(await assume(role, session))
        const { password } = await presignedPassword('mesh.example.com', 'us-east-1', Date.now())
        const { principal, subject } = await logIns.verify(password, provider, check)
        assert.equal(principal.arn, `arn:aws:iam::${account}:role/${role}`)
        assert.ok(subject.startsWith(`spiffe://demo.local/aws/${account}/role/`), subject)
        const elsewhere = { ...provider, accounts: ['999999999999'] }
        await assert.rejects(logIns.verify(password, elsewhere, check), { why: 'account' })
        await assert.rejects(logIns.verify(password, provider, { ...check, address: '192.0.2.2' }), { why: 'replayed' })
      }
    })
  })
}

stsSuite('the STS of our tests', async () => {
  const sts = new FakeSts()
  const account = '123456789012'
  let count = 0
  return {
    account,
    send: async ({ path, headers }) => {
      const { status, contentType, body } = sts.answer({ method: 'GET', path, headers })
      return { status, contentType, body: Buffer.from(body) }
    },
    assume: async (role, session) => {
      const accessKeyId = `ASIAEXAMPLE${String(count++).padStart(9, '0')}`
      const arn = `arn:aws:sts::${account}:assumed-role/${role}/${session}`
      const key = { accessKeyId, secretAccessKey: 'secret', sessionToken: 'token', account, arn }
      sts.keys.set(accessKeyId, key)
      return key
    },
  }
})

let moto: ChildProcess | undefined
after(() => {
  moto?.kill()
})

stsSuite('moto', async () => {
  const python = await pythonEnvironment('moto', join(import.meta.dirname, 'requirements.txt'))
  if ('absent' in python) return python
  const port = await freePort()
  const started = spawn(join(python.dir, 'bin', 'moto_server'), ['-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  })
  moto = started
  const endpoint = `http://127.0.0.1:${port}`
  for (let tries = 0; ; tries++) {
    try {
      await fetch(`${endpoint}/moto-api/`)
      break
    } catch (reason) {
      if (tries > 600) throw reason
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const client = new STSClient({
    region: 'us-east-1',
    endpoint,
    credentials: { accessKeyId: 'testing', secretAccessKey: 'testing' },
  })
  return {
    account: '123456789012',
    send: (asked) => askMoto(port, asked),
    assume: async (role, session) => {
      const arn = `arn:aws:iam::123456789012:role/${role}`
      const { Credentials: given } = await client.send(
        new AssumeRoleCommand({ RoleArn: arn, RoleSessionName: session }),
      )
      return {
        accessKeyId: given?.AccessKeyId ?? '',
        secretAccessKey: given?.SecretAccessKey ?? '',
        sessionToken: given?.SessionToken ?? '',
      }
    },
  }
})

/** It answers in XML whatever is asked for; the real one gives the same as JSON. It does not look at signatures. */
async function askMoto(port: number, { path, headers }: StsRequest): Promise<OutsideAnswer> {
  // One server of it is all of AWS, and tells by this header which service is meant.
  const credential = decodeURIComponent(/X-Amz-Credential=([^&]+)/.exec(path)?.[1] ?? '')
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=host, Signature=none`
  const asked = request({ host: '127.0.0.1', port, path, headers: { ...headers, authorization } })
  asked.end()
  const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream & { statusCode?: number }]
  let xml = ''
  for await (const chunk of response) xml += String(chunk)
  const text = (name: string): string => new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1] ?? ''
  const GetCallerIdentityResult = { Account: text('Account'), Arn: text('Arn'), UserId: text('UserId') }
  const ResponseMetadata = { RequestId: text('RequestId') }
  const body = JSON.stringify({ GetCallerIdentityResponse: { GetCallerIdentityResult, ResponseMetadata } })
  return { status: response.statusCode ?? 0, contentType: 'application/json', body: Buffer.from(body) }
}
