import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Ring } from '../../link/protocol.ts'
import { properties } from './ring.fuzz.ts'
import { type Placement, type ReplicaSet, TokenRing } from './ring.ts'

type Node = Ring['nodes'][number]
type Keyspace = Ring['keyspaces'][number]

const smallest = -(2n ** 63n)
const largest = 2n ** 63n - 1n

function node(hostId: string, dataCenter: string, rack: string, ...tokens: (number | bigint)[]): Node {
  return { hostId, dataCenter, rack, tokens: tokens.map(String) }
}

function simple(name: string, factor: number | string): Keyspace {
  return { name, strategy: 'SimpleStrategy', options: [['replication_factor', String(factor)]] }
}

function network(name: string, factors: Record<string, number | string>): Keyspace {
  const options = Object.entries(factors).map(([dataCenter, factor]): [string, string] => [dataCenter, String(factor)])
  return { name, strategy: 'NetworkTopologyStrategy', options }
}

function ringOf(nodes: Node[], keyspaces: Keyspace[]): TokenRing {
  return new TokenRing({ id: 1, digest: 'd', nodes, keyspaces })
}

function setAt(placement: Placement | undefined, token: bigint | number): ReplicaSet {
  assert.ok(placement !== undefined)
  const wide = BigInt(token)
  return placement.replicasOf(Number(wide >> 32n), Number(BigInt.asIntN(32, wide)))
}

/** The replicas of a token, as one text. */
function at(ring: TokenRing, keyspace: string, token: bigint | number): string {
  return setAt(ring.placement(keyspace), token).hostIds.join('')
}

