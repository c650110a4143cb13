import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { CertificateAuthority } from '../control/ca.ts'
import type { StsRequest } from '../identity/aws/presigned.ts'
import { LogInRefused } from '../identity/refusal.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { callsOutside, type OutsideWorld } from './call-out.ts'

const host = 'sts.eu-central-1.amazonaws.com'
const folder = mkdtempSync(join(tmpdir(), 'ringfence-call-out-'))
const seen: {
  method: string | undefined
  path: string | undefined
  headers: IncomingMessage['headers']
  body: string
}[] = []
let answer: (response: ServerResponse) => void
let port = 0
let caPem = ''
const server = createServer()

before(async () => {
  const ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
  caPem = ca.bundlePem
  const spiffeId = parseSpiffeId('spiffe://demo.local/svc/outside')
  const dnsNames = [host, 'kubernetes.default.svc']
  const { certificatePem, keyPem } = await ca.mint({ spiffeId, ttlMs: 3_600_000, dnsNames, ipAddresses: ['127.0.0.1'] })
  server.setSecureContext({ cert: certificatePem, key: keyPem })
  server.on('request', async (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    for await (const chunk of request) body += chunk
    seen.push({ method: request.method, path: request.url, headers: request.headers, body })
    answer(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  writeFileSync(join(folder, 'ca.crt'), caPem)
  writeFileSync(join(folder, 'token'), 'own-token-1\n')
})
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

const asked: string[] = []
function world(addresses: readonly string[] = ['127.0.0.1'], more: Partial<OutsideWorld> = {}): OutsideWorld {
  const resolve = async (name: string): Promise<LookupAddress[]> => {
    asked.push(name)
    return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  }
  return { resolve, stsPort: port, stsCaPem: caPem, environment: {}, ...more }
}

const request: StsRequest = {
  host,
  path: '/?Action=GetCallerIdentity&X-Amz-Signature=secret',
  headers: { host, 'x-ringfence-server': 'mesh', accept: 'application/json' },
}

function json(status: number, body: string): (response: ServerResponse) => void {
  return (response) => response.writeHead(status, { 'content-type': 'application/json' }).end(body)
}

async function refusal(work: Promise<unknown> | undefined): Promise<string> {
  try {
    await work
  } catch (reason) {
    assert.ok(reason instanceof LogInRefused, String(reason))
    assert.equal(reason.why, 'verifier-away')
    for (const secret of ['secret', 'own-token']) assert.ok(!`${reason.message} ${reason.words}`.includes(secret))
    return reason.message
  }
  return 'answered'
}

describe('a call to AWS STS', () => {
  it('sends what it was given, to the host that it was given, and reads the answer whole', async () => {
    answer = json(200, '{"a":1}')
    seen.length = 0
    const { status, contentType, body } = await callsOutside({}, world()).sts(request, true)
    assert.deepEqual([status, contentType, body.toString()], [200, 'application/json', '{"a":1}'])
    assert.equal(seen.length, 1)
    const [{ method, path, headers, body: sent }] = seen as [(typeof seen)[0]]
    assert.deepEqual([method, path, sent], ['GET', request.path, ''])
    assert.deepEqual(
      { host: headers.host, server: headers['x-ringfence-server'], accept: headers.accept },
      { host, server: 'mesh', accept: 'application/json' },
    )
    assert.deepEqual(Object.keys(headers).sort(), ['accept', 'connection', 'host', 'x-ringfence-server'])
  })

  it('tells what was answered, and follows no redirect', async () => {
    for (const status of [301, 302, 307, 308]) {
      answer = (response) => response.writeHead(status, { location: `https://${host}:${port}/again` }).end()
      seen.length = 0
      assert.equal((await callsOutside({}, world()).sts(request, true)).status, status)
      assert.equal(seen.length, 1)
    }
    answer = json(403, '{"Error":{"Code":"SignatureDoesNotMatch"}}')
    assert.equal((await callsOutside({}, world()).sts(request, true)).status, 403)
  })

  it('goes to public addresses only, unless the provider’s document says otherwise', async () => {
    seen.length = 0
    const inside = [
      '127.0.0.1',
      '10.1.2.3',
      '172.16.0.1',
      '192.168.1.1',
      '100.64.0.1',
      '::1',
      'fd00::1',
      '::ffff:127.0.0.1',
    ]
    for (const address of inside) {
      assert.match(
        await refusal(callsOutside({}, world([address])).sts(request, false)),
        /not a public address/,
        address,
      )
      // One of several is enough.
      assert.match(await refusal(callsOutside({}, world(['192.0.2.1', address])).sts(request, false)), /not a public/)
    }
    for (const address of ['169.254.169.254', '0.0.0.0', 'fe80::1', '::', '224.0.0.1', '64:ff9b::a9fe:a9fe']) {
      for (const allowPrivate of [false, true]) {
        assert.match(
          await refusal(callsOutside({}, world([address])).sts(request, allowPrivate)),
          /never called/,
          address,
        )
      }
    }
    assert.match(await refusal(callsOutside({}, world([])).sts(request, true)), /no address/)
    assert.equal(seen.length, 0)
  })

  it('asks for the address once, and calls that one', async () => {
    let answers = 0
    const resolve = async (): Promise<LookupAddress[]> => [
      { address: answers++ === 0 ? '127.0.0.1' : '10.0.0.1', family: 4 },
    ]
    answer = json(200, '{}')
    assert.equal((await callsOutside({}, world([], { resolve })).sts(request, true)).status, 200)
    assert.equal(answers, 1)
  })

  it('believes a server of that name only', async () => {
    answer = json(200, '{}')
    seen.length = 0
    assert.notEqual(
      await refusal(callsOutside({}, world(undefined, { stsCaPem: undefined })).sts(request, true)),
      'answered',
    )
    const other = { ...request, host: 'sts.eu-west-1.amazonaws.com' }
    assert.match(await refusal(callsOutside({}, world()).sts(other, true)), /altnames|certificate/i)
    assert.equal(seen.length, 0)
  })

  it('reads so much and no more, and does not wait for what was cut off', async () => {
    answer = json(200, 'x'.repeat(64 * 1024))
    assert.equal((await callsOutside({}, world()).sts(request, true)).body.length, 64 * 1024)
    answer = json(200, 'x'.repeat(64 * 1024 + 1))
    assert.match(await refusal(callsOutside({}, world()).sts(request, true)), /longer than/)
    answer = (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('x')
      setTimeout(() => response.destroy(), 10)
    }
    assert.notEqual(await refusal(callsOutside({}, world()).sts(request, true)), 'answered')
  })

  it('waits five seconds and no longer, for the name too', { timeout: 20_000 }, async () => {
    answer = () => {}
    const neverResolved = world([], { resolve: () => new Promise(() => {}) })
    const [silent, unresolved] = await Promise.all([
      refusal(callsOutside({}, world()).sts(request, true)),
      refusal(callsOutside({}, neverResolved).sts(request, true)),
    ])
    assert.match(silent, /no answer within 5000 ms/)
    assert.match(unresolved, /no answer within 5000 ms/)
  })
})

describe('a call to a Kubernetes API server', () => {
  const access = () => ({
    apiServer: `https://kubernetes.default.svc:${port}`,
    tokenFile: join(folder, 'token'),
    caFile: join(folder, 'ca.crt'),
  })

  it('posts with the process’s own token, as its file has it now', async () => {
    answer = json(201, '{}')
    for (const token of ['own-token-1', 'own-token-2']) {
      writeFileSync(access().tokenFile, `${token}\n`)
      seen.length = 0
      assert.equal((await callsOutside(access(), world()).tokenReview?.('{"spec":1}'))?.status, 201)
      const [{ method, path, headers, body }] = seen as [(typeof seen)[0]]
      assert.deepEqual([method, path, body], ['POST', '/apis/authentication.k8s.io/v1/tokenreviews', '{"spec":1}'])
      assert.equal(headers.authorization, `Bearer ${token}`)
      assert.equal(headers['content-type'], 'application/json')
    }
  })

  it('is found as Kubernetes tells it to a container, and is not asked where there is none', async () => {
    const environment = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) }
    const { tokenFile, caFile } = access()
    answer = json(201, '{}')
    assert.equal(
      (await callsOutside({ tokenFile, caFile }, world([], { environment })).tokenReview?.('{}'))?.status,
      201,
    )
    assert.equal(callsOutside({}, world()).tokenReview, undefined)
  })

  it('is told in words where it cannot be asked', async () => {
    const missing = { ...access(), tokenFile: join(folder, 'missing') }
    assert.match(await refusal(callsOutside(missing, world()).tokenReview?.('{}')), /ENOENT/)
    const elsewhere = { ...access(), apiServer: 'https://127.0.0.1:1' }
    assert.match(await refusal(callsOutside(elsewhere, world()).tokenReview?.('{}')), /ECONNREFUSED/)
  })
})
