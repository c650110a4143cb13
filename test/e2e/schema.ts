/**
 * Changes of the schema as the suites need them: made one after another at one node, each when all nodes have the one before. Each node is asked
 * itself, which takes milliseconds: a driver asks one node for all, and what that knows of the others it has from gossip, a second or two late.
 *
 * Rule: no change before the nodes agree and the last view is built. Cassandra 5.0.9 stands still where a keyspace is changed while a view of it is
 * being built: ViewManager.reload waits for ViewBuilder.stop, which never ends, and holds the handler that each further change needs.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { nodetoolCommand } from '../../demo/parts/nodetool.ts'
import { setUpParts } from '../../demo/parts/setup.ts'
import { runCommand } from '../../src/agent/command.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Consistency, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from '../path/client.ts'
import type { MeshFixture } from './fixture.ts'
import { openAt } from './people.ts'

const changeMsMax = 60_000
const flushMsMax = 120_000
/** An empty view takes a part of that. The sidecars' role may not read which views are built. */
const viewBuiltMs = 2_000
/** A node that missed a change asks for it again some seconds later; drivers give up after ten. */
const agreementMsMax = 180_000

/** By the administrator, at the first sidecar. When it resolves all nodes have them, and each knows it of the others. */
export async function changeSchema(mesh: MeshFixture, changes: readonly string[]): Promise<void> {
  const nodes = await openAtEach(mesh)
  const first = nodes[0]!
  for (const text of changes) {
    const answer = await first.ask(queryEnvelope(4, 1, text, { consistency: Consistency.LOCAL_QUORUM }), changeMsMax)
    assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${text}: ${describe(answer)}`)
    await agreement(nodes)
    if (text.startsWith('CREATE MATERIALIZED VIEW')) await sleep(viewBuiltMs)
  }
  await knownAgreement(nodes)
  for (const client of nodes) client.close()
}

/** The administrator at each sidecar, in the order of the nodes. */
export function openAtEach(mesh: MeshFixture): Promise<RawClient[]> {
  return Promise.all(
    mesh.layout.nodes.map(({ sidecar: { address: host, port } }) =>
      openAt({ host, port, hosts: 1 }, mesh.identities.admin, 4),
    ),
  )
}

/** Resolves when all nodes have the same schema, each by its own word. */
export async function agreement(nodes: readonly RawClient[]): Promise<void> {
  await untilOne(nodes.length, async () => (await Promise.all(nodes.map((node) => versions(node, 'local')))).flat())
}

/** Resolves when each node knows of all others that they have its schema: what a driver waits for. */
export async function knownAgreement(nodes: readonly RawClient[]): Promise<void> {
  await untilOne(nodes.length ** 2, async () =>
    (await Promise.all(nodes.flatMap((node) => [versions(node, 'local'), versions(node, 'peers')]))).flat(),
  )
}

async function untilOne(count: number, ask: () => Promise<string[]>): Promise<void> {
  const until = performance.now() + agreementMsMax
  for (;;) {
    const found = await ask()
    if (found.length === count && new Set(found).size === 1) return
    if (performance.now() > until) throw new Error(`the nodes do not agree on the schema: ${found.join(', ')}`)
    await sleep(50)
  }
}

/** The schema that a node has, or that it believes the others to have. */
async function versions(node: RawClient, table: 'local' | 'peers'): Promise<string[]> {
  const stream = table === 'local' ? 2 : 3
  const answer = await node.ask(queryEnvelope(4, stream, `SELECT schema_version FROM system.${table}`), changeMsMax)
  return readRows(wholeEnvelope(answer), 4).rows.map(([version]) => String(version?.toString('hex')))
}

/** Has each node write its schema to disk, by its own nodetool, so that it has it still when it was killed. */
export async function keepSchema(mesh: MeshFixture): Promise<void> {
  const parts = await setUpParts({ stateDir: mesh.stateDir })
  await Promise.all(
    mesh.layout.nodes.map(({ cassandraDir, jmxPort }) =>
      runCommand(`${nodetoolCommand(cassandraDir, jmxPort, parts)} flush system_schema`, flushMsMax),
    ),
  )
}

/** CREATE KEYSPACE, with as many copies as the suites ask for. */
export function createKeyspace(mesh: MeshFixture, keyspace: string, copies = mesh.replication): string {
  return `CREATE KEYSPACE ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${mesh.dataCenter}': ${copies}}`
}
