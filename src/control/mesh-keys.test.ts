import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pino } from 'pino'
import { type Clock, systemClock } from '../base/clock.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'
import { MeshKeys } from './mesh-keys.ts'
import { Store } from './store.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'
const gatewayId = 'spiffe://demo.local/ringfence/gateway/g1'
const hourMs = 3_600_000
const modeOf = (path: string): number => statSync(path).mode & 0o777

/** The system's clock, set forward by `aheadMs`. */
class SetClock implements Clock {
  aheadMs = 0
  readonly monotonic = systemClock.monotonic
  now(): number {
    return Date.now() + this.aheadMs
  }
}

async function sidecarAndGateway(mesh: Mesh) {
  const sidecar = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
  const gateway = await mesh.agent('g1', await mesh.token(gatewayId, 'gateway'), { role: 'gateway' })
  return { sidecar, gateway, stateOf: (name: string) => join(mesh.stateDir, '..', name) }
}

describe('mesh keys in the store', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-keys-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('are made once, anew after a day, and the newest three are kept with the first', () => {
    const store = new Store(join(folder, 'a.db'))
    const clock = new SetClock()
    const first = new MeshKeys(store, clock).keys
    assert.equal(first.length, 1)
    assert.equal(first[0]?.key.length, 32)
    clock.aheadMs = 24 * hourMs - 60_000
    const keys = new MeshKeys(store, clock)
    assert.deepEqual(keys.keys, first)
    assert.equal(keys.rotateIfDue(), false)
    clock.aheadMs = 24 * hourMs + 1_000
    assert.equal(keys.rotateIfDue(), true)
    assert.equal(keys.rotateIfDue(), false)
    assert.equal(keys.keys.length, 2)
    assert.deepEqual(keys.keys[1], first[0])
    const idsAfterDays = (days: number): number[] => {
      clock.aheadMs = (24 * days + 1) * hourMs
      return new MeshKeys(store, clock).keys.map(({ id }) => id)
    }
    assert.deepEqual(idsAfterDays(2.1), [3, 2, 1])
    assert.deepEqual(idsAfterDays(3.2), [4, 3, 2, 1])
    assert.deepEqual(idsAfterDays(4.3), [5, 4, 3, 1])
    assert.equal(new Set(keys.keys.map(({ key }) => key.toString('hex'))).size, 2)
    store.close()
  })

  it('do not last for years because the clock was years ahead when one was made', () => {
    const store = new Store(join(folder, 'b.db'))
    const clock = new SetClock()
    clock.aheadMs = 9_000 * hourMs
    new MeshKeys(store, clock)
    clock.aheadMs = 0
    assert.equal(new MeshKeys(store, clock).keys.length, 2)
    store.close()
  })

  it('are readable by their owner only, in a store that was readable by others too', () => {
    const path = join(folder, 'c.db')
    new Store(path).close()
    assert.equal(modeOf(path), 0o600)
    chmodSync(path, 0o644)
    const store = new Store(path)
    new MeshKeys(store, systemClock)
    for (const suffix of ['', '-wal', '-shm']) assert.equal(modeOf(path + suffix), 0o600, suffix)
    store.close()
  })
})

describe('mesh keys', () => {
  it('are the same at every proxy, and there before the first policy', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const { sidecar, gateway } = await sidecarAndGateway(mesh)
      assert.equal(sidecar.policy.revision, 1)
      assert.equal(sidecar.keys[0]?.key.length, 32)
      assert.deepEqual(gateway.keys, sidecar.keys)
    }))

  it('reach proxies that are connected when a new one is made, newest first', async () => {
    const clock = new SetClock()
    await withMesh({ clock, svidTtlMs: 24 * hourMs }, async (mesh) => {
      const { sidecar, gateway } = await sidecarAndGateway(mesh)
      const [old] = sidecar.keys
      const told: number[][] = []
      sidecar.onKeys((keys) => told.push(keys.map(({ id }) => id)))
      // Younger than the certificates that the watch streams were opened with, so that these stay.
      clock.aheadMs = -25 * hourMs
      await eventually('the new key', () => sidecar.keys.length === 2 && gateway.keys.length === 2)
      assert.deepEqual(gateway.keys, sidecar.keys)
      assert.deepEqual(sidecar.keys[1], old)
      assert.deepEqual(told, [[2, 1]])
    })
  })

  it('are kept by the control plane and by the proxy through restarts, one without the other', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const { sidecar, gateway, stateOf } = await sidecarAndGateway(mesh)
      const before = sidecar.keys
      assert.equal(modeOf(join(stateOf('n1'), 'mesh-keys.json')), 0o600)
      await sidecar.stop()
      await mesh.control.stop()
      assert.deepEqual((await mesh.agent('n1')).keys, before)
      await mesh.restart()
      writeFileSync(join(stateOf('n1'), 'mesh-keys.json'), '{')
      // It has its policy, and waits for keys all the same.
      assert.deepEqual((await mesh.agent('n1')).keys, before)
      assert.deepEqual(gateway.keys, before)
    }))

  it('stand in no log, no status and no other file', async () => {
    const lines: string[] = []
    const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) })
    await withMesh({ log }, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const { sidecar, stateOf } = await sidecarAndGateway(mesh)
      await mesh.agent('n2', await mesh.token(`${sidecarId}2`, 'sidecar'), { log })
      await eventually('reports', async () => (await mesh.admin.status()).proxies.length === 3)
      lines.push(
        JSON.stringify(await mesh.admin.status()),
        readFileSync(join(stateOf('n1'), 'policy-cache.json'), 'utf8'),
      )
      const { key } = sidecar.keys[0] ?? assert.fail('no key')
      assert.ok(lines.length > 3)
      for (const form of ['base64', 'base64url', 'hex'] as const) {
        assert.ok(!lines.join().includes(key.toString(form)), form)
      }
      // As pino would print a Buffer.
      assert.ok(!lines.join().includes(key.join(',')))
    })
  })
})
