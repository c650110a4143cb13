/** That the table of drains says what was not as it should be, and nothing else. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type DrainRow, faultsOf, tableOf } from './drains.ts'

const row = (change: Partial<DrainRow> = {}): DrainRow => ({
  drain: 'a sidecar is stopped, 3 times',
  load: 'Python at sidecars',
  clients: 3,
  requests: 100,
  sessionsEnded: 9,
  failed: 0,
  failedByNode: 0,
  lost: 0,
  doubled: 0,
  said: {},
  ...change,
})

describe('the table of drains', () => {
  it('has nothing against one without a failure, also where a node said that it was slow', () => {
    assert.deepEqual(faultsOf([row(), row({ failedByNode: 2, said: { WriteTimeout: 2 } })]), [])
    assert.match(
      tableOf([row()]),
      /\| a sidecar is stopped, 3 times \| Python at sidecars \| 3 \| 100 \| 9 \| 0 \| 0 \| 0 \|$/,
    )
  })

  for (const [name, change, fault] of [
    ['a failure', { failed: 1, said: { NoHostAvailable: 1 } }, /: 1 failed, 0 lost, 0 done twice: .*NoHostAvailable/],
    ['what was lost', { lost: 2 }, /: 0 failed, 2 lost, 0 done twice/],
    ['what was done twice', { doubled: 3 }, /: 0 failed, 0 lost, 3 done twice/],
    ['a load that did not ask', { requests: 0 }, /: no request$/],
    ['a load that noticed nothing, for nothing ended', { sessionsEnded: 0 }, /: no session ended$/],
  ] as const) {
    it(`tells of ${name}`, () => {
      const faults = faultsOf([row(change)])
      assert.equal(faults.length, 1)
      assert.match(faults[0]!, fault)
    })
  }

  it('expects sessions to end where that door is, and at each where certificates end', () => {
    const ended = (drain: string, load: string): number => faultsOf([row({ drain, load, sessionsEnded: 0 })]).length
    const [gateway, sidecar, certificate] = ['a gateway is stopped', 'a sidecar is stopped', 'certificates of 30 s end']
    assert.deepEqual([ended(gateway, 'Node.js by NGINX'), ended(gateway, 'Node.js at sidecars')], [1, 0])
    assert.deepEqual([ended(sidecar, 'Node.js by NGINX'), ended(sidecar, 'Node.js at sidecars')], [0, 1])
    assert.deepEqual([ended(certificate, 'Node.js by NGINX'), ended(certificate, 'Node.js at sidecars')], [1, 1])
  })
})
