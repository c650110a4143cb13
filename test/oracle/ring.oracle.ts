/** Cassandra's partitioner and replication strategies as an oracle (`RingOracle.java`), and our own answers in its form. */
import assert from 'node:assert/strict'
import { murmur3Token, token } from '../../src/cql/murmur3.ts'
import { compositeKey } from '../../src/cql/partition-key.ts'
import { type Placement, TokenRing } from '../../src/gateway/routing/ring.ts'
import type { Ring } from '../../src/link/protocol.ts'
import { JavaLines } from './java.ts'

/** A key that Cassandra made and placed. */
export interface PlacedKey {
  /** CQL types of its columns. */
  readonly types: readonly string[]
  /** The serialised value of each column, as a driver sends it. */
  readonly components: readonly Buffer[]
  /** As a decimal number. */
  readonly token: string
  /** Host ids by commas for each keyspace of the ring, by |. */
  readonly replicas: string
}

export class RingOracle {
  readonly #java = new JavaLines('RingOracle.java')

  /** All keyspaces must be such that Cassandra takes them. */
  async setRing(ring: Ring): Promise<void> {
    const nodes = ring.nodes.map((node) => ['N', node.hostId, node.dataCenter, node.rack, node.tokens.join(',')])
    const keyspaces = ring.keyspaces.map(({ strategy, options }) => ['K', strategy, optionsText(options)])
    const lines = [['C'], ...nodes, ...keyspaces].map((fields) => fields.join('\t'))
    assert.deepEqual(new Set(await this.#java.ask(lines)), new Set(['O']))
  }

  /** Whether the strategy can be made with these options. They become a keyspace of the ring if so. */
  async takes(strategy: string, options: Ring['keyspaces'][number]['options']): Promise<boolean> {
    const [answer] = await this.#java.ask([['K', strategy, optionsText(options)].join('\t')])
    return answer === 'O'
  }

  /** One random key for each list of types. */
  async keys(columns: readonly (readonly string[])[], seed: number): Promise<PlacedKey[]> {
    const [, ...answers] = await this.#java.ask([`S\t${seed}`, ...columns.map((types) => `G\t${types.join(';')}`)])
    return answers.map((line, at) => {
      const [kind, components = '', decimal = '', replicas = ''] = line.split('\t')
      assert.equal(kind, 'K', `${columns[at]}: ${line}`)
      return {
        types: columns[at]!,
        components: components.split(',').map((hex) => Buffer.from(hex, 'hex')),
        token: decimal,
        replicas,
      }
    })
  }

  /** The replicas of tokens, in the form of `PlacedKey.replicas`. */
  async replicasOf(tokens: readonly bigint[]): Promise<string[]> {
    return (await this.#java.ask(tokens.map((each) => `T\t${each}`))).map((line) => {
      assert.match(line, /^T\t/)
      return line.slice(2)
    })
  }

  stop(): void {
    this.#java.stop()
  }
}

/** Our answers. */
export class OurRing {
  readonly #placements: readonly Placement[]

  constructor(ring: Ring) {
    const tokens = new TokenRing(ring)
    this.#placements = ring.keyspaces.map(({ name }) => {
      const placement = tokens.placement(name)
      assert.ok(placement !== undefined, name)
      return placement
    })
  }

  /** What is different for a key, or undefined. */
  difference(key: PlacedKey): string | undefined {
    const bytes = compositeKey(key.components)
    murmur3Token(bytes, 0, bytes.length)
    const decimal = String((BigInt(token.high) << 32n) | BigInt(token.low >>> 0))
    if (decimal !== key.token) return `${key.types}: token ${decimal} instead of ${key.token}`
    const replicas = this.replicasAt(token.high, token.low)
    return replicas === key.replicas ? undefined : `${key.types}: ${replicas} instead of ${key.replicas}`
  }

  replicasOf(wide: bigint): string {
    return this.replicasAt(Number(wide >> 32n), Number(BigInt.asIntN(32, wide)))
  }

  replicasAt(high: number, low: number): string {
    return this.#placements.map((placement) => placement.replicasOf(high, low).hostIds.join(',')).join('|')
  }
}

function optionsText(options: Ring['keyspaces'][number]['options']): string {
  return options.map(([name, value]) => `${name}=${value}`).join(',')
}
