/** The admin port: where it may be, who may call it, and what each page says. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createLogger } from '../../telemetry/log.ts'
import { counter } from '../../telemetry/metrics/family.ts'
import { adminSchema, parseAdminAddress } from './address.ts'
import { drainPage, rolePages, startingPages } from './pages.ts'
import { type AdminPage, startAdminServer } from './server.ts'

const log = createLogger('admin', { write() {} })

interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

function call(
  where: string,
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { hostname: host, port } = where.startsWith('/') ? { hostname: '', port: '' } : new URL(where)
  const to = where.startsWith('/') ? { socketPath: where } : { host, port }
  return new Promise((resolve, reject) => {
    const asked = request({ ...to, path, method, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', text }),
      )
      response.on('error', reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe('the address of an admin port', () => {
  it('is on loopback, or a Unix socket', () => {
    assert.deepEqual(parseAdminAddress('127.0.0.1:9465'), { host: '127.0.0.1', port: 9465 })
    assert.deepEqual(parseAdminAddress('127.8.9.10:0'), { host: '127.8.9.10', port: 0 })
    assert.deepEqual(parseAdminAddress('[::1]:9465'), { host: '::1', port: 9465 })
    assert.deepEqual(parseAdminAddress('unix:/run/admin.sock'), { path: '/run/admin.sock' })
  })

  it('is said to be none where others reach it', () => {
    for (const text of ['0.0.0.0:9465', '10.0.0.5:9465', '[::]:9465', '[fe80::1]:9465', '126.255.255.255:1'])
      assert.throws(() => parseAdminAddress(text), /on loopback only/, text)
    for (const text of ['localhost:9465', '9465', '127.0.0.1', '127.0.0.1:65536', 'unix:relative', '[127.0.0.1]:x', ''])
      assert.throws(() => parseAdminAddress(text), /no address of an admin port/, text)
    const read = adminSchema.safeParse({ listen: '0.0.0.0:9465' })
    assert.match(read.error?.issues[0]?.message ?? '', /on loopback only, and 0\.0\.0\.0 is not; give 127\.0\.0\.1/)
  })
})

describe('the admin port', async () => {
  let reasons: string[] = []
  const pages = (profiling: boolean) =>
    rolePages({
      unready: () => reasons,
      families: () => [counter('hits', 'Hits.', 1)],
      configDump: () => ({ role: 'test' }),
      certs: () => [],
      profiling,
    })
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-admin-'))
  const port = await startAdminServer({ host: '127.0.0.1', port: 0 }, pages(true), log)
  const path = join(folder, 'admin.sock')
  const socket = await startAdminServer({ path }, pages(true), log)
  const plain = await startAdminServer({ host: '127.0.0.1', port: 0 }, pages(false), log)
  after(async () => {
    await Promise.all([port.stop(), socket.stop(), plain.stop()])
    rmSync(folder, { recursive: true })
  })

  it('says that the process lives, and why it is not ready', async () => {
    assert.deepEqual(await call(port.where, '/livez'), { status: 200, type: 'text/plain; charset=utf-8', text: 'ok\n' })
    assert.equal((await call(port.where, '/readyz')).status, 200)
    reasons = ['the node is away', 'the record cannot be written']
    const { status, text } = await call(port.where, '/readyz')
    reasons = []
    assert.deepEqual([status, text], [503, 'not ready: the node is away\nnot ready: the record cannot be written\n'])
  })

  it('gives metrics in the form that is asked for, and dumps as JSON', async () => {
    const old = await call(port.where, '/metrics')
    assert.match(old.type, /^text\/plain; version=0\.0\.4/)
    assert.match(old.text, /^hits_total 1$/m)
    const open = await call(port.where, '/metrics', { headers: { accept: 'application/openmetrics-text' } })
    assert.match(open.type, /^application\/openmetrics-text/)
    assert.ok(open.text.endsWith('# EOF\n'))
    assert.deepEqual(JSON.parse((await call(port.where, '/config_dump')).text), { role: 'test' })
    assert.match((await call(port.where, '/')).text, /^GET \/readyz /m)
  })

  it('is no business of a page of a browser, nor of another host', async () => {
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { host: 'evil.example' },
      { host: '127.0.0.1.evil.example' },
      { host: '10.0.0.5:9465' },
    ] as Record<string, string>[]) {
      const { status, text } = await call(port.where, '/config_dump', { headers })
      assert.deepEqual([status, text], [403, 'this port is for the machine itself\n'], JSON.stringify(headers))
    }
    for (const host of ['localhost', 'localhost:9465', '[::1]:9465', '127.0.0.1'])
      assert.equal((await call(port.where, '/livez', { headers: { host } })).status, 200, host)
  })

  it('knows its pages and their methods', async () => {
    assert.equal((await call(port.where, '/nothing')).status, 404)
    assert.equal((await call(port.where, '/livez', { method: 'POST' })).status, 405)
    assert.equal((await call(port.where, '/cpuprofile')).status, 405)
    // A client that speaks no HTTP ends nobody else's connection.
    assert.equal((await call(port.where, '//[')).status, 404)
  })

  it('makes profiles where that is switched on, by the socket only', async () => {
    for (const page of ['/cpuprofile', '/heapsnapshot'])
      assert.equal((await call(plain.where, page, { method: 'POST' })).status, 404, page)
    const { text } = await call(socket.where, '/cpuprofile?seconds=0.05', { method: 'POST' })
    assert.ok(Array.isArray((JSON.parse(text) as { nodes: unknown }).nodes))
    for (const seconds of ['0', '-1', '61', 'x'])
      assert.equal(
        (await call(socket.where, `/cpuprofile?seconds=${seconds}`, { method: 'POST' })).status,
        400,
        seconds,
      )
    for (const [page, why] of [
      ['/cpuprofile?seconds=0.05', 'this slows every client down'],
      ['/heapsnapshot', 'memory holds keys'],
    ] as const) {
      const refused = await call(port.where, page, { method: 'POST' })
      assert.deepEqual([refused.status, refused.text], [403, `${why}: listen at unix:/… for this page\n`])
    }
    const bySocket = await call(socket.where, '/heapsnapshot', { method: 'POST' })
    assert.equal(bySocket.status, 200)
    assert.match(bySocket.text.slice(0, 100), /^\{"snapshot"/)
  })

  it('ends the process by the socket only', async () => {
    let drained = 0
    const page = drainPage('ends', () => void drained++)
    port.show([page])
    socket.show([page])
    const by = (where: string, headers: Record<string, string> = {}) =>
      call(where, '/drain', { method: 'POST', headers })
    const refused = 'this ends the process: listen at unix:/… for this page, or send SIGTERM\n'
    const asked: Record<string, string>[] = [{}, { host: 'localhost' }, { 'content-type': 'application/json' }]
    for (const headers of asked)
      assert.deepEqual(await by(port.where, headers), { status: 403, type: 'text/plain; charset=utf-8', text: refused })
    assert.equal((await call(socket.where, '/drain')).status, 405)
    assert.equal(drained, 0)
    assert.equal((await by(socket.where)).status, 202)
    assert.equal(drained, 1)
    port.show(pages(true))
    socket.show(pages(true))
  })

  it('says while a role starts that it lives and what it waits for, and has other pages then', async () => {
    port.show(startingPages('waiting for the control plane'))
    assert.equal((await call(port.where, '/livez')).text, 'ok\n')
    const { status, text } = await call(port.where, '/readyz')
    assert.deepEqual([status, text], [503, 'not ready: waiting for the control plane\n'])
    assert.equal((await call(port.where, '/metrics')).status, 404)
    port.show(pages(true))
    assert.equal((await call(port.where, '/readyz')).text, 'ok\n')
    assert.equal((await call(port.where, '/metrics')).status, 200)
  })

  it('makes no more of a long answer than is read, and no more at all for one who is gone', async () => {
    const pieces = 1_000
    let made = 0
    let ended = false
    function* body(): Generator<string> {
      try {
        for (; made < pieces; made++) yield 'x'.repeat(100_000)
      } finally {
        ended = true
      }
    }
    const long: AdminPage = {
      method: 'GET',
      path: '/long',
      help: '',
      answer: () => ({ status: 200, type: 'text/plain', body: body() }),
    }
    socket.show([long])
    const open = (): Promise<IncomingMessage> =>
      new Promise((resolve, reject) => {
        request({ socketPath: path, path: '/long', agent: false }, resolve).on('error', reject).end()
      })
    const answer = await open()
    // One piece is made in a turn where nothing holds it up.
    for (let turn = 0; turn < 3 * pieces; turn++) await nextTurn()
    assert.ok(made < pieces / 4, `${made} pieces were made for one who reads none`)
    let bytes = 0
    for await (const piece of answer) bytes += (piece as Buffer).length
    assert.deepEqual([bytes, made, ended], [pieces * 100_000, pieces, true])
    made = 0
    ended = false
    const left = await open()
    left.on('error', () => {}).destroy()
    while (!ended) await nextTurn()
    assert.ok(made < pieces / 4, `${made} pieces were made for one who is gone`)
    socket.show(pages(true))
  })

  it('by a Unix socket is its owner’s', async () => {
    assert.equal((statSync(path).mode & 0o777).toString(8), '600')
    assert.equal((await call(socket.where, '/livez', { headers: { host: 'anything' } })).text, 'ok\n')
  })

  it('says where it cannot listen', async () => {
    const taken = { host: '127.0.0.1', port: Number(new URL(port.where).port) }
    await assert.rejects(startAdminServer(taken, [], log), { code: 'UNAVAILABLE', message: /EADDRINUSE/ })
    const file = join(folder, 'file')
    writeFileSync(file, '')
    await assert.rejects(startAdminServer({ path: file }, [], log), { code: 'CONFIG' })
    await assert.rejects(startAdminServer({ path }, [], log), { code: 'CONFIG', message: /another process listens/ })
  })
})
