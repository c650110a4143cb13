/** What is said where the clocks of an agent and of the control plane differ: nothing up to a minute, and by how much beyond it. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { type Clock, systemClock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { eventually, withMesh } from './mesh.fixture.ts'

const id = 'spiffe://demo.local/svc/alice'

function off(byMs: () => number): Clock {
  return { now: () => Date.now() + byMs(), monotonic: systemClock.monotonic }
}

function heard() {
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
  const told = (): string[] => lines.map((line) => String(JSON.parse(line).msg)).filter((text) => /clock/.test(text))
  return { log, told }
}

describe('clocks that differ', () => {
  it('within a minute are no hindrance, in either direction, and nothing is said', () =>
    withMesh({}, async (mesh) => {
      for (const [index, byMs] of [-55_000, 55_000].entries()) {
        const { log, told } = heard()
        const token = await mesh.token(`${id}${index}`, 'workload')
        const agent = await mesh.agent(`a${index}`, token, { role: 'workload', clock: off(() => byMs), log })
        const { notBeforeMs, notAfterMs } = agent.credentials.current
        const now = Date.now() + byMs
        assert.ok(notBeforeMs <= now && now < notAfterMs, 'its certificate is good by its own clock')
        assert.deepEqual(told(), [])
      }
    }))

  it('by more are named at the enrolment, with how much and in which direction', () => {
    let controlMs = 0
    return withMesh({ clock: off(() => controlMs) }, async (mesh) => {
      for (const [index, byMs, words] of [
        [0, 300_000, /^the clock of this host is (299|300|301) s behind the control plane’s$/],
        [1, -300_000, /^the clock of this host is (299|300|301) s ahead of the control plane’s$/],
      ] as const) {
        controlMs = byMs
        const { log, told } = heard()
        const token = await mesh.token(`${id}${index}`, 'workload')
        await mesh.agent(`a${index}`, token, { role: 'workload', log })
        assert.equal(told().length, 1)
        assert.match(told()[0] ?? '', words)
      }
    })
  })

  it('are named where it can’t be known any more whether the control plane is one', () =>
    withMesh({}, async (mesh) => {
      for (const [byMs, words] of [
        [-300_000, /by the clock of this host the certificate of the control plane is not valid for (2[34]\d) s yet/],
        [2 * 3_600_000, /by the clock of this host the certificate of the control plane has ended 3(59|60)\d s ago/],
      ] as const) {
        const token = await mesh.token(id, 'workload')
        const change = { role: 'workload', clock: off(() => byMs) } as const
        await assert.rejects(mesh.agent('alice', token, change), (fault: unknown) => {
          assert.ok(fault instanceof RingfenceError)
          assert.equal(fault.code, 'IDENTITY')
          assert.match(fault.message, words)
          assert.match(fault.hint ?? '', /timedatectl/)
          return true
        })
        // The token is not spent by it.
        assert.ok(await mesh.agent(`alice${byMs}`, token, { role: 'workload' }))
      }
    }))

  it('are named at a renewal, where they went wrong since', () => {
    let agentMs = 0
    const { log, told } = heard()
    return withMesh({}, async (mesh) => {
      const change = { clock: off(() => agentMs), random: () => 0, log }
      await mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'), change)
      assert.deepEqual(told(), [])
      agentMs = 90_000
      // So that it renews at once.
      await mesh.admin.prepareAuthority({ kind: 'issuing' })
      await mesh.admin.activateAuthority({ kind: 'issuing' })
      const { authorities } = await mesh.admin.authorities()
      const { id: old } = authorities.find(({ kind, state }) => kind === 'issuing' && state === 'old')!
      await mesh.admin.taintAuthority({ id: old })
      await eventually('it is told', () => told().some((text) => /is (89|90|91) s ahead of/.test(text)))
    })
  })
})
