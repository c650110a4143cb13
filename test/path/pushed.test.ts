import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { superviseWorkers } from '../../src/agent/workers.ts'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { kinds, revocations, salts, shares } from './pushed.fixture.ts'

const log = pino({ level: 'silent' })
const alice = { spiffeId: 'spiffe://demo.local/svc/alice', untilMs: 1 }
const bob = { spiffeId: 'spiffe://demo.local/svc/bob', untilMs: 2 }

const gateway = async (mesh: Mesh) =>
  mesh.agent('g1', await mesh.token('spiffe://demo.local/ringfence/gateway/g1', 'gateway'), { role: 'gateway', kinds })
const sidecar = async (mesh: Mesh) =>
  mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'), { kinds })
const fileOf = (mesh: Mesh, agent: string, name: string): string => join(mesh.stateDir, '..', agent, name)

describe('a kind of pushed value that src does not know', () => {
  it('goes through the control plane and an agent to a worker, and so does each later value', () =>
    withMesh({ kinds }, async (mesh) => {
      mesh.control.value(revocations).set([alice])
      const agent = await gateway(mesh)
      const script = new URL('./pushed.fixture.ts', import.meta.url)
      const workers = superviseWorkers({ count: 1, feed: agent, script, log, kinds })
      try {
        await workers.ready
        const reported = (dataCenter: string, sessions: number) =>
          eventually(`${dataCenter} at the worker`, async () => {
            const [proxy] = (await mesh.admin.status()).proxies
            return (
              proxy?.sessions === sessions && agent.value(pushedKinds.gateways).current[0]?.dataCenter === dataCenter
            )
          })
        await reported(alice.spiffeId, 0)
        mesh.control.value(revocations).set([alice, bob])
        mesh.control.value(shares).set(['a', 'b'])
        await reported(`${alice.spiffeId},${bob.spiffeId}`, 2)
        assert.equal(agent.value(revocations).version, mesh.control.value(revocations).version)
        assert.notEqual(agent.value(revocations).version, revocations.version([alice]))
      } finally {
        await workers.stop()
      }
    }))

  it('survives a restart of the proxy while the control plane is away, where its kind says so', () =>
    withMesh({ kinds }, async (mesh) => {
      mesh.control.value(revocations).set([alice])
      mesh.control.value(shares).set(['a'])
      mesh.control.value(salts).set(['pepper'])
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const proxies = [await gateway(mesh), await sidecar(mesh)] as const
      for (const agent of proxies) {
        await eventually('the last value', () => agent.value(revocations).current.length === 1)
        await eventually('the policy', () => agent.value(pushedKinds.policy).current.revision === 1)
      }
      await eventually('the shares', () => proxies[0].value(shares).current.length === 1)
      await eventually('the salts', () => proxies[1].value(salts).current.length === 1)
      for (const agent of proxies) await agent.stop()
      await mesh.control.stop()
      const g1 = await mesh.agent('g1', undefined, { role: 'gateway', kinds })
      const n1 = await mesh.agent('n1', undefined, { kinds })
      assert.deepEqual(g1.value(revocations).current, [alice])
      assert.deepEqual(n1.value(revocations).current, [alice])
      assert.deepEqual(n1.value(salts).current, ['pepper'])
      assert.deepEqual([g1.value(shares).current, n1.value(shares).current], [[], []])
      // A secret stands in the file of secrets and nowhere else.
      assert.match(readFileSync(fileOf(mesh, 'n1', 'mesh-keys.json'), 'utf8'), /pepper/)
      assert.equal(statSync(fileOf(mesh, 'n1', 'mesh-keys.json')).mode & 0o777, 0o600)
      assert.doesNotMatch(readFileSync(fileOf(mesh, 'n1', 'policy-cache.json'), 'utf8'), /pepper/)
    }))

  it('is not sent to a role that it is not for, and is refused by it where it comes all the same', () =>
    withMesh({ kinds }, async (mesh) => {
      const careless = { ...salts, roles: ['gateway', 'sidecar'] as const }
      for (const kind of [salts, careless]) {
        await mesh.control.stop()
        await mesh.restart({ kinds: [...kinds.filter((one) => one !== salts), kind] })
        mesh.control.value(kind).set(['pepper'])
        mesh.control.value(revocations).set([alice])
        const g1 = await gateway(mesh)
        const n1 = await sidecar(mesh)
        await eventually('what is for all', () => g1.value(revocations).current.length === 1)
        await eventually('what is for sidecars', () => n1.value(salts).current.length === 1)
        assert.deepEqual(g1.value(salts).current, [])
        assert.ok(!existsSync(fileOf(mesh, 'g1', 'mesh-keys.json')))
        await Promise.all([g1.stop(), n1.stop()])
      }
    }))

  it('costs an agent that does not know it nothing', () =>
    withMesh({ kinds }, async (mesh) => {
      mesh.control.value(revocations).set([alice])
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      const older = await mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'))
      await eventually('the policy', () => older.value(pushedKinds.policy).current.revision === 1)
      assert.throws(() => older.value(revocations), /not in this process's list/)
    }))
})