describe('TokenRing', () => {
  const three = [node('a', 'dc', 'r', -100, 300), node('b', 'dc', 'r', 0), node('c', 'dc', 'r', 200)]

  it('gives a token to the first node at or behind it, and what lies behind the last to the first', () => {
    const ring = ringOf(three, [simple('one', 1)])
    const cases: readonly [bigint | number, string][] = [
      [smallest, 'a'],
      [-101, 'a'],
      [-100, 'a'],
      [-99, 'b'],
      [-1, 'b'],
      [0, 'b'],
      [1, 'c'],
      [200, 'c'],
      [201, 'a'],
      [300, 'a'],
      [301, 'a'],
      [largest, 'a'],
    ]
    for (const [token, expected] of cases) assert.equal(at(ring, 'one', token), expected, String(token))
    assert.equal(ring.digest, 'd')
  })

  it('compares the lower half without its sign', () => {
    const half = 2n ** 31n
    const ring = ringOf(
      [node('a', 'dc', 'r', half - 1n), node('b', 'dc', 'r', half), node('c', 'dc', 'r', 2n * half)],
      [simple('one', 1)],
    )
    const cases: readonly [bigint, string][] = [
      [half - 1n, 'a'],
      [half, 'b'],
      [half + 1n, 'c'],
      [2n * half - 1n, 'c'],
      [2n * half, 'c'],
      [2n * half + 1n, 'a'],
      [-1n, 'a'],
    ]
    for (const [token, expected] of cases) assert.equal(at(ring, 'one', token), expected, String(token))
  })

  it('lists the next nodes of the ring for SimpleStrategy, whatever their places', () => {
    const ring = ringOf(
      [node('a', 'dc1', 'r', -100, 300), node('b', 'dc2', 'r', 0), node('c', 'dc1', 'r2', 200)],
      [simple('two', 2), simple('three', 3), simple('many', 2_147_483_647), simple('none', 0)],
    )
    assert.equal(at(ring, 'two', 50), 'ca')
    assert.equal(at(ring, 'two', 250), 'ab')
    assert.equal(at(ring, 'three', 250), 'abc')
    assert.equal(at(ring, 'none', 250), '')
    assert.equal(ring.placement('three'), ring.placement('many'))
  })

  it('takes a node of each rack before a second one of any, in each data centre for itself', () => {
    const nodes = [
      node('a', 'dc1', 'r1', 0),
      node('b', 'dc1', 'r1', 10),
      node('c', 'dc2', 'r1', 20),
      node('d', 'dc1', 'r2', 30),
      node('e', 'dc2', 'r1', 40),
      node('f', 'dc1', 'r2', 50),
    ]
    const ring = ringOf(nodes, [
      network('k11', { dc1: 1, dc2: 1 }),
      network('k2', { dc1: 2 }),
      network('k3', { dc1: 3, dc2: 0 }),
      network('k42', { dc1: 4, dc2: 2 }),
      network('k99', { dc1: 99, dc2: 99, dc3: 3 }),
      network('nowhere', { dc3: 3 }),
    ])
    assert.equal(at(ring, 'k11', 0), 'ac')
    assert.equal(at(ring, 'k11', 25), 'de')
    assert.equal(at(ring, 'k2', 0), 'ad')
    assert.equal(at(ring, 'k2', 25), 'da')
    assert.equal(at(ring, 'k3', 0), 'abd')
    assert.equal(at(ring, 'k3', 25), 'dfa')
    assert.equal(at(ring, 'k42', 0), 'abcdef')
    assert.equal(ring.placement('k42'), ring.placement('k99'))
    assert.equal(at(ring, 'nowhere', 0), '')
  })

  it('waits for a rack that is far away, and fills up where racks are too few', () => {
    const nodes = [
      node('a', 'dc', 'r1', 0),
      node('b', 'dc', 'r1', 10),
      node('c', 'dc', 'r1', 20),
      node('d', 'dc', 'r2', 30),
    ]
    const ring = ringOf(nodes, [network('two', { dc: 2 }), network('three', { dc: 3 })])
    assert.equal(at(ring, 'two', 0), 'ad')
    assert.equal(at(ring, 'three', 0), 'abd')
  })

  it('counts transient replicas as replicas', () => {
    const ring = ringOf(three, [simple('two', '2/1'), network('three', { dc: '3/1' })])
    assert.equal(at(ring, 'two', 0), 'bc')
    assert.equal(at(ring, 'three', 0), 'bca')
  })

  it('has no placement for what says nothing of replicas, nor for options that Cassandra would not take', () => {
    const odd: readonly (readonly [string, [string, string][]])[] = [
      ['LocalStrategy', []],
      ['EverywhereStrategy', []],
      ['com.example.OurStrategy', [['replication_factor', '3']]],
      ['constructor', [['replication_factor', '3']]],
      ['SimpleStrategy', []],
      ['SimpleStrategy', [['dc', '3']]],
      ['NetworkTopologyStrategy', [['replication_factor', '3']]],
      ['NetworkTopologyStrategy', [['Replication_Factor', '3']]],
      [
        'NetworkTopologyStrategy',
        [
          ['dc', '1'],
          ['dc', '1'],
        ],
      ],
    ]
    const factors = ['', ' 3', '-1', '3.0', '1e3', '0x3', '2147483648', 'NaN', '3/', '/1', '3/3', '3/-1', '3/1/1']
    const keyspaces = odd.map(([strategy, options], index): Keyspace => ({ name: `k${index}`, strategy, options }))
    for (const factor of factors) {
      keyspaces.push(simple(`s${factor}`, factor), network(`n${factor}`, { dc: factor }))
    }
    const ring = ringOf(three, keyspaces)
    for (const { name } of keyspaces) assert.equal(ring.placement(name), undefined, name)
    for (const name of ['', 'absent', '__proto__', 'constructor']) assert.equal(ring.placement(name), undefined, name)
    // Beside them, the same in a form that Cassandra takes.
    const good = ringOf(three, [simple('__proto__', '+3'), network('constructor', { dc: '003/0' })])
    assert.equal(at(good, '__proto__', 0), 'bca')
    assert.equal(at(good, 'constructor', 0), 'bca')
  })

  it('is a ring without nodes, with one, and with nodes that own nothing', () => {
    const keyspaces = [simple('s', 3), network('n', { dc: 3 })]
    for (const nodes of [[], [node('a', 'dc', 'r')], [node('a', 'dc', 'r', 2n ** 63n, -(2n ** 63n) - 1n)]]) {
      const empty = ringOf(nodes, keyspaces)
      for (const token of [smallest, 0n, largest]) {
        assert.equal(at(empty, 's', token), '')
        assert.equal(at(empty, 'n', token), '')
      }
      assert.equal(empty.setCount, 1)
    }
    // The node without tokens counts neither as a copy nor as a rack that one must wait for.
    const one = ringOf([node('a', 'dc', 'r', 5), node('b', 'dc', 'r2')], keyspaces)
    for (const token of [smallest, 0n, 5n, 6n, largest]) {
      assert.equal(at(one, 's', token), 'a')
      assert.equal(at(one, 'n', token), 'a')
    }
  })

  it('gives a token that two nodes claim to the smaller host id, in every order of the message', () => {
    const nodes = [node('b', 'dc', 'r', 0, 10), node('a', 'dc', 'r', 10, 10), node('c', 'dc', 'r2', 0)]
    for (const order of [nodes, [...nodes].reverse()]) {
      const ring = ringOf(order, [simple('one', 1), network('n', { dc: 3 })])
      assert.equal(at(ring, 'one', 0), 'b')
      assert.equal(at(ring, 'one', 10), 'a')
      assert.equal(at(ring, 'n', 0), 'ba')
    }
  })

  it('counts its sets as they are made, and makes each once', () => {
    const ring = ringOf(three, [simple('one', 1), network('also', { dc: 1 }), network('two', { dc: 2 })])
    assert.equal(ring.setCount, 0)
    const first = setAt(ring.placement('one'), 0)
    assert.deepEqual(first, { hostIds: ['b'], index: 0 })
    assert.equal(setAt(ring.placement('also'), 0), first)
    assert.equal(ring.setCount, 1)
    assert.equal(setAt(ring.placement('two'), 0).index, 1)
    assert.equal(ring.setCount, 2)
    assert.equal(setAt(ring.placement('one'), -1), first)
  })
})

describe('rules of the ring', () => {
  for (const { claim, check } of properties) it(claim, () => check(150))
})
