/**
 * Changes of the schema as the suites need them: made one after another at one node, each when all nodes have the one before. A driver waits
 * half a second for that.
 *
 * Rule: no change before the nodes agree and the last view is built. Cassandra 5.0.9 stands still where a keyspace is changed while a view of it is
 * being built: ViewManager.reload waits for ViewBuilder.stop, which never ends, and holds the handler that each further change needs.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Consistency, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readRows } from '../../src/cql/responses.ts'
import { describe, type RawClient } from '../path/client.ts'
import type { MeshFixture } from './fixture.ts'
import { openAt } from './people.ts'

const changeMsMax = 60_000
/** An empty view takes a part of that. The sidecars' role may not read which views are built. */
const viewBuiltMs = 2_000
/** A node that missed a change asks for it again some seconds later; drivers give up after ten. */
const agreementMsMax = 180_000

/** By the administrator, at the first sidecar. All nodes have them when it resolves. */
export async function changeSchema(mesh: MeshFixture, changes: readonly string[]): Promise<void> {
  const client = await openAt(mesh.doors.sidecar, mesh.identities.admin, 4)
  for (const text of changes) {
    const answer = await client.ask(queryEnvelope(4, 1, text, { consistency: Consistency.LOCAL_QUORUM }), changeMsMax)
    assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${text}: ${describe(answer)}`)
    await agreement(mesh, client)
    if (text.startsWith('CREATE MATERIALIZED VIEW')) await sleep(viewBuiltMs)
  }
  client.close()
}

/** Resolves when all nodes have the same schema. */
export async function agreement(mesh: MeshFixture, admin: RawClient): Promise<void> {
  const until = performance.now() + agreementMsMax
  for (;;) {
    const found: string[] = []
    for (const table of ['local', 'peers']) {
      const answer = await admin.ask(queryEnvelope(4, 1, `SELECT schema_version FROM system.${table}`), changeMsMax)
      for (const [version] of readRows(wholeEnvelope(answer), 4).rows) found.push(version!.toString('hex'))
    }
    if (found.length === mesh.layout.nodes.length && new Set(found).size === 1) return
    if (performance.now() > until) throw new Error(`the nodes do not agree on the schema: ${found.join(', ')}`)
    await sleep(50)
  }
}

/** CREATE KEYSPACE, with as many copies as the suites ask for. */
export function createKeyspace(mesh: MeshFixture, keyspace: string, copies = mesh.replication): string {
  return `CREATE KEYSPACE ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${mesh.dataCenter}': ${copies}}`
}
