/**
 * What our listeners rely on in Node's TLS, measured again on the Node that we ship (attack D5). A change here means that the
 * listeners must be looked at, also where it looks like a change for the better.
 */
import assert from 'node:assert/strict'
import { constants, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect, createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls'
import { systemClock } from '../base/clock.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { CertificateAuthority } from './ca.ts'

interface Pair {
  readonly cert: string
  readonly key: string
}

let folder: string
let ca: CertificateAuthority
let otherCa: CertificateAuthority
let server: Pair

async function mint(authority: CertificateAuthority, path: string, ttlMs = 3_600_000): Promise<Pair> {
  const minted = await authority.mint({ spiffeId: parseSpiffeId(`spiffe://demo.local/${path}`), ttlMs })
  return { cert: minted.certificatePem, key: minted.keyPem }
}

async function withServer(options: TlsOptions, test: (port: number, server: Server) => Promise<void>): Promise<void> {
  const listening = createServer({ ...server, requestCert: true, rejectUnauthorized: true, ...options }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => socket.write(data))
    socket.write(`authorized=${socket.authorized} reused=${socket.isSessionReused()}\n`)
  })
  listening.on('tlsClientError', () => {})
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  try {
    await test((listening.address() as AddressInfo).port, listening)
  } finally {
    listening.close()
  }
}

/** The server's first line, and the session that it hands out; rejects when the server refuses. */
async function greet(
  options: ConnectionOptions,
): Promise<{ line: string; session: Buffer | undefined; socket: TLSSocket }> {
  const socket = connect({ host: '127.0.0.1', rejectUnauthorized: false, ...options })
  let session: Buffer | undefined
  socket.on('session', (data: Buffer) => {
    session = data
  })
  const data = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve)
    socket.on('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
  await sleep(50)
  return { line: data.toString().trim(), session, socket }
}

async function refused(options: ConnectionOptions): Promise<void> {
  await assert.rejects(
    greet(options).then(({ line, socket }) => {
      socket.destroy()
      return line
    }),
  )
}

describe('Node TLS', { concurrency: true }, () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-tls-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
    otherCa = await CertificateAuthority.open(join(folder, 'other'), 'demo.local', systemClock)
    server = await mint(ca, 'svc/server')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('setSecureContext: new handshakes use the new bundle at once, open connections go on', async () => {
    await withServer({ ca: ca.bundlePem }, async (port, listening) => {
      const client = await mint(ca, 'svc/client')
      const open = await greet({ port, ...client })
      assert.equal(open.line, 'authorized=true reused=false')
      listening.setSecureContext({ ...server, ca: otherCa.bundlePem })
      await refused({ port, ...client })
      open.socket.write('still here')
      const [echo] = (await once(open.socket, 'data')) as [Buffer]
      assert.equal(echo.toString(), 'still here')
      open.socket.destroy()
      const other = await greet({ port, ...(await mint(otherCa, 'svc/client')) })
      assert.equal(other.line, 'authorized=true reused=false')
      other.socket.destroy()
    })
  })

  it('setSecureContext with the default tickets: an old session is not resumed, and its removed authority counts', async () => {
    await withServer({ ca: ca.bundlePem }, async (port, listening) => {
      const client = await mint(ca, 'svc/client')
      const { session, socket } = await greet({ port, ...client })
      socket.destroy()
      assert.ok(session)
      listening.setSecureContext({ ...server, ca: otherCa.bundlePem })
      await refused({ port, ...client, session })
    })
  })

  it('shared ticketKeys resume a session although the client’s authority was removed: never set them', async () => {
    const ticketKeys = randomBytes(48)
    await withServer({ ca: ca.bundlePem, ticketKeys }, async (port, listening) => {
      const client = await mint(ca, 'svc/client')
      const { session, socket } = await greet({ port, ...client })
      socket.destroy()
      assert.ok(session)
      listening.setSecureContext({ ...server, ca: otherCa.bundlePem, ticketKeys })
      const resumed = await greet({ port, ...client, session })
      resumed.socket.destroy()
      assert.equal(resumed.line, 'authorized=true reused=true')
    })
  })

  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    it(`an expired client certificate is accepted in a resumed session, ${version}, default settings`, async () => {
      await withServer({ ca: ca.bundlePem, minVersion: version, maxVersion: version }, async (port) => {
        const client = await mint(ca, 'svc/client', 1_500)
        const { session, socket } = await greet({ port, ...client })
        socket.destroy()
        assert.ok(session)
        await sleep(2_600)
        await refused({ port, ...client })
        const resumed = await greet({ port, ...client, session })
        resumed.socket.destroy()
        assert.equal(resumed.line, 'authorized=true reused=true')
      })
    })
  }

  it('with SSL_OP_NO_TICKET nothing resumes, so the expired certificate is refused: our listeners’ setting', async () => {
    const secureOptions = constants.SSL_OP_NO_TICKET
    await withServer({ ca: ca.bundlePem, minVersion: 'TLSv1.3', secureOptions }, async (port) => {
      const client = await mint(ca, 'svc/client', 1_500)
      const { session, socket } = await greet({ port, ...client })
      socket.destroy()
      await sleep(2_600)
      await refused({ port, ...client, ...(session === undefined ? {} : { session }) })
    })
  })
})
