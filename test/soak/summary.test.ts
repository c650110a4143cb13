/** That the soak says what was not as it should be, and counts each thing as what it is. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Said } from './application.ts'
import { type Observed, summaryOf, tableOf } from './summary.ts'

const counts = { requests: 100, failed: 0, opened: 9, ended: 5, said: {} }
const said = (change: Partial<Said> = {}): Said => ({
  clients: { 'node-1': counts, 'node-2': counts, 'python-1': counts, 'python-2': counts },
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
  web: { requests: 10, failed: 0, said: {} },
  sums: { rows: 2, done: 200, unknown: 0, found: 200, lost: 0, doubled: 0 },
  faults: [],
  ...change,
})
const failing = (error: string, failed = 1): ReadonlyMap<string, Said> => {
  const clients = { ...said().clients, 'python-1': { ...counts, failed, said: { [error]: failed } } }
  return new Map([['all', said({ clients })]])
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
    ['a door that nobody asked', { web: { requests: 0, failed: 0, said: {} } }, /^no request: HTTPS by NGINX/],
    ['what ended', { faults: ['python 1 ended'] }, /^python 1 ended/],
  ] as const) {
    it(`tells of ${name}`, () => {
      const { faults } = summaryOf(seen(change))
      assert.equal(faults.length, 1)
      assert.match(faults[0]!, fault)
    })
  }

  it('asks for no rotation of what is not to rotate', () => {
    const turns = { issuing: 0, root: 0, revoked: 0 }
    assert.deepEqual(summaryOf(seen({ turns, still: ['issuing keys', 'roots'] })).faults, [])
    assert.deepEqual(summaryOf(seen({ turns, still: ['roots'] })).faults, ['no rotation: issuing keys'])
  })

  it('does not call it a rotation where the node said that it was too slow, however often', () => {
    const summary = summaryOf(seen({ said: failing('WriteTimeout: Error from server: code=1100', 10_000) }))
    assert.deepEqual([summary.faults, summary.failedByNode, summary.failedByRotation], [[], 10_000, 0])
    assert.deepEqual(summary.said, { 'python-1: WriteTimeout: Error from server: code=1100': 10_000 })
  })

  it('tells those of a node from others of the same client, and counts what has no text of its own as of a rotation', () => {
    const texts = { 'Server timeout during write': 7, other: 2, 'NoHostAvailable: …': 1 }
    const clients = { ...said().clients, 'node-1': { ...counts, failed: 10, said: texts } }
    const web = { requests: 10, failed: 3, said: { 'HTTP 401': 3 } }
    const summary = summaryOf(seen({ said: new Map([['all', said({ clients })]]), web }))
    assert.deepEqual([summary.failed, summary.failedByNode, summary.failedByRotation], [13, 7, 6])
    assert.equal(summary.said['https: HTTP 401'], 3)
  })
})
