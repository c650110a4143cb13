import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { trustOf } from '../identity/proofs/proof.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import type { Credentials } from '../mesh/credentials.ts'
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
