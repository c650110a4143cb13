import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { z } from 'zod'
import { type Administrator, administrator, type Member, member } from '../../src/control/callers.ts'
import { overHttps, overSocket, withMesh } from '../../src/control/mesh.fixture.ts'
import { route } from '../../src/control/route.ts'
import type { ControlParts } from '../../src/control/services/parts.ts'

/** Two verbs that `src` does not know. They say who asked, and something that only the control plane knows. */
const suspended = new Set<string>()

function suspend({ store }: ControlParts, { kind }: Administrator, { spiffeId }: { spiffeId: string }) {
  suspended.add(spiffeId)
  return { by: kind, known: store.agent(spiffeId) !== undefined }
}

function amISuspended({ peer }: Member) {
  return { who: peer.spiffeId, suspended: suspended.has(peer.spiffeId) }
}

const verbs = (parts: ControlParts) => [
  route({
    method: 'POST',
    path: '/v1/suspend',
    who: administrator,
    input: z.strictObject({ spiffeId: z.string() }),
    output: z.object({ by: z.string(), known: z.boolean() }),
    service: (caller, order) => suspend(parts, caller, order),
  }),
  route({
    method: 'GET',
    path: '/v1/suspended',
    who: member,
    input: z.unknown(),
    output: z.object({ who: z.string(), suspended: z.boolean() }),
    service: (caller) => amISuspended(caller),
  }),
]

describe('a verb that src does not know', () => {
  it('is served over the socket and HTTPS with who is asking, and refused to who may not', () =>
    withMesh({ routes: verbs }, async (mesh) => {
      const spiffeId = 'spiffe://demo.local/svc/alice'
      const alice = await mesh.admin.mint({ spiffeId })
      const order = { spiffeId }
      assert.deepEqual(await overHttps(mesh, alice, 'GET', '/v1/suspended'), {
        status: 200,
        body: { who: spiffeId, suspended: false },
      })
      assert.equal((await overHttps(mesh, alice, 'POST', '/v1/suspend', order)).status, 403)
      assert.equal((await overHttps(mesh, undefined, 'POST', '/v1/suspend', order)).status, 403)
      assert.deepEqual(await overSocket(mesh, 'POST', '/v1/suspend', order), {
        status: 200,
        body: { by: 'administrator', known: false },
      })
      assert.equal((await overSocket(mesh, 'POST', '/v1/suspend', { who: 1 })).status, 400)
      assert.equal((await overSocket(mesh, 'GET', '/v1/suspended')).status, 403)
      assert.equal((await overHttps(mesh, undefined, 'GET', '/v1/suspended')).status, 403)
      assert.deepEqual((await overHttps(mesh, alice, 'GET', '/v1/suspended')).body, { who: spiffeId, suspended: true })
    }))
})
