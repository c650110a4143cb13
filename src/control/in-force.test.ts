import assert from 'node:assert/strict'
import { cpSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Agent } from '../agent/agent.ts'
import { sha256Hex } from '../base/digest.ts'
import { awaitInForce, inForceText } from '../cli/in-force.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'

const sidecarId = 'spiffe://demo.local/ringfence/sidecar/c1/dc1/n1'

function reportOf(agent: Agent): ProxyReport {
  const { revision, source } = agent.value(pushedKinds.policy).current
  return {
    policyRevision: revision,
    policyDigest: sha256Hex(source),
    connections: 0,
    sessions: 0,
    upstreamConnections: 0,
    listeners: [],
    traffic: [],
  }
}

async function withSidecar(mesh: Mesh): Promise<Agent> {
  const agent = await mesh.agent('n1', await mesh.token(sidecarId, 'sidecar'))
  agent.setReporter(() => reportOf(agent))
  return agent
}

const stateFiles = ['control.db', 'control.db-wal', 'control.db-shm']

/** The control plane's state as it was after `before`, with the proxies as they are after `after`. */
async function restored(mesh: Mesh, before: readonly string[], after: readonly string[], restart = {}): Promise<Agent> {
  for (const source of before) await mesh.admin.applyPolicy(source, 'p.yaml', false)
  const agent = await withSidecar(mesh)
  await mesh.control.stop()
  for (const file of stateFiles)
    if (existsSync(join(mesh.stateDir, file))) cpSync(join(mesh.stateDir, file), join(mesh.stateDir, `${file}.kept`))
  await mesh.restart()
  for (const source of after) await mesh.admin.applyPolicy(source, 'p.yaml', false)
  await eventually(
    'the last policy',
    () => agent.value(pushedKinds.policy).current.revision === before.length + after.length,
  )
  await mesh.control.stop()
  for (const file of stateFiles) {
    rmSync(join(mesh.stateDir, file), { force: true })
    const kept = join(mesh.stateDir, `${file}.kept`)
    if (existsSync(kept)) cpSync(kept, join(mesh.stateDir, file))
  }
  await mesh.restart(restart)
  return agent
}

describe('a control plane that was restored', () => {
  it('says that proxies run a later policy, which they keep, and puts the next one above it', () =>
    withMesh({}, async (mesh) => {
      const agent = await restored(mesh, ['one'], ['two', 'three'])
      const { policyConflict, policyRevision } = await eventually('the conflict', async () => {
        const status = await mesh.admin.status()
        return status.policyConflict !== undefined && status
      })
      assert.equal(policyRevision, 1)
      assert.deepEqual(policyConflict, { names: ['n1'], nextRevision: 4 })
      assert.deepEqual(agent.value(pushedKinds.policy).current, { revision: 3, source: 'three' })
      assert.equal((await mesh.admin.status()).proxies[0]?.synced, false)
      // The same text as the control plane has: to the proxy it is another.
      assert.deepEqual(await mesh.admin.applyPolicy('one', 'p.yaml', false), { revision: 4, applied: true })
      const found = await awaitInForce(mesh.admin, 4, sha256Hex('one'), 5_000)
      assert.deepEqual(found, { running: ['n1'], others: [], away: [] })
      assert.deepEqual(agent.value(pushedKinds.policy).current, { revision: 4, source: 'one' })
      const status = await mesh.admin.status()
      assert.equal(status.policyConflict, undefined)
      assert.equal(status.proxies[0]?.synced, true)
      assert.deepEqual(await mesh.admin.applyPolicy('one', 'p.yaml', false), { revision: 4, applied: false })
    }))

  it('puts another text under an equal number in force, and shows nothing as synced before', () =>
    withMesh({}, async (mesh) => {
      // With --policy it has a revision of its own before any proxy could report.
      const agent = await restored(mesh, ['one'], ['two'], { policy: { source: 'other', fileName: 'p.yaml' } })
      await eventually('the other text', () => agent.value(pushedKinds.policy).current.source === 'other')
      const status = await eventually('synced', async () => {
        const now = await mesh.admin.status()
        const [proxy] = now.proxies
        if (proxy?.synced === true) assert.equal(proxy.policyDigest, sha256Hex('other'))
        return proxy?.synced === true && now
      })
      assert.equal(status.policyDigest, sha256Hex('other'))
      assert.equal(status.policyConflict, undefined)
    }))

  it('tells by the text, not by the number, where a policy is in force', () =>
    withMesh({}, async (mesh) => {
      const agent = await withSidecar(mesh)
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await eventually('the policy', () => agent.value(pushedKinds.policy).current.revision === 1)
      // As one whose workers could not put it in force.
      agent.setReporter(() => ({ ...reportOf(agent), policyDigest: sha256Hex('something else') }))
      const found = await eventually('the report', async () => {
        const now = await awaitInForce(mesh.admin, 1, sha256Hex('one'), 0)
        return now.others.length > 0 && now
      })
      assert.match(inForceText(found), /in force on 0 of 1 connected proxies\nn1 runs revision 1 \([0-9a-f]{12}\)/)
      assert.deepEqual((await mesh.admin.status()).policyConflict, { names: ['n1'], nextRevision: 2 })
    }))

  it('tells why a proxy does not run it, where the proxy said so', () =>
    withMesh({}, async (mesh) => {
      const agent = await withSidecar(mesh)
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await eventually('the policy', () => agent.value(pushedKinds.policy).current.revision === 1)
      const before = reportOf(agent)
      const policyFault = `revision 2: kind Novelty is not known here${'!'.repeat(1000)}`
      agent.setReporter(() => ({ ...before, policyFault }))
      await mesh.admin.applyPolicy('two', 'p.yaml', false)
      const found = await eventually('the reason', async () => {
        const now = await awaitInForce(mesh.admin, 2, sha256Hex('two'), 0)
        return now.others[0]?.why !== undefined && now
      })
      const line = inForceText(found).split('\n')[1]
      assert.match(line ?? '', /^n1 runs revision 1 \([0-9a-f]{12}\): revision 2: kind Novelty is not known here!+…?$/)
      assert.ok(line!.length < 600)
      // What it could not put in force once is no news when it runs what is in force.
      agent.setReporter(() => reportOf(agent))
      await eventually('in force', async () => (await mesh.admin.status()).proxies[0]?.synced === true)
      assert.equal((await mesh.admin.status()).proxies[0]?.policyFault, undefined)
    }))
})
