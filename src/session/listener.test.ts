import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { CertificateAuthority } from '../control/ca.ts'
import { trustOf } from '../identity/proofs/proof.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import { createLogger } from '../telemetry/log.ts'
import type { Accepted } from './arrivals.ts'
import { Doors } from './doors.ts'
import { Listener } from './listener.ts'
import { LogIn } from './log-in.ts'
import { LogInRefusals } from './refusals.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringfence-listener-'))
after(() => rmSync(folder, { recursive: true }))

const credentials: Credentials = {
  spiffeId: parseSpiffeId('spiffe://demo.local/ringfence/sidecar/c/d/n'),
  certificatePem: '',
  keyPem: '',
  bundlePem: '',
  leafDer: Buffer.alloc(0),
  notBeforeMs: 0,
  notAfterMs: 0,
}

function listenerAt(path: string, onAccepted: (accepted: Accepted) => void): Listener {
  return new Listener({
    config: { address: `unix:${path}`, tls: false, identity: 'spiffe://demo.local/svc/tool' },
    credentials,
    trust: () => trustOf(credentials),
    protocols: [],
    reusePort: false,
    doors: new Doors(createLogger('test')),
    refusals: new LogInRefusals(createLogger('test'), Date.now),
    log: createLogger('test'),
    nowMs: Date.now,
    onAccepted,
  })
}

async function dialled(path: string): Promise<Accepted> {
  const { promise, resolve } = Promise.withResolvers<Accepted>()
  const listener = listenerAt(path, resolve)
  await listener.start()
  const socket = connect(path)
  const accepted = await promise
  assert.equal(statSync(path).mode & 0o777, 0o600)
  socket.destroy()
  accepted.socket.destroy()
  listener.stop()
  return accepted
}

describe('a listener on a Unix socket', () => {
  it('speaks for its one identity, and lets nobody but its owner in', async () => {
    const { entry } = await dialled(join(folder, 'cql.sock'))
    assert.ok(!(entry instanceof LogIn))
    const { info } = entry
    assert.equal(info.identity.subject, 'spiffe://demo.local/svc/tool')
    assert.equal(info.identity.methods[0], 'listener')
    assert.equal(info.address, 'unix')
  })

  it('takes the place of a socket that was left behind, and of nothing else', async () => {
    const path = join(folder, 'left.sock')
    const left = listenerAt(path, () => {})
    await left.start()
    // The name is still there when a second one comes, as after a crash.
    await dialled(path)
    left.stop()

    const file = join(folder, 'file')
    writeFileSync(file, 'precious')
    await assert.rejects(listenerAt(file, () => {}).start(), /cannot listen on/)
    assert.equal(statSync(file).size, 8)
  })
})

describe('a listener whose own certificate is over', () => {
  it('takes nobody by TLS until it is renewed, says so, and takes plain connections as before', async () => {
    const startedMs = Date.now()
    let offMs = 0
    const now = (): number => startedMs + offMs
    const clock = { now, monotonic: () => performance.now() }
    const ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', clock)
    const minted = async (): Promise<Credentials> => {
      const { keyPem, certificatePem } = await ca.mint({ spiffeId: credentials.spiffeId, ttlMs: 60_000 })
      return credentialsOf(certificatePem, keyPem, ca.bundlePem)
    }
    const said: string[] = []
    const log = createLogger('test', { write: (line) => said.push(line) })
    const accepted: Accepted[] = []
    const own = await minted()
    const listeners = [{ tls: true }, { tls: false, identity: 'spiffe://demo.local/svc/tool' }].map(
      (kind) =>
        new Listener({
          config: { address: '127.0.0.1', port: 0, ...kind },
          credentials: own,
          trust: () => trustOf(own),
          protocols: [],
          reusePort: false,
          doors: new Doors(createLogger('test')),
          refusals: new LogInRefusals(log, now),
          log,
          nowMs: now,
          onAccepted: (one) => accepted.push(one),
        }),
    )
    const [secure, plain] = listeners as [Listener, Listener]
    for (const listener of listeners) await listener.start()
    const { keyPem: key, certificatePem: cert } = await minted()
    /** What a client of a certificate of its own sees: the listener's serial, or no TLS. */
    const seen = (): Promise<string> =>
      new Promise((resolve) => {
        const socket = connectTls({ host: '127.0.0.1', port: secure.port, key, cert, rejectUnauthorized: false })
        socket.on('secureConnect', () => {
          resolve(socket.getPeerX509Certificate()?.serialNumber ?? '')
          socket.destroy()
        })
        socket.on('error', () => resolve('refused'))
        socket.on('close', () => resolve('refused'))
      })
    const serial = /^[0-9A-F]{32}$/
    const first = await seen()
    assert.match(first, serial)
    offMs = 61_000
    assert.equal(await seen(), 'refused')
    assert.equal(await seen(), 'refused')
    assert.equal(said.filter((line) => line.includes('own certificate has expired')).length, 1, said.join(''))
    const count = accepted.length
    const client = connect(plain.port, '127.0.0.1')
    while (accepted.length === count) await new Promise((resolve) => setTimeout(resolve, 10))
    client.destroy()
    secure.setCredentials(await minted())
    const renewed = await seen()
    assert.match(renewed, serial)
    assert.notEqual(renewed, first)
    for (const listener of listeners) {
      listener.stop()
      listener.destroyAll()
    }
  })
})
