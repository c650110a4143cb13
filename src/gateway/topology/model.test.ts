import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { tokensPerHost, type VirtualHost, virtualHosts } from './model.ts'

const place = { dataCenter: 'dc1', rack: 'rack1', clusterName: 'Orders' }
const three = [
  { address: '10.0.0.1', port: 9042 },
  { address: '10.0.0.2', port: 9042 },
  { address: '10.0.0.3', port: 9042 },
]

/** Hosts in ring order after each token, as SimpleStrategy walks it. */
function ringOf(hosts: readonly VirtualHost[]): string[] {
  const ring = hosts.flatMap((host) => host.tokens.map((token) => ({ token: BigInt(token), id: host.hostId })))
  ring.sort((a, b) => (a.token < b.token ? -1 : 1))
  return ring.map(({ id }) => id)
}

describe('virtual hosts', () => {
  it('have the same ids, tokens and place whatever the order of the list', () => {
    const hosts = virtualHosts(three, place)
    const reversed = virtualHosts([...three].reverse(), place)
    assert.deepEqual([...reversed].reverse(), hosts)
    assert.deepEqual(
      hosts.map(({ address }) => address),
      ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
    )
    for (const host of hosts) {
      assert.match(host.hostId, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    }
  })

  it('have other ids on another port, address or cluster', () => {
    const id = (address: string, port: number, clusterName: string) =>
      virtualHosts([{ address, port }], { ...place, clusterName })[0]!.hostId
    const ids = [
      id('10.0.0.1', 9042, 'a'),
      id('10.0.0.1', 9043, 'a'),
      id('10.0.0.2', 9042, 'a'),
      id('10.0.0.1', 9042, 'b'),
    ]
    assert.equal(new Set(ids).size, 4)
  })

  it('split the ring evenly, with distinct tokens that Murmur3 can have', () => {
    for (const count of [1, 2, 3, 7]) {
      const hosts = virtualHosts(
        Array.from({ length: count }, (_, n) => ({ address: `10.0.0.${n}`, port: 9042 })),
        place,
      )
      const tokens = hosts.flatMap((host) => host.tokens).map(BigInt)
      assert.equal(new Set(tokens).size, count * tokensPerHost)
      const sorted = tokens.sort((a, b) => (a < b ? -1 : 1))
      assert.ok(sorted[0]! > -(2n ** 63n) && sorted.at(-1)! < 2n ** 63n)
      const ideal = 2n ** 64n / BigInt(sorted.length)
      for (let n = 1; n < sorted.length; n++) {
        const gap = sorted[n]! - sorted[n - 1]!
        assert.ok(gap - ideal <= 1n && ideal - gap <= 1n)
      }
    }
  })

  it('give every replication factor its full number of replicas after any token', () => {
    const hosts = virtualHosts(three, place)
    const ring = ringOf(hosts)
    for (let at = 0; at < ring.length; at++) {
      for (const factor of [1, 2, 3]) {
        const replicas = new Set(Array.from({ length: factor }, (_, n) => ring[(at + n) % ring.length]))
        assert.equal(replicas.size, factor)
      }
    }
  })

  it('are refused where one address stands twice', () => {
    assert.throws(() => virtualHosts([three[0]!, three[0]!], place), /advertised twice/)
  })
})
