/** Rules of the ring over arbitrary rings and messages; `node src/gateway/routing/ring.fuzz.ts` runs them for long. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { RingfenceError } from '../../base/errors.ts'
import { Control, controlEnvelope, type Ring, readControl, ringSchema } from '../../link/protocol.ts'
import { type Placement, type ReplicaSet, TokenRing } from './ring.ts'

type Node = Ring['nodes'][number]

const smallest = -(2n ** 63n)
const largest = 2n ** 63n - 1n

/** Close to each other and to the ends now and then, so that neighbours and equals are common. */
const anyToken = fc.oneof(
  fc.bigInt({ min: smallest, max: largest }),
  fc.bigInt({ min: -4n, max: 4n }),
  fc.constantFrom(smallest, largest, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, -(2n ** 32n)),
)

/** Nodes with different host ids; a token may be claimed twice. */
const anyNodes: fc.Arbitrary<Node[]> = fc
  .array(
    fc.record({
      dataCenter: fc.constantFrom('dc1', 'dc2', '__proto__'),
      rack: fc.constantFrom('r1', 'r2', 'r3', 'constructor'),
      tokens: fc.array(anyToken.map(String), { maxLength: 6 }),
    }),
    { maxLength: 14 },
  )
  .map((nodes) => nodes.map((node, at) => ({ hostId: `h${at}`, ...node })))

const anyFactors = fc.record({
  simple: fc.nat(6),
  dc1: fc.nat(5),
  dc2: fc.nat(5),
  ['__proto__']: fc.nat(2),
})
type Factors = { simple: number; dc1: number; dc2: number; ['__proto__']: number }

function ringOf(nodes: Node[], factors: Factors): TokenRing {
  const { simple, ...byDataCenter } = factors
  const options = Object.entries(byDataCenter).map(([name, factor]): [string, string] => [name, String(factor)])
  return new TokenRing({
    id: 0,
    digest: '',
    nodes,
    keyspaces: [
      { name: 's', strategy: 'SimpleStrategy', options: [['replication_factor', String(simple)]] },
      { name: 'n', strategy: 'NetworkTopologyStrategy', options },
    ],
  })
}

function setOf(placement: Placement | undefined, token: bigint): ReplicaSet {
  assert.ok(placement !== undefined)
  return placement.replicasOf(Number(token >> 32n), Number(BigInt.asIntN(32, token)))
}

/** Every token of the ring with its node, ascending, and some tokens between. The plain way, with BigInt. */
function ownersOf(nodes: Node[]): { token: bigint; node: Node }[] {
  const owners = new Map<bigint, Node>()
  const sorted = [...nodes].sort((a, b) => (a.hostId < b.hostId ? -1 : 1))
  for (const node of sorted)
    for (const text of node.tokens) if (!owners.has(BigInt(text))) owners.set(BigInt(text), node)
  return [...owners].map(([token, node]) => ({ token, node })).sort((a, b) => (a.token < b.token ? -1 : 1))
}

function probesOf(owners: readonly { token: bigint }[], more: readonly bigint[]): bigint[] {
  const near = owners.flatMap(({ token }) => [token - 1n, token, token + 1n])
  return [smallest, largest, ...more, ...near].filter((token) => token >= smallest && token <= largest)
}

const anyCase = fc.tuple(anyNodes, anyFactors, fc.array(anyToken, { maxLength: 10 }))

/** What a message may hold where it should hold something else. */
const anyJunk = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom('', '-', '-0', '9'.repeat(19), '1e3', '٣'))

/** A message of the right form and any content, with junk put in one place now and then. */
const anyMessage = fc
  .record({
    id: fc.integer(),
    digest: fc.string({ maxLength: 64 }),
    nodes: fc.array(
      fc.record({
        hostId: fc.constantFrom('a', 'b', 'c', '', '__proto__'),
        dataCenter: fc.constantFrom('dc', 'dc2', '', '__proto__', 'constructor'),
        rack: fc.constantFrom('r', '', '__proto__'),
        tokens: fc.array(fc.oneof(anyToken.map(String), fc.stringMatching(/^-?[0-9]{1,19}$/)), { maxLength: 5 }),
      }),
      { maxLength: 6 },
    ),
    keyspaces: fc.array(
      fc.record({
        name: fc.constantFrom('k', 'l', '', '__proto__', 'toString'),
        strategy: fc.constantFrom('SimpleStrategy', 'NetworkTopologyStrategy', 'LocalStrategy', '__proto__', ''),
        options: fc.array(
          fc.tuple(
            fc.constantFrom('replication_factor', 'REPLICATION_FACTOR', 'dc', 'dc2', '', '__proto__', 'constructor'),
            fc.oneof(fc.constantFrom('0', '1', '3', '3/1', '99', '2147483647', '-1', '+2', '٣', ''), fc.string()),
          ),
          { maxLength: 4 },
        ),
      }),
      { maxLength: 6 },
    ),
  })
  .chain((message) =>
    fc.tuple(fc.constant(message), fc.nat(2), fc.nat(), anyJunk).map(([whole, damage, place, junk]) => {
      if (damage > 0) return whole
      const copy = structuredClone(whole)
      const places = placesOf(copy)
      places[place % places.length]!(junk)
      return copy
    }),
  )

