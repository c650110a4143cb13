/** What a client may say in its TLS handshake, at both doors: older versions, other protocols, another name, a session of before (attack D5). */
import assert from 'node:assert/strict'
import { connect as connectTcp } from 'node:net'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { startupEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { linkProtocol1 } from '../../src/link/protocol.ts'
import { World } from './world.ts'

const startup = startupEnvelope(4, 0, new Map([['CQL_VERSION', '3.0.0']]))
const msMax = 5_000

let world: World
const ports: Record<string, number> = {}
let plainPort: number

before(async () => {
  world = await World.make()
  const sidecar = await world.sidecar()
  const gateway = await world.gateway([sidecar])
  ports['at a sidecar'] = sidecar.port
  ports['through a gateway'] = gateway.port
  plainPort = (await world.sidecar({ name: 'plain', plainIdentity: 'spiffe://demo.local/svc/alice' })).port
})
after(() => world.close())

async function secured(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { keyPem: key, certificatePem: cert, bundlePem: ca } = await world.credentials('svc/alice')
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    key,
    cert,
    ca,
    checkServerIdentity: () => undefined,
    ...options,
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
  return socket
}

/** `READY`, `ended`, or what came instead. */
async function startedOn(socket: TLSSocket): Promise<string> {
  socket.write(startup)
  const answer = await new Promise<Buffer | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), msMax)
    const done = (chunk?: Buffer): void => {
      clearTimeout(timer)
      resolve(chunk)
    }
    socket.once('data', done)
    socket.once('close', () => done())
    socket.once('error', () => done())
  })
  socket.destroy()
  if (answer === undefined) return 'ended'
  return headerOpcode(answer, 0) === Opcode.READY ? 'READY' : `opcode ${headerOpcode(answer, 0)}`
}

for (const door of ['at a sidecar', 'through a gateway']) {
  const port = (): number => ports[door]!

  suite(`a TLS handshake ${door}`, () => {
    it('is of version 1.3, and of no other', async () => {
      const socket = await secured(port())
      assert.equal(socket.getProtocol(), 'TLSv1.3')
      assert.equal(await startedOn(socket), 'READY')
      for (const version of ['TLSv1', 'TLSv1.1', 'TLSv1.2'] as const) {
        // OpenSSL's own security level refuses the older ones unless it is told otherwise.
        const ciphers = 'DEFAULT@SECLEVEL=0'
        await assert.rejects(secured(port(), { minVersion: version, maxVersion: version, ciphers }), version)
      }
    })

    it('chooses nothing by the name that it asks for', async () => {
      for (const servername of ['node1.example.com', 'localhost', 'ringfence'])
        assert.equal(await startedOn(await secured(port(), { servername })), 'READY', servername)
    })

    it('makes no client a mesh link by the protocol that it offers, and no link a client', async () => {
      const offers: readonly (readonly [string[], RegExp])[] = [
        // The link's own: who is no gateway has none.
        [[linkProtocol1], /^(?:ended|READY)$/],
        [['h2', 'http/1.1'], /^(?:ended|READY)$/],
        [[linkProtocol1.toUpperCase(), `${linkProtocol1} `], /^(?:ended|READY)$/],
      ]
      for (const [ALPNProtocols, wanted] of offers) {
        const socket = await secured(port(), { ALPNProtocols }).catch(() => undefined)
        if (socket === undefined) continue
        const isLink = socket.alpnProtocol === linkProtocol1
        const became = await startedOn(socket)
        assert.match(became, wanted, ALPNProtocols.join())
        if (isLink) assert.equal(became, 'ended', 'a link of who is no gateway')
      }
    })

    it('is never resumed, whatever session of before is shown', async () => {
      const first = await secured(port())
      // OpenSSL names sessions also where it gives no tickets; nobody keeps them.
      const sessions: Buffer[] = []
      first.on('session', (session) => sessions.push(session))
      first.write(startup)
      await new Promise((resolve) => first.once('data', resolve))
      await sleep(50)
      const last = first.getSession()
      for (const session of last === undefined ? sessions : [...sessions, last]) {
        const again = await secured(port(), { session })
        assert.equal(again.isSessionReused(), false)
        assert.ok(again.getPeerX509Certificate() !== undefined, 'a whole handshake')
        again.destroy()
      }
      first.destroy()
    })

    it('is not begun by plain CQL', async () => {
      const socket = connectTcp({ host: '127.0.0.1', port: port() })
      socket.on('error', () => {})
      const came: Buffer[] = []
      socket.on('data', (chunk: Buffer) => came.push(chunk))
      socket.write(startup)
      await new Promise((resolve) => socket.once('close', resolve))
      assert.equal(Buffer.concat(came).length, 0, 'not a byte of CQL')
    })
  })
}

suite('a plain listener', () => {
  it('takes no TLS, and answers plain CQL', async () => {
    await assert.rejects(secured(plainPort))
    const socket = connectTcp({ host: '127.0.0.1', port: plainPort })
    socket.write(startup)
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    assert.equal(headerOpcode(answer, 0), Opcode.READY)
    socket.destroy()
  })
})
