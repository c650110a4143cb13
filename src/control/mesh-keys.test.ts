import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { pino } from 'pino'
import { type Clock, systemClock } from '../base/clock.ts'
import type { MeshKey } from '../mesh/mesh-keys.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { maskKeyOf } from '../sidecar/seal.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'
import { MeshKeys } from './mesh-keys.ts'
import { migrations } from './sqlite-schema.ts'
import { SqliteStore } from './sqlite-store.ts'

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

  it('are made once, anew after a day, and the newest three for pages are kept', () => {
    const store = new SqliteStore(join(folder, 'a.db'))
    const clock = new SetClock()
    const first = new MeshKeys(store, clock).keys
    assert.deepEqual(
      first.map(({ use, key }) => [use, key.length]),
      [
        ['masks', 32],
        ['pages', 32],
      ],
    )
    clock.aheadMs = 24 * hourMs - 60_000
    const keys = new MeshKeys(store, clock)
    assert.deepEqual(keys.keys, first)
    assert.equal(keys.rotateIfDue(), false)
    clock.aheadMs = 24 * hourMs + 1_000
    assert.equal(keys.rotateIfDue(), true)
    assert.equal(keys.rotateIfDue(), false)
    assert.equal(keys.keys.length, 3)
    assert.deepEqual(keys.keys.slice(1), first)
    const idsAfterDays = (days: number): number[] => {
      clock.aheadMs = (24 * days + 1) * hourMs
      return new MeshKeys(store, clock).keys.filter(({ use }) => use === 'pages').map(({ id }) => id)
    }
    assert.deepEqual(idsAfterDays(2.1), [4, 3, 1])
    assert.deepEqual(idsAfterDays(3.2), [5, 4, 3])
    assert.deepEqual(idsAfterDays(4.3), [6, 5, 4])
    assert.equal(new Set(keys.keys.map(({ key }) => key.toString('hex'))).size, 3)
    store.close()
  })

  it('for masks last 30 days, are pushed a day ahead, and two are kept at most', () => {
    const store = new SqliteStore(join(folder, 'd.db'))
    const clock = new SetClock()
    const dayMs = 24 * hourMs
    const nowMs = clock.now()
    const masks = (days: number): MeshKey[] => {
      clock.aheadMs = days * dayMs
      return new MeshKeys(store, clock).keys.filter(({ use }) => use === 'masks')
    }
    const [first] = masks(0)
    assert.equal(masks(28.9).length, 1)
    const both = masks(29.1)
    assert.equal(both.length, 2)
    assert.deepEqual(both[1], first)
    const changesAtMs = both[0]?.fromMs ?? 0
    assert.ok(Math.abs(changesAtMs - nowMs - 30 * dayMs) < 60_000, `${changesAtMs - nowMs}`)
    // Every sidecar has both for a day and changes over at that moment.
    const [before, after] = [maskKeyOf(both, changesAtMs - 1), maskKeyOf(both, changesAtMs)]
    assert.deepEqual(before.key, maskKeyOf([first!], 0).key)
    assert.equal(before.nextMs, changesAtMs)
    assert.notDeepEqual(after.key, before.key)
    const third = masks(59.1)
    assert.deepEqual(third[1], both[0])
    assert.equal(third.length, 2)
    // A control plane that was away for long makes the next at once.
    const late = masks(200)
    assert.ok((late[0]?.fromMs ?? 0) <= clock.now() && (late[0]?.fromMs ?? 0) > nowMs + 199 * dayMs)
    store.close()
  })

  it('keep hashes equal when a store of before keys had uses is taken up', () => {
    const path = join(folder, 'e.db')
    const old = Buffer.alloc(32, 7)
    const db = new DatabaseSync(path)
    db.exec(`${migrations.slice(0, 3).join(';')}; PRAGMA user_version = 3`)
    for (const key of [old, Buffer.alloc(32, 8)]) {
      db.prepare('INSERT INTO mesh_keys (key, created_ms) VALUES (?, ?)').run(key, Date.now() - 90 * 24 * hourMs)
    }
    db.close()
    const store = new SqliteStore(path)
    const { keys } = new MeshKeys(store, systemClock)
    assert.deepEqual(maskKeyOf(keys, Date.now()).key, maskKeyOf([{ id: 1, key: old }], 0).key)
    assert.equal(keys.filter(({ use }) => use === 'masks').length, 1)
    store.close()
  })

  it('do not last for years because the clock was years ahead when one was made', () => {
    const store = new SqliteStore(join(folder, 'b.db'))
    const clock = new SetClock()
    clock.aheadMs = 9_000 * hourMs
    new MeshKeys(store, clock)
    clock.aheadMs = 0
    const made = new MeshKeys(store, clock).keys
    assert.deepEqual(made.map(({ use }) => use).sort(), ['masks', 'masks', 'pages', 'pages'])
    assert.ok(made.some(({ use, fromMs = 0 }) => use === 'masks' && fromMs < Date.now() + 48 * hourMs))
    store.close()
  })

  it('are readable by their owner only, in a store that was readable by others too', () => {
    const path = join(folder, 'c.db')
    new SqliteStore(path).close()
    assert.equal(modeOf(path), 0o600)
    chmodSync(path, 0o644)
    const store = new SqliteStore(path)
    new MeshKeys(store, systemClock)
    for (const suffix of ['', '-wal', '-shm']) assert.equal(modeOf(path + suffix), 0o600, suffix)
    store.close()
  })
})

