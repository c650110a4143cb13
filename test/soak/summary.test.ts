/** That the soak says what was not as it should be, and counts each thing as what it is. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Said } from './application.ts'
import { type Observed, summaryOf, tableOf } from './summary.ts'

const counts = { requests: 100, failed: 0, opened: 9, ended: 5 }
const said = (change: Partial<Said> = {}): Said => ({
  clients: { 'node-1': counts, 'node-2': counts, 'python-1': counts, 'python-2': counts },
  failures: [],
  ...change,
})
const seen = (change: Partial<Observed> = {}): Observed => ({
  seconds: 60,
  renewed: [
    'spiffe://demo.local/soak/node-1',
    'spiffe://demo.local/soak/python-1',
    'spiffe://demo.local/ringfence/gateway/gateway1',
    'spiffe://demo.local/ringfence/sidecar/soak/datacenter1/node1',
    'spiffe://demo.local/cassandra/node1',
    'spiffe://demo.local/svc/pages',
  ],
  turns: { issuing: 4, root: 3, revoked: 3 },
  said: new Map([['all', said()]]),
  openedBefore: new Map(),
  web: { requests: 10, failed: 0, failures: [] },
  sums: { rows: 2, done: 200, unknown: 0, found: 200, lost: 0, doubled: 0 },
  faults: [],
  ...change,
})
const failing = (error: string): ReadonlyMap<string, Said> => {
  const clients = { ...said().clients, 'python-1': { ...counts, failed: 1 } }
  return new Map([['all', said({ clients, failures: [{ atMs: 0, client: 'python-1', error }] })]])
}

describe('the summary of a soak', () => {
  it('counts rotations by whose certificate it was, and finds nothing wrong where nothing is', () => {
    const summary = summaryOf(seen())
    assert.deepEqual(summary.faults, [])
    assert.deepEqual(summary.rotations, {
      applications: 2,
      'gateways and sidecars': 2,
      'nodes, for clients and between nodes': 1,
      NGINX: 1,
      'issuing keys': 4,
      roots: 3,
      all: 13,
    })
    assert.equal(summary.requests, 410)
    assert.equal(summary.pythonSessionsEnded, 10)
    assert.match(tableOf(summary), /\| Python at sidecars \| 1 \| 100 \| 0 \| 5 \|/)
  })

  for (const [name, change, fault] of [
    ['a request whose connection ended', { said: failing('NoHostAvailable: …') }, /^1 requests failed/],
    ['an error that nobody knows', { said: failing('strange') }, /^1 requests failed/],
    [
      'an increment that was lost',
      { sums: { ...seen().sums, found: 199, lost: 1 } },
      /^1 increments lost, 0 done twice/,
    ],
    [
      'one that was done twice',
      { sums: { ...seen().sums, found: 201, doubled: 1 } },
      /^0 increments lost, 1 done twice/,
    ],
    ['a kind that did not rotate', { turns: { issuing: 4, root: 0, revoked: 0 } }, /^no rotation: roots/],
    ['a door that nobody asked', { web: { requests: 0, failed: 0, failures: [] } }, /^no request: HTTPS by NGINX/],
    ['what ended', { faults: ['python 1 ended'] }, /^python 1 ended/],
  ] as const) {
    it(`tells of ${name}`, () => {
      const { faults } = summaryOf(seen(change))
      assert.equal(faults.length, 1)
      assert.match(faults[0]!, fault)
    })
  }

  it('does not call it a rotation where the node said that it was too slow', () => {
    const { faults, failedByNode, failedByRotation } = summaryOf(
      seen({ said: failing('WriteTimeout: Error from server: code=1100') }),
    )
    assert.deepEqual([faults, failedByNode, failedByRotation], [[], 1, 0])
  })
})
