/**
 * What six tools send (corpus.ts), directly to a node by the mesh's own role, and through both doors by the identity of the tool's policy
 * example, which sees its own keyspaces only: each answer is the node's, or differs as the corpus says.
 */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, it, describe as suite } from 'node:test'
import { queryEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import { Consistency, headerOpcode, Opcode, ResultKind } from '../../../src/cql/protocol.ts'
import { resultKind } from '../../../src/cql/responses.ts'
import { describe, type RawClient } from '../../path/client.ts'
import { type MeshFixture, useMesh } from '../fixture.ts'
import { policyFile } from '../held.ts'
import { putInForce } from '../in-force.ts'
import { atNode, openAt } from '../people.ts'
import { agreement as allAgree, createKeyspace, openAtEach } from '../schema.ts'
import { type Answer, answersOf, wrongIn } from './answers.ts'
import { type Step, type Tool, tools } from './corpus.ts'
import { toolPolicies } from './policies.ts'

const other = 'e2e_tools_other'
const ddlMsMax = 60_000
/** One door speaks v5, the other v4, as the node is asked. */
const doors = [
  ['nginx', 5],
  ['sidecar', 4],
] as const

let mesh: MeshFixture
let admin: RawClient
/** The administrator at each sidecar; `admin` is the first. */
let atEach: readonly RawClient[] = []
/** The schema was changed and it is not known yet that all nodes have it. */
let isChanging = false

before(async () => {
  mesh = await useMesh()
  atEach = await openAtEach(mesh)
  admin = atEach[0]!
  await run(`DROP KEYSPACE IF EXISTS ${other}`)
  await makeKeyspace(other)
  // One of each, so that something is hidden of each.
  for (const text of [
    `CREATE TYPE ${other}.kind (a int)`,
    `CREATE TABLE ${other}.secret (k int PRIMARY KEY, v text)`,
    `CREATE INDEX secret_v ON ${other}.secret (v)`,
    `CREATE MATERIALIZED VIEW ${other}.by_v AS SELECT * FROM ${other}.secret WHERE k IS NOT NULL AND v IS NOT NULL PRIMARY KEY (v, k)`,
    `CREATE FUNCTION ${other}.f (a int, b int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'`,
    `CREATE AGGREGATE ${other}.s (int) SFUNC f STYPE int`,
  ])
    await run(text)
  const source = [policyFile, ...toolPolicies()]
  await putInForce(mesh, source.map((file) => readFileSync(file, 'utf8')).join('---\n'), policyFile)
})
after(async () => {
  await putInForce(mesh, readFileSync(policyFile, 'utf8'), policyFile)
  for (const keyspace of [other, ...new Set(tools.flatMap((tool) => tool.keyspaces))])
    await run(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  for (const client of atEach) client.close()
})

suite('what tools send from their start on', () => {
  for (const tool of tools) {
    it(`${tool.name}: ${tool.steps.length} statements are answered through both doors as by the node`, async () => {
      const atNode = await directly(tool)
      const wrong: string[] = []
      for (const [door, version] of doors) {
        const client = await openAt(mesh.doors[door], await mesh.identity(tool.as), version)
        const atDoor = await play(tool, client, () => true, door === 'sidecar')
        client.close()
        for (const [i, step] of tool.steps.entries()) {
          const fault = wrongIn(step, atNode[i]!, atDoor[i]!, door, tool.keyspaces)
          if (fault !== undefined) wrong.push(`${door}: ${step.cql}\n  ${fault}`)
        }
      }
      assert.deepEqual(wrong, [])
    })
  }
})

/** All steps on one connection, over keyspaces that were just made. What the mesh refuses is not sent to the node, which might do it. */
async function play(
  tool: Tool,
  client: RawClient,
  sends: (step: Step) => boolean,
  isOneNode: boolean,
): Promise<Answer[][]> {
  await agreement()
  for (const keyspace of tool.keyspaces) await run(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  const madeByItself = (keyspace: string): boolean =>
    tool.steps.some(({ cql }) => cql.startsWith(`CREATE KEYSPACE IF NOT EXISTS ${keyspace} `))
  for (const keyspace of tool.keyspaces) if (!madeByItself(keyspace)) await makeKeyspace(keyspace)
  // A connection of its own, for it may USE what is dropped later.
  const maker = await openAt(mesh.doors.sidecar, mesh.identities.admin, 4)
  for (const cql of tool.setup) await run(cql, maker)
  maker.close()
  await agreement()
  const answers: Answer[][] = []
  for (const step of tool.steps) {
    // Tools wait for this after each change, as their drivers do; one node needs no agreement with itself.
    if (!isOneNode || !changesSchema(step.cql)) await agreement()
    const answer = sends(step) ? await answersOf(client, step) : []
    answers.push(answer)
    if (answer.some(({ kind }) => /^(CREATED|UPDATED|DROPPED)/.test(kind))) isChanging = true
  }
  return answers
}

function changesSchema(cql: string): boolean {
  return /^\s*(CREATE|ALTER|DROP)\s/i.test(cql)
}

/** The node that the sidecar door stands at. */
async function directly(tool: Tool): Promise<Answer[][]> {
  const client = await atNode(mesh)
  try {
    return await play(tool, client, ({ differs }) => differs === undefined || !('refused' in differs), true)
  } finally {
    client.close()
  }
}

/** At the node of the sidecar door. */
async function run(cql: string, client = admin): Promise<void> {
  if (!changesSchema(cql)) await agreement()
  const answer = await client.ask(queryEnvelope(4, 1, cql, { consistency: Consistency.LOCAL_QUORUM }), ddlMsMax)
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${cql}: ${describe(answer)}`)
  if (resultKind(wholeEnvelope(answer)) === ResultKind.SCHEMA_CHANGE) isChanging = true
}

/** Resolves when all nodes have the same schema; at once where nothing was changed. */
async function agreement(): Promise<void> {
  if (!isChanging) return
  await allAgree(atEach)
  isChanging = false
}

function makeKeyspace(keyspace: string): Promise<void> {
  return run(createKeyspace(mesh, keyspace))
}
