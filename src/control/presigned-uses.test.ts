/** Who used a pre-signed request of AWS first, asked by sidecars at a real control plane over mutual TLS. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { presignedUse, presignedUseAnswer, presignedUsesPath } from '../mesh/presigned-uses.ts'
import { withMesh } from './mesh.fixture.ts'

const idOf = (role: string, name: string): string => `spiffe://demo.local/ringfence/${role}/${name}`
const use = (address: string, change: object = {}) => ({
  principal: 'arn:aws:iam::123456789012:role/etl',
  key: 'k'.repeat(43),
  address,
  endMs: Date.now() + 600_000,
  ...change,
})

describe('who used a pre-signed request first', () => {
  it('is one address in the whole mesh, whichever sidecar asks', () =>
    withMesh({}, async (mesh) => {
      const agents = []
      for (const name of ['n1', 'n2'])
        agents.push(await mesh.agent(name, await mesh.token(idOf('sidecar', name), 'sidecar')))
      const [one, other] = agents.map(
        (agent) => async (asked: object) =>
          (await agent.askControl(presignedUsesPath, asked, presignedUseAnswer)).isFirst,
      )
      assert.equal(await one!(use('192.0.2.1')), true)
      assert.equal(await other!(use('192.0.2.2')), false)
      assert.equal(await other!(use('192.0.2.1')), true)
      assert.equal(await one!(use('192.0.2.2')), false)
      // Another request, and one that somebody else signed.
      assert.equal(await other!(use('192.0.2.2', { key: 'l'.repeat(43) })), true)
      assert.equal(await other!(use('192.0.2.2', { principal: 'arn:aws:iam::123456789012:role/other' })), true)
      // What says that it never ends is forgotten like the others.
      assert.equal(await one!(use('192.0.2.1', { key: 'm'.repeat(43), endMs: Number.MAX_VALUE })), true)
    }))

  it('is known after a restart of the control plane', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n1'), 'sidecar'))
      const isFirst = async (asked: object) =>
        (await agent.askControl(presignedUsesPath, asked, presignedUseAnswer)).isFirst
      assert.equal(await isFirst(use('192.0.2.1')), true)
      await mesh.control.stop()
      await mesh.restart()
      assert.equal(await isFirst(use('192.0.2.2')), false)
      assert.equal(await isFirst(use('192.0.2.1')), true)
      assert.equal(await isFirst(use('192.0.2.2', { key: 'l'.repeat(43) })), true)
    }))

  it('is said to sidecars only, of what is such a use', () =>
    withMesh({}, async (mesh) => {
      const gateway = await mesh.agent('g1', await mesh.token(idOf('gateway', 'g1'), 'gateway'), { role: 'gateway' })
      await assert.rejects(gateway.askControl(presignedUsesPath, use('192.0.2.1'), presignedUseAnswer), {
        code: 'IDENTITY',
      })
      for (const wrong of [{ key: 'k' }, { key: `${'k'.repeat(42)}/` }, { principal: '' }, { address: 'a'.repeat(65) }])
        assert.equal(presignedUse.safeParse(use('192.0.2.1', wrong)).success, false)
    }))
})
