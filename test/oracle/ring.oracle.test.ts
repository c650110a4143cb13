import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { TokenRing } from '../../src/gateway/routing/ring.ts'
import type { Ring } from '../../src/link/protocol.ts'
import { Chance } from './grammar.ts'
import { oracleMissing } from './java.ts'
import { OurRing, RingOracle } from './ring.oracle.ts'

const missing = oracleMissing()
// A machine without Java may skip this; the gate may not.
const skip = missing !== undefined && process.env.CI !== 'true' ? `Cassandra's ring cannot be asked: ${missing}` : false

const smallest = -(2n ** 63n)
const largest = 2n ** 63n - 1n

/** Every type that may be in a partition key; `address` is a user type of the oracle. */
const keyTypes = [
  ...'ascii bigint blob boolean date decimal double float inet int smallint text time timestamp timeuuid tinyint'.split(
    ' ',
  ),
  ...['uuid', 'varchar', 'varint', 'frozen<list<int>>', 'frozen<set<text>>', 'frozen<map<text, decimal>>'],
  ...['frozen<tuple<int, text, boolean>>', 'frozen<address>', 'frozen<list<frozen<address>>>'],
  ...['vector<float, 3>', 'vector<text, 2>', 'frozen<map<uuid, frozen<set<varint>>>>'],
]

type Keyspace = Ring['keyspaces'][number]

function simple(factor: string): Omit<Keyspace, 'name'> {
  return { strategy: 'SimpleStrategy', options: [['replication_factor', factor]] }
}

function network(...options: [string, string][]): Omit<Keyspace, 'name'> {
  return { strategy: 'NetworkTopologyStrategy', options }
}

const replications = [
  ...['1', '2', '3', '100', '0', '3/1'].map(simple),
  network(['dc1', '1'], ['dc2', '1']),
  network(['dc1', '2'], ['dc2', '1']),
  network(['dc1', '3'], ['dc2', '2']),
  network(['dc1', '3'], ['dc2', '3']),
  network(['dc2', '2']),
  network(['dc1', '4'], ['dc2', '0'], ['dc9', '3']),
  network(['dc1', '100'], ['dc2', '7']),
  network(['dc1', '3/1'], ['dc2', '+02']),
]

/** A ring of nodes in the places given, such as `dc1 r1`, with the same replications as keyspaces. */
function ringOf(chance: Chance, places: readonly string[], tokensPerNode: number): Ring {
  const taken = new Set<string>()
  const nodes = places.map((place, at) => {
    const [dataCenter = '', rack = ''] = place.split(' ')
    const tokens: string[] = []
    while (tokens.length < tokensPerNode) {
      const token = String(randomToken(chance))
      if (!taken.has(token)) tokens.push(token)
      taken.add(token)
    }
    return { hostId: `h${at}`, dataCenter, rack, tokens }
  })
  return { id: 1, digest: '', nodes, keyspaces: replications.map((each, at) => ({ name: `k${at}`, ...each })) }
}

function randomToken(chance: Chance): bigint {
  // Near the ends of the ring and of the halves of a token now and then.
  const near = chance.pick([undefined, undefined, undefined, smallest, largest, 0n, 2n ** 31n, -(2n ** 32n)])
  if (near !== undefined) return BigInt.asIntN(64, near + BigInt(chance.int(7) - 3))
  return (BigInt(chance.int(2 ** 30)) << 34n) + (BigInt(chance.int(2 ** 30)) << 4n) + BigInt(chance.int(16)) + smallest
}

const evenPlaces = ['dc1 r1', 'dc2 r1', 'dc1 r2', 'dc2 r2', 'dc1 r3', 'dc2 r1', 'dc1 r1', 'dc2 r2', 'dc1 r2', 'dc1 r3']
const rings: readonly (readonly [string, readonly string[], number])[] = [
  ['two data centres with three racks and two', evenPlaces, 16],
  ['uneven racks', ['dc1 r1', 'dc1 r1', 'dc1 r1', 'dc1 r1', 'dc1 r2', 'dc2 r1', 'dc2 r1', 'dc2 r3', 'dc2 r1'], 8],
  ['one token for each node', evenPlaces, 1],
  ['fewer nodes than copies', ['dc1 r1', 'dc2 r1', 'dc1 r1'], 4],
]

