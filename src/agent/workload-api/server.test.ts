import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect as connectHttp2,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fromBinary } from '@bufbuild/protobuf'
import { pino } from 'pino'
import { type Clock, systemClock } from '../../base/clock.ts'
import { faultsContained } from '../../base/contained.ts'
import { limits } from '../../base/limits.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import { eventually } from '../../control/mesh.fixture.ts'
import { certificatesOf } from '../../identity/chain.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { type Credentials, credentialsOf, credentialsVersion } from '../../mesh/credentials.ts'
import { type Observable, Observed } from '../../mesh/observable.ts'
import { x509BundlesResponse, x509SvidResponse } from '../../mesh/workload-api/messages.ts'
import { startWorkloadApi, type WorkloadApi } from './server.ts'

const ok = '0'
const invalidArgument = '3'
const resourceExhausted = '8'
const unimplemented = '12'
const internal = '13'
const unavailable = '14'

const served = ['FetchX509SVID', 'FetchX509Bundles']
const notServed = ['FetchJWTSVID', 'FetchJWTBundles', 'ValidateJWTSVID', 'FetchWITSVID', 'FetchWITBundles', 'Nothing']
const asked = { 'workload.spiffe.io': 'true' }

/** Counts who is told of changes, and may fail whoever asks next. */
class CountedCredentials implements Observable<Credentials> {
  readonly #inner: Observed<Credentials>
  observers = 0
  failNext = false

  constructor(first: Credentials) {
    this.#inner = new Observed(first, credentialsVersion)
  }

  get current(): Credentials {
    if (this.failNext) {
      this.failNext = false
      throw new TypeError('made to fail')
    }
    return this.#inner.current
  }

  get version(): string {
    return this.#inner.version
  }

  observe(callback: (value: Credentials) => void): () => void {
    this.observers++
    const forget = this.#inner.observe(callback)
    return () => {
      this.observers--
      forget()
    }
  }

  set(value: Credentials): void {
    this.#inner.set(value)
  }
}