/** Setters of every value in a JSON value. */
function placesOf(value: unknown): ((junk: unknown) => void)[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => [
    (junk: unknown) => Object.defineProperty(value, name, { value: junk, enumerable: true }),
    ...placesOf(inner),
  ])
}

export const properties: readonly { readonly claim: string; readonly check: (runs: number) => void }[] = [
  {
    claim: 'every token belongs to the first node at or behind it, round the end of the ring',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyCase, ([nodes, factors, more]) => {
          const placement = ringOf(nodes, { ...factors, simple: 1 }).placement('s')
          const owners = ownersOf(nodes)
          for (const token of probesOf(owners, more)) {
            const owner = owners.find((each) => each.token >= token) ?? owners[0]
            assert.deepEqual(setOf(placement, token).hostIds, owner === undefined ? [] : [owner.node.hostId])
          }
        }),
        { numRuns },
      ),
  },
  {
    claim: 'replicas are different nodes, as many as asked or as there are, on as many racks as can be',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyCase, ([nodes, factors, more]) => {
          const ring = ringOf(nodes, factors)
          const owners = ownersOf(nodes)
          const owning = new Set(owners.map(({ node }) => node))
          const nodeOf = new Map(nodes.map((node) => [node.hostId, node]))
          for (const token of probesOf(owners, more)) {
            const simple = setOf(ring.placement('s'), token).hostIds
            assert.equal(simple.length, Math.min(factors.simple, owning.size))
            assert.equal(new Set(simple).size, simple.length)
            const network = setOf(ring.placement('n'), token).hostIds.map((hostId) => nodeOf.get(hostId)!)
            assert.equal(new Set(network).size, network.length)
            for (const dataCenter of ['dc1', 'dc2', '__proto__'] as const) {
              const members = [...owning].filter((node) => node.dataCenter === dataCenter)
              const chosen = network.filter((node) => node.dataCenter === dataCenter)
              assert.equal(chosen.length, Math.min(factors[dataCenter], members.length))
              const racks = new Set(members.map((node) => node.rack))
              assert.equal(new Set(chosen.map((node) => node.rack)).size, Math.min(chosen.length, racks.size))
            }
          }
        }),
        { numRuns },
      ),
  },
  {
    claim: 'the order of nodes and tokens in the message changes nothing',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyCase, fc.func(fc.nat()), ([nodes, factors, more], weight) => {
          const shuffled = [...nodes]
            .sort((a, b) => weight(a.hostId) - weight(b.hostId))
            .map((node) => ({ ...node, tokens: [...node.tokens].reverse() }))
          const [one, other] = [ringOf(nodes, factors), ringOf(shuffled, factors)]
          for (const token of probesOf(ownersOf(nodes), more)) {
            for (const keyspace of ['s', 'n']) {
              assert.deepEqual(setOf(one.placement(keyspace), token), setOf(other.placement(keyspace), token))
            }
          }
        }),
        { numRuns },
      ),
  },
  {
    claim: 'equal sets are one object, and their numbers are 0, 1, 2 …',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyCase, ([nodes, factors, more]) => {
          const ring = ringOf(nodes, factors)
          const seen = new Map<string, ReplicaSet>()
          for (const token of probesOf(ownersOf(nodes), more)) {
            for (const keyspace of ['s', 'n']) {
              const set = setOf(ring.placement(keyspace), token)
              const known = seen.get(set.hostIds.join())
              if (known === undefined) assert.equal(set.index, seen.size)
              else assert.equal(set, known)
              seen.set(set.hostIds.join(), set)
            }
          }
          assert.equal(ring.setCount, seen.size)
        }),
        { numRuns },
      ),
  },
  {
    claim: 'any message is refused as LINK or makes a ring that answers for every token',
    check: (numRuns) =>
      fc.assert(
        fc.property(anyMessage, fc.array(anyToken, { maxLength: 4 }), (message, more) => {
          const envelope = controlEnvelope(Control.RING, message)
          let parsed: Ring
          try {
            parsed = readControl(ringSchema, envelope)
          } catch (reason) {
            assert.ok(reason instanceof RingfenceError && reason.code === 'LINK')
            return
          }
          const ring = new TokenRing(parsed)
          const hostIds = new Set(parsed.nodes.map((node) => node.hostId))
          for (const name of [...parsed.keyspaces.map((keyspace) => keyspace.name), 'absent']) {
            const placement = ring.placement(name)
            if (placement === undefined) continue
            for (const token of [smallest, largest, 0n, ...more]) {
              assert.ok(setOf(placement, token).hostIds.every((hostId) => hostIds.has(hostId)))
            }
          }
        }),
        { numRuns: numRuns * 5 },
      ),
  },
]

if (import.meta.main) {
  for (const { claim, check } of properties) {
    check(2_000)
    console.log(`held: ${claim}`)
  }
}
