import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withMesh } from '../control/mesh.fixture.ts'
import { agentsTable } from './commands/agents.ts'
import { run } from './program.fixture.ts'

const alice = 'spiffe://demo.local/svc/alice'

describe('ringfence agent list, suspend, resume and delete', () => {
  it('show and change who enrolled, in a table and as JSON, and say what cannot be', () =>
    withMesh({}, async (mesh) => {
      const agent = (verb: string, ...args: string[]) => run(['agent', verb, '--state-dir', mesh.stateDir, ...args])
      const [none, unknown, noReason] = await Promise.all([
        agent('list'),
        agent('delete', 'orders'),
        agent('suspend', 'orders'),
      ])
      assert.deepEqual([none.code, none.out], [0, 'nobody has enrolled yet\n'], none.err)
      assert.deepEqual([unknown.code, noReason.code], [64, 64])
      assert.match(unknown.err, /no agent is called orders\n {2}hint: ringfence agent list shows who enrolled/)
      assert.match(noReason.err, /--reason/)
      await mesh.agent('alice', await mesh.token(alice, 'workload'), { role: 'workload', name: 'orders' })
      const [listed, json] = await Promise.all([agent('list'), agent('list', '-o', 'json')])
      assert.match(
        listed.out,
        /^NAME +ROLE +STATE +ENROLLED +RENEWED +CERTIFICATE +BY +SPIFFE ID\norders +workload +active +\d+s +- +59m/,
      )
      assert.match(listed.out, new RegExp(`token [0-9a-f]{12} +${alice}\n$`))
      const { agents, count } = JSON.parse(json.out) as { agents: { spiffeId: string; state: string }[]; count: number }
      assert.deepEqual([count, agents.map(({ spiffeId, state }) => [spiffeId, state])], [1, [[alice, 'active']]])

      const suspended = await agent('suspend', 'orders', '--reason', 'a test', '--by', 'carol', '--until', '2h')
      assert.equal(suspended.code, 0, suspended.err)
      assert.match(suspended.out, new RegExp(`^${alice} is suspended \\(revocation 1\\)\nin force at 0 of 0 proxies`))
      const [shown, revocations] = await Promise.all([
        agent('list'),
        run(['identity', 'revocations', '--state-dir', mesh.stateDir]),
      ])
      assert.match(shown.out, /orders +workload +suspended \(1\) /)
      assert.match(revocations.out, /\n +1 +spiffe:\/\/demo\.local\/svc\/alice .* carol +in 1h59m +a test\n/)
      const resumed = await agent('resume', alice)
      assert.equal(resumed.out, `${alice} may come in again (revocation 1 is over)\n`, resumed.err)
      const again = await agent('resume', alice)
      assert.equal(again.code, 64)
      assert.match(again.err, /is not suspended/)

      const deleted = await agent('delete', 'orders')
      assert.equal(deleted.code, 0, deleted.err)
      assert.match(
        deleted.out,
        /svc\/alice is deleted, and 1 of its certificates count no more; to come back it needs a new join token\n/,
      )
      assert.equal((await mesh.admin.agents(10)).count, 0)
    }))

  it('names each state, and what is not known', () => {
    const row = { role: 'workload', spiffeId: alice } as const
    const text = agentsTable(
      [
        { ...row, name: 'a', state: 'ended', enrolledAtMs: 0, attestedBy: 'token 0123456789ab', notAfterMs: 1_000 },
        { ...row, name: 'b', state: 'revoked', revocation: 7, attestedBy: 'outside' },
      ],
      5_000,
    )
    const [, first, second] = text.split('\n')
    assert.match(first ?? '', /^a +workload +ended +5s +- +expired +token 0123456789ab/)
    assert.match(second ?? '', /^b +workload +revoked \(7\) +- +- +- +outside /)
  })
})