describe('the Workload API', () => {
  let folder: string
  let socketPath: string
  let ca: CertificateAuthority
  let first: Credentials
  let credentials: CountedCredentials
  let api: WorkloadApi | undefined
  let aheadMs: number
  const clients: ClientHttp2Session[] = []
  const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs, monotonic: () => systemClock.monotonic() }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-wl-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
    first = await fresh()
  })
  beforeEach(async () => {
    aheadMs = 0
    socketPath = join(mkdtempSync(join(folder, 's-')), 'w.sock')
    credentials = new CountedCredentials(first)
    api = await startWorkloadApi(options())
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await api?.stop()
    api = undefined
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function options(mode = 0o600) {
    return { socketPath, mode, credentials, clock, log: pino({ level: 'silent' }) }
  }

  async function fresh(ttlMs = 60_000): Promise<Credentials> {
    const { keyPem, certificatePem } = await ca.mint({ spiffeId: parseSpiffeId('spiffe://demo.local/svc/a'), ttlMs })
    return credentialsOf(certificatePem, keyPem, ca.bundlePem)
  }

  function client(more: ClientSessionOptions = {}): ClientHttp2Session {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(socketPath), ...more })
    session.on('error', () => {})
    clients.push(session)
    return session
  }

  function call(session: ClientHttp2Session, name: string, headers: OutgoingHttpHeaders = asked): Call {
    return new Call(session, `/SpiffeWorkloadAPI/${name}`, headers)
  }

  it('gives the SVID, its key and the roots, as DER', async () => {
    const svids = call(client(), 'FetchX509SVID')
    const [svid] = fromBinary(x509SvidResponse, await svids.message(0)).svids
    assert.ok(svid)
    assert.equal(svid.spiffeId, 'spiffe://demo.local/svc/a')
    const chain = certificatesOf(first.certificatePem).map(({ raw }) => raw)
    assert.equal(chain.length, 2)
    assert.deepEqual(Buffer.from(svid.x509Svid), Buffer.concat(chain))
    assert.equal(Buffer.from(svid.x509SvidKey).toString('base64'), first.keyPem.replace(/-----[^-]+-----|\n/g, ''))
    const roots = Buffer.concat(certificatesOf(first.bundlePem).map(({ raw }) => raw))
    assert.deepEqual(Buffer.from(svid.bundle), roots)
    const bundles = call(client(), 'FetchX509Bundles')
    const said = fromBinary(x509BundlesResponse, await bundles.message(0)).bundles
    assert.deepEqual(Object.keys(said), ['spiffe://demo.local'])
    assert.deepEqual(Buffer.from(said['spiffe://demo.local']!), roots)
  })

  it('is closed to whoever does not send the header, and open with it', async () => {
    const session = client()
    for (const name of [...served, ...notServed]) {
      for (const value of [undefined, 'false', 'True', 'true ,', '', ['true', 'true']]) {
        const refused = call(session, name, value === undefined ? {} : { 'workload.spiffe.io': value })
        assert.equal(await refused.status, invalidArgument, `${name} ${value}`)
        assert.equal(refused.messages.length, 0)
      }
    }
    for (const name of served) await call(session, name).message(0)
    for (const name of notServed) assert.equal(await call(session, name).status, unimplemented, name)
  })

  it('speaks gRPC and nothing else', async () => {
    const session = client()
    for (const headers of [
      { 'content-type': 'application/json' },
      { 'content-type': 'application/grpc-web+proto' },
      { 'content-type': 'application/grpc+json' },
      { ':method': 'GET' },
    ])
      assert.equal(await call(session, 'FetchX509SVID', { ...asked, ...headers }).status, internal)
    for (const headers of [{ 'content-type': 'application/grpc+proto' }, { ':authority': '%2Ftmp%2F[w.sock' }])
      await call(session, 'FetchX509SVID', { ...asked, ...headers }).message(0)
  })

  it('tells every stream of each renewal at once, and of roots only where they changed', async () => {
    const session = client()
    const svids = [call(session, 'FetchX509SVID'), call(client(), 'FetchX509SVID')]
    const bundles = call(session, 'FetchX509Bundles')
    await Promise.all([...svids, bundles].map((one) => one.message(0)))
    for (const number of [1, 2, 3]) {
      const next = await fresh()
      credentials.set(next)
      for (const one of svids) {
        const [svid] = fromBinary(x509SvidResponse, await one.message(number)).svids
        assert.deepEqual(Buffer.from(svid!.x509Svid).subarray(0, next.leafDer.length), next.leafDer)
      }
    }
    const other = await CertificateAuthority.open(join(folder, 'ca-other'), 'demo.local', systemClock)
    credentials.set({ ...credentials.current, bundlePem: ca.bundlePem + other.bundlePem })
    const told = fromBinary(x509BundlesResponse, await bundles.message(1)).bundles['spiffe://demo.local']
    const roots = certificatesOf(ca.bundlePem + other.bundlePem).map(({ raw }) => raw)
    assert.deepEqual(Buffer.from(told!), Buffer.concat(roots))
    for (const one of svids) await one.message(4)
    assert.equal(bundles.messages.length, 2)
  })

  it('a reader that does not read holds no more than a stream takes, and hears the last one', async () => {
    const slow = client({ settings: { initialWindowSize: 0 } })
    await once(slow, 'remoteSettings')
    const stream = call(slow, 'FetchX509SVID')
    const quick = call(client(), 'FetchX509SVID')
    await quick.message(0)
    await eventually('the slow one is served', () => credentials.observers === 2)
    await sleep(100)
    let last = first
    for (let number = 1; number <= 30; number++) {
      last = { ...(await fresh()), bundlePem: ca.bundlePem.repeat(20) }
      credentials.set(last)
      await quick.message(number)
    }
    assert.equal(stream.messages.length, 0)
    slow.settings({ initialWindowSize: 65_535 })
    await eventually('it hears of the last', () => {
      const heard = stream.messages.at(-1)
      if (heard === undefined) return false
      const [svid] = fromBinary(x509SvidResponse, heard).svids
      return Buffer.from(svid!.x509Svid).subarray(0, last.leafDer.length).equals(last.leafDer)
    })
    const heldBytes = stream.messages.reduce((total, { length }) => total + length, 0)
    const [, , longest = Buffer.alloc(0)] = quick.messages
    assert.ok(heldBytes <= 64 * 1024 + 2 * longest.length, `${heldBytes} bytes in ${stream.messages.length} messages`)
    assert.ok(quick.messages.length * longest.length > 200_000, 'there was more to hold')
  })

  it('a fault of one stream ends that stream, is counted, and tells nothing of itself', async () => {
    const session = client()
    const other = call(session, 'FetchX509SVID')
    await other.message(0)
    const before = faultsContained()
    credentials.failNext = true
    const failed = call(session, 'FetchX509SVID')
    assert.equal(await failed.status, internal)
    assert.equal(failed.trailers['grpc-message'], 'internal%20error')
    assert.equal(faultsContained(), before + 1)
    credentials.set(await fresh())
    await other.message(1)
    await call(session, 'FetchX509SVID').message(0)
  })

  it('ends streams of SVIDs with the certificate, not those of roots, and goes on with the next one', async () => {
    aheadMs = first.notAfterMs - Date.now() - 1_500
    const session = client()
    const svids = call(session, 'FetchX509SVID')
    const bundles = call(session, 'FetchX509Bundles')
    await Promise.all([svids.message(0), bundles.message(0)])
    assert.equal(await svids.status, unavailable)
    assert.equal(await call(session, 'FetchX509SVID').status, unavailable)
    await call(session, 'FetchX509Bundles').message(0)
    assert.equal(bundles.ended, false)
    aheadMs = 0
    credentials.set(await fresh())
    await call(session, 'FetchX509SVID').message(0)
  })

  it('keeps nothing of streams that have ended, however they did', async () => {
    for (const end of [
      (one: Call) => one.stream.close(8),
      (one: Call) => one.stream.close(0),
      (one: Call) => one.stream.session?.destroy(),
      (one: Call) => one.stream.session?.close(),
    ]) {
      const calls = Array.from({ length: 20 }, () => call(client(), 'FetchX509SVID'))
      const unread = client({ settings: { initialWindowSize: 0 } })
      await once(unread, 'remoteSettings')
      calls.push(...Array.from({ length: 20 }, () => call(unread, 'FetchX509SVID')))
      await eventually('all are served', () => credentials.observers === 40)
      for (const one of calls) end(one)
      for (const one of clients.splice(0)) one.destroy()
      await eventually('all are forgotten', () => credentials.observers === 0)
    }
  })

  it('takes as many streams as it is to, and a further one when one has ended', async () => {
    const perSession = limits.workloadApiStreamsPerConnectionMax
    const open: Call[] = []
    while (open.length < limits.workloadApiStreamsMax) {
      const session = client()
      await once(session, 'remoteSettings')
      assert.equal(session.remoteSettings.maxConcurrentStreams, perSession)
      const missing = limits.workloadApiStreamsMax - open.length
      for (let n = 0; n < Math.min(perSession, missing); n++) open.push(call(session, 'FetchX509Bundles'))
    }
    await Promise.all(open.map((one) => one.message(0)))
    const extra = client()
    assert.equal(await call(extra, 'FetchX509SVID').status, unavailable)
    open[0]!.stream.close(8)
    await eventually('there is room', async () => {
      const again = call(extra, 'FetchX509SVID')
      return Promise.race([again.message(0).then(() => true), again.status.then(() => false)])
    })
  })

  it('takes as many connections as it is to, and a further one when one has ended', async () => {
    const open = Array.from({ length: limits.workloadApiConnectionsMax }, () => connect(socketPath))
    await Promise.all(open.map((one) => once(one, 'connect')))
    const extra = connect(socketPath)
    await once(extra.resume(), 'close')
    open[0]!.destroy()
    await eventually('there is room', async () => {
      const again = call(client(), 'FetchX509SVID')
      return Promise.race([again.message(0).then(() => true), again.status.then(() => false)])
    })
    for (const one of open) one.destroy()
  })

  it('ends what is no call, and nothing else', async () => {
    const neighbour = call(client(), 'FetchX509SVID')
    await neighbour.message(0)
    for (const bytes of [
      'GET / HTTP/1.1\r\nhost: x\r\n\r\n',
      '\0'.repeat(4_000),
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0',
    ]) {
      const raw = connect(socketPath)
      raw.on('error', () => {})
      raw.resume().end(bytes)
      await once(raw, 'close')
    }
    const long = Buffer.alloc(5 + limits.workloadApiRequestBytesMax + 1)
    long.writeUInt32BE(long.length - 5, 1)
    const session = client()
    assert.equal(await call(session, 'FetchX509SVID', { ...asked, body: long as never }).status, resourceExhausted)
    const atBound = long.subarray(0, -1)
    // A field that nobody knows, of zeros.
    atBound.writeUInt32BE(atBound.length - 5, 1)
    atBound.set([0x7a, 0xfd, 0x1f], 5)
    await call(session, 'FetchX509SVID', { ...asked, body: atBound as never }).message(0)
    const lie = Buffer.from([0, 0xff, 0xff, 0xff, 0xff])
    assert.notEqual(await call(session, 'FetchX509SVID', { ...asked, body: lie as never }).status, ok)
    const compressed = Buffer.from([1, 0, 0, 0, 1, 0])
    assert.notEqual(await call(session, 'FetchX509SVID', { ...asked, body: compressed as never }).status, ok)
    const gzip = call(session, 'FetchX509SVID', { ...asked, 'grpc-encoding': 'gzip' })
    assert.equal(await gzip.status, unimplemented)
    credentials.set(await fresh())
    await neighbour.message(1)
  })

  it('has the mode that was given from the first moment, and replaces a dead socket but no living one', async () => {
    assert.equal(statSync(socketPath).mode & 0o777, 0o600)
    await assert.rejects(startWorkloadApi(options()), { code: 'CONFIG', message: /another process serves at/ })
    await api?.stop()
    writeFileSync(socketPath, 'a file')
    await assert.rejects(startWorkloadApi(options()), { code: 'CONFIG', message: /in the way and no socket/ })
    rmSync(socketPath)
    // As a process leaves it that was killed.
    const program = `require('node:net').createServer().listen('${socketPath}', () => process.kill(process.pid, 'SIGKILL'))`
    spawnSync(process.execPath, ['-e', program])
    assert.ok(statSync(socketPath).isSocket())
    api = await startWorkloadApi(options(0o660))
    assert.equal(statSync(socketPath).mode & 0o777, 0o660)
    await call(client(), 'FetchX509SVID').message(0)
  })

  it('says so to clients when it stops, and takes its socket away', async () => {
    const svids = call(client(), 'FetchX509SVID')
    await svids.message(0)
    await api?.stop()
    assert.equal(await svids.status, unavailable)
    assert.equal(existsSync(socketPath), false)
    assert.equal(credentials.observers, 0)
    api = undefined
  })
})

