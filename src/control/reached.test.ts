/** An order about who is thrown out is answered when all connected proxies have it; one that hangs is named, and holds nobody up. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Agent } from '../agent/agent.ts'
import { run } from '../cli/program.fixture.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { RevocationsFeed, reportedRevocations } from '../mesh/revocations.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'
import type { ReachedProxies } from './reached.ts'

const alice = 'spiffe://demo.local/svc/alice'
const reason = 'a test'
/** A second is what may pass; the rest is for a machine that is busy. */
const answeredMsMax = 8_000

function reportOf(agent: Agent): ProxyReport {
  return {
    policyRevision: agent.value(pushedKinds.policy).current.revision,
    ...reportedRevocations((kind) => agent.value(kind)),
    connections: 0,
    sessions: 0,
    upstreamConnections: 0,
    listeners: [],
    traffic: [],
  }
}

async function enrolled(mesh: Mesh, name: string): Promise<Agent> {
  return mesh.agent(name, await mesh.token(`spiffe://demo.local/ringfence/sidecar/${name}`, 'sidecar'))
}

/** It reports by itself, as proxies do. */
async function reporting(mesh: Mesh, name: string): Promise<Agent> {
  const agent = await enrolled(mesh, name)
  agent.setReporter(() => reportOf(agent))
  return agent
}

/** It says what it had at first, whatever it is told. */
async function hanging(mesh: Mesh, name: string): Promise<Agent> {
  const agent = await enrolled(mesh, name)
  const atFirst = reportOf(agent)
  agent.setReporter(() => atFirst)
  return agent
}

const connected = (mesh: Mesh, count: number) =>
  eventually('all are connected', async () => {
    const { proxies } = await mesh.admin.status()
    return proxies.filter((proxy) => proxy.connected && proxy.revocationsInForce === true).length === count
  })

const has = (agent: Agent): boolean =>
  new RevocationsFeed((kind) => agent.value(kind)).current.find({ subject: alice }, Date.now()) !== undefined

describe('who is thrown out, and let in again', () => {
  it('is so at every connected proxy when the control plane answers', () =>
    withMesh({}, async (mesh) => {
      const agents = [await reporting(mesh, 'n1'), await reporting(mesh, 'n2'), await reporting(mesh, 'n3')]
      await connected(mesh, 3)
      const all = { have: 3, connected: 3, missing: [] }
      /** Whether all had said so; where they had not, it was waited for. On a machine that is busy a disk may take longer. */
      const isComplete = async (isRevoked: boolean, order: () => Promise<{ inForce?: ReachedProxies | undefined }>) => {
        const beganMs = performance.now()
        const { inForce } = await order()
        if (inForce?.missing.length !== 0) {
          assert.ok(performance.now() - beganMs >= 900, JSON.stringify(inForce))
          return false
        }
        // Of this moment: nothing is waited for.
        assert.deepEqual(agents.map(has), [isRevoked, isRevoked, isRevoked])
        assert.deepEqual(inForce, all)
        return true
      }
      let complete = 0
      for (let round = 0; complete < 3 && round < 20; round++) {
        const order = { kind: 'id', value: alice, reason } as const
        const isKnown = await isComplete(true, () => mesh.admin.revoke(order))
        // Who had not said that it has it says what is so now without having been told.
        if (!isKnown) await mesh.admin.restore(order)
        else if (await isComplete(false, () => mesh.admin.restore(order))) complete++
      }
      assert.ok(complete > 0)
      const suspended = await mesh.admin.suspendAgent({ agent: 'n3', reason })
      assert.equal(suspended.inForce?.connected, 2, 'who is thrown out is not asked')
      assert.equal((await mesh.admin.revoke({ kind: 'id', value: alice, reason, dryRun: true })).inForce, undefined)
    }))

  it('is answered although one proxy hangs, which is named, and the others have it', () =>
    withMesh({}, async (mesh) => {
      const first = await reporting(mesh, 'n1')
      await hanging(mesh, 'n2')
      await connected(mesh, 2)
      const beganMs = performance.now()
      const { revocation, inForce } = await mesh.admin.revoke({ kind: 'id', value: alice, reason })
      const ms = performance.now() - beganMs
      assert.ok(ms >= 900 && ms < answeredMsMax, `${ms} ms`)
      assert.equal(inForce?.connected, 2)
      assert.ok(inForce.missing.includes('n2'))
      await eventually('the other has it', async () => (await mesh.admin.revocations(false, 10)).inForce?.have === 1)
      assert.ok(has(first))
      const identity = (...args: string[]) => run(['identity', ...args, '--state-dir', mesh.stateDir])
      const listed = await identity('revocations')
      assert.match(listed.out, /\nin force at 1 of 2 proxies\nnot yet at: n2\n$/)
      const revoked = await identity('revoke', 'corp/bob', '--reason', reason)
      assert.equal(revoked.code, 1, revoked.err)
      const soFar =
        /\nin force at [01] of 2 proxies after \d\.\d\d s\nnot yet: (n1, )?n2\nlook again: ringfence identity revocations\n$/
      assert.match(revoked.out, soFar)
      const restored = await identity('restore', String(revocation.id))
      assert.equal(restored.code, 0, restored.err)
      assert.match(restored.out, soFar)
      await identity('restore', 'corp/bob', '-o', 'json')
      // It never had them: with none in force it has what there is.
      await eventually(
        'all have it',
        async () => (await mesh.admin.revocations(false, 10)).inForce?.missing.length === 0,
      )
    }))
})