describe('mesh keys', () => {
  it('are the same at every sidecar, there before the first policy, and given to no gateway', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const { sidecar, gateway } = await sidecarAndGateway(mesh)
      assert.equal(sidecar.value(pushedKinds.policy).current.revision, 1)
      assert.equal(sidecar.value(pushedKinds.keys).current[0]?.key.length, 32)
      const other = await mesh.agent('n2', await mesh.token(`${sidecarId}2`, 'sidecar'))
      assert.deepEqual(other.value(pushedKinds.keys).current, sidecar.value(pushedKinds.keys).current)
      assert.equal(gateway.value(pushedKinds.policy).current.revision, 1)
      assert.deepEqual(gateway.value(pushedKinds.keys).current, [])
      assert.ok(!existsSync(join(mesh.stateDir, '..', 'g1', 'mesh-keys.json')))
    }))

  it('reach sidecars that are connected when a new one is made, newest first', async () => {
    const clock = new SetClock()
    await withMesh({ clock, svidTtlMs: 24 * hourMs }, async (mesh) => {
      const { sidecar, gateway } = await sidecarAndGateway(mesh)
      const [old] = sidecar.value(pushedKinds.keys).current
      const told: number[][] = []
      sidecar.value(pushedKinds.keys).observe((keys) => told.push(keys.map(({ id }) => id)))
      // Younger than the certificates that the watch streams were opened with, so that these stay.
      clock.aheadMs = -25 * hourMs
      await eventually('the new key', () => sidecar.value(pushedKinds.keys).current.length >= 3)
      assert.deepEqual(gateway.value(pushedKinds.keys).current, [])
      assert.ok(sidecar.value(pushedKinds.keys).current.some(({ id }) => id === old?.id))
      assert.ok(told.length > 0 && told.every((ids) => ids.length >= 3))
    })
  })

  it('are kept by the control plane and by the proxy through restarts, one without the other', () =>
    withMesh({}, async (mesh) => {
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const { sidecar, gateway, stateOf } = await sidecarAndGateway(mesh)
      const before = sidecar.value(pushedKinds.keys).current
      assert.equal(modeOf(join(stateOf('n1'), 'mesh-keys.json')), 0o600)
      await sidecar.stop()
      await mesh.control.stop()
      assert.deepEqual((await mesh.agent('n1')).value(pushedKinds.keys).current, before)
      await mesh.restart()
      writeFileSync(join(stateOf('n1'), 'mesh-keys.json'), '{')
      // It has its policy, and waits for keys all the same.
      assert.deepEqual((await mesh.agent('n1')).value(pushedKinds.keys).current, before)
      assert.deepEqual(gateway.value(pushedKinds.keys).current, [])
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
      const { key } = sidecar.value(pushedKinds.keys).current[0] ?? assert.fail('no key')
      assert.ok(lines.length > 3)
      for (const form of ['base64', 'base64url', 'hex'] as const) {
        assert.ok(!lines.join().includes(key.toString(form)), form)
      }
      // As pino would print a Buffer.
      assert.ok(!lines.join().includes(key.join(',')))
    })
  })
})