/** One call, its messages as they come whole. */
class Call {
  readonly stream: ClientHttp2Stream
  readonly messages: Buffer[] = []
  /** Of trailers, or of the answer's head where there are none; `reset` where neither came. */
  readonly status: Promise<string>
  trailers: IncomingHttpHeaders = {}
  ended = false
  #bytes = Buffer.alloc(0)
  #wake: () => void = () => {}

  constructor(session: ClientHttp2Session, path: string, { body, ...headers }: OutgoingHttpHeaders & { body?: never }) {
    const head = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers', ':path': path, ...headers }
    this.stream = session.request(head, { endStream: head[':method'] === 'GET' })
    this.stream.on('error', () => {})
    this.stream.on('response', (answer) => {
      if (answer['grpc-status'] !== undefined) this.trailers = answer
    })
    this.stream.on('trailers', (trailers) => {
      this.trailers = trailers
    })
    this.stream.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      for (;;) {
        if (this.#bytes.length < 5 || this.#bytes.length < 5 + this.#bytes.readUInt32BE(1)) break
        const end = 5 + this.#bytes.readUInt32BE(1)
        assert.equal(this.#bytes[0], 0)
        this.messages.push(this.#bytes.subarray(5, end))
        this.#bytes = this.#bytes.subarray(end)
      }
      this.#wake()
    })
    this.status = new Promise((resolve) => {
      this.stream.on('close', () => {
        this.ended = true
        this.#wake()
        resolve(String(this.trailers['grpc-status'] ?? 'reset'))
      })
    })
    if (head[':method'] !== 'GET') this.stream.end(body ?? Buffer.alloc(5))
  }

  async message(number: number): Promise<Buffer> {
    const untilMs = performance.now() + 30_000
    while (this.messages.length <= number) {
      assert.ok(!this.ended, `ended with ${this.trailers['grpc-status']} ${this.trailers['grpc-message']}`)
      assert.ok(performance.now() < untilMs, `message ${number} did not come`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200)
        const before = this.#wake
        this.#wake = () => {
          clearTimeout(timer)
          before()
          resolve()
        }
      })
    }
    return this.messages[number]!
  }
}