describe("our ring against Cassandra's own", { skip }, () => {
  let oracle: RingOracle
  before(() => {
    assert.equal(missing, undefined)
    oracle = new RingOracle()
  })
  after(() => oracle?.stop())

  for (const [index, [title, places, tokensPerNode]] of rings.entries()) {
    it(`agrees on token and replicas of 25,000 keys of every type: ${title}`, async () => {
      const chance = new Chance(20_263 + index)
      const ring = ringOf(chance, places, tokensPerNode)
      await oracle.setRing(ring)
      const ours = new OurRing(ring)
      // Every other key has one column, the types in turn; the rest have two to four.
      const columns = Array.from({ length: 25_000 }, (_, at) =>
        at % 2 === 0
          ? [keyTypes[(at / 2) % keyTypes.length]!]
          : Array.from({ length: 2 + chance.int(3) }, () => chance.pick(keyTypes)),
      )
      const keys = await oracle.keys(columns, 20_263 + index)
      assert.deepEqual(
        keys
          .map((key) => ours.difference(key))
          .filter((each) => each !== undefined)
          .slice(0, 5),
        [],
      )
      // The empty key is among them, and nearly all others are different.
      assert.ok(keys.some((key) => key.token === String(smallest)))
      assert.ok(new Set(keys.map((key) => key.token)).size > 22_000)
    })
  }

  it('agrees at, before and behind every token of 200 rings at random', async () => {
    const chance = new Chance(20_267)
    for (let round = 0; round < 200; round += 1) {
      const racks = 1 + chance.int(4)
      const places = Array.from(
        { length: 1 + chance.int(12) },
        () => `${chance.pick(['dc1', 'dc1', 'dc2', 'dc3'])} r${chance.int(racks)}`,
      )
      const ring = ringOf(chance, places, 1 + chance.int(4))
      await oracle.setRing(ring)
      const ours = new OurRing(ring)
      const owned = ring.nodes.flatMap((node) => node.tokens.map(BigInt))
      const tokens = [smallest, largest, ...owned.flatMap((token) => [token - 1n, token, token + 1n])].filter(
        (token) => BigInt.asIntN(64, token) === token,
      )
      const expected = await oracle.replicasOf(tokens)
      assert.deepEqual(
        tokens.map((token) => ours.replicasOf(token)),
        expected,
        JSON.stringify(ring.nodes),
      )
    }
  })

  it('takes the options that Cassandra takes, and no others', async () => {
    const ring = ringOf(new Chance(1), evenPlaces, 1)
    await oracle.setRing(ring)
    const factors = '0 1 3 03 +3 -1 -0 +-1 3.0 1e3 0x3 2147483647 2147483648 99999999999999999999 NaN'.split(' ')
    factors.push(
      '',
      ' 3',
      '3 ',
      '3/0',
      '3/1',
      '3/2',
      '3/3',
      '3/4',
      '0/0',
      '3/+1',
      '3/-1',
      '/1',
      '3/',
      '3/1/1',
      '3//1',
      '1/',
    )
    const differences: string[] = []
    for (const factor of factors) {
      for (const { strategy, options } of [
        simple(factor),
        network(['dc1', factor]),
        network(['dc1', '1'], ['x', factor]),
      ]) {
        const [name] = options[0]!
        const ours = new TokenRing({ ...ring, keyspaces: [{ name, strategy, options }] }).placement(name) !== undefined
        const theirs = await oracle.takes(strategy, options)
        if (ours !== theirs) differences.push(`${strategy} '${factor}': ours ${ours}, Cassandra ${theirs}`)
      }
    }
    assert.deepEqual(differences, [])
    assert.equal(await oracle.takes('NetworkTopologyStrategy', [['replication_factor', '3']]), false)
  })

  it('sees a disagreement where there is one', async () => {
    const ring = ringOf(new Chance(2), evenPlaces, 4)
    await oracle.setRing(ring)
    const keys = await oracle.keys(
      Array.from({ length: 500 }, () => ['text', 'int']),
      2,
    )
    assert.equal(
      keys.find((key) => new OurRing(ring).difference(key) !== undefined),
      undefined,
    )
    const [first, ...others] = ring.nodes
    for (const changed of [
      { ...first!, rack: 'r2' },
      { ...first!, dataCenter: 'dc2' },
      { ...first!, tokens: ['5'] },
    ]) {
      const other = new OurRing({ ...ring, nodes: [changed, ...others] })
      assert.ok(keys.some((key) => /instead of/.test(other.difference(key) ?? '')))
    }
    const [key] = keys
    const swapped = { ...key!, components: [...key!.components].reverse() }
    assert.match(new OurRing(ring).difference(swapped) ?? '', /token/)
  })
})
