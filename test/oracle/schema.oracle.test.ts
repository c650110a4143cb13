/**
 * The executor behind questions about the schema, held against Cassandra: one node is asked while its schema holds only what an identity may
 * see; then all that it may not see is made beside it, and the executor is asked the same over the rows of the larger schema.
 *
 *   RINGFENCE_SCHEMA_QUESTIONS=5000 node --test test/oracle/schema.oracle.test.ts
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startCassandra } from '../../demo/parts/cassandra.ts'
import { Processes } from '../../demo/parts/processes.ts'
import { setUpParts } from '../../demo/parts/setup.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { SchemaTables } from '../../src/sidecar/catalog/tables.ts'
import { describe, RawClient } from '../path/client.ts'
import { Chance } from './grammar.ts'
import { oracleMissing } from './java.ts'
import { type Answer, askNode, askOurs, difference } from './schema-answers.ts'
import { anyQuestion, hiddenSchema, known, type Question, seesVisible, visibleSchema } from './schema-questions.ts'

const count = Number(process.env.RINGFENCE_SCHEMA_QUESTIONS ?? 200)
const seed = Number(process.env.RINGFENCE_SCHEMA_SEED ?? Math.floor(Math.random() * 2 ** 31))
const missing = oracleMissing()
const node = { address: '127.0.77.1', port: 19_077, storagePort: 17_077 }
const readyTries = 300

suite('questions about the schema', { skip: missing !== undefined && process.env.CI !== 'true' && missing }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ringfence-oracle-'))
  let processes: Processes
  let client: RawClient

  before(async () => {
    const parts = await setUpParts({})
    processes = await Processes.open(folder, () => {})
    await startCassandra(
      {
        index: 1,
        clusterName: 'oracle',
        addresses: { listen: node.address, rpc: node.address, broadcastRpc: node.address },
        nativePort: node.port,
        storagePort: node.storagePort,
        seeds: [`${node.address}:${node.storagePort}`],
        dataDir: folder,
        heapMb: 500,
        access: 'open',
        auditLog: false,
        jvmFlags: [],
        features: { udf: true, mv: true, sasi: true },
        dataCenter: 'datacenter1',
        rack: 'rack1',
      },
      parts,
      processes,
    )
    client = await opened()
  })
  after(async () => {
    client?.close()
    await processes?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const run = async (text: string): Promise<void> => {
    const answer = await client.ask(queryEnvelope(4, 1, text))
    assert.equal(headerOpcode(answer, 0), Opcode.RESULT, `${text}: ${describe(answer)}`)
  }

  it(`are answered as by a node that has only what may be seen, seed ${seed}`, async (test) => {
    for (const text of visibleSchema) await run(text)
    const chance = new Chance(seed)
    const questions: Question[] = [
      ...known.flatMap((text) => [undefined, 1].map((pageSize) => ({ text, values: [], pageSize }))),
      ...Array.from({ length: count }, () => anyQuestion(chance)),
    ]
    const theirs: Answer[] = []
    for (const question of questions) theirs.push(await askNode(client, question))
    for (const text of hiddenSchema) await run(text)

    const tables = new SchemaTables((envelope) => client.ask(envelope))
    const wrong: string[] = []
    let withRows = 0
    for (const [i, question] of questions.entries()) {
      const ours = await askOurs(tables, seesVisible, question)
      const differs = difference(question, theirs[i]!, ours)
      if (ours.pages.some((page) => page.length > 0)) withRows++
      if (differs !== undefined)
        wrong.push(`${question.text} [${question.values.map(String)}] page ${question.pageSize}\n  ${differs}`)
    }
    test.diagnostic(`${questions.length} questions, ${withRows} of them with rows`)
    assert.ok(withRows > questions.length / 3, 'most questions find something')
    assert.deepEqual(wrong, [])
  })
})

/** The node makes its port before it answers. */
async function opened(): Promise<RawClient> {
  for (let i = 0; ; i++) {
    try {
      return await RawClient.open({ host: node.address, port: node.port, version: 4 })
    } catch (reason) {
      if (i === readyTries) throw reason
      await sleep(100)
    }
  }
}
