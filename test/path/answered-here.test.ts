/**
 * Requests that no node answers, because a gateway or the sidecar does: each is judged where it can be refused, and each is on record,
 * with its answer.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { tracingIdOf, withTracingId } from '../../src/cql/answers/tracing.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import {
  errorEnvelope,
  preparedEnvelope,
  prepareEnvelope,
  queryEnvelope,
  registerEnvelope,
  rowsEnvelope,
} from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Flag, headerFlags, headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readError, readPrepared, readRows } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { Control, controlEnvelope } from '../../src/link/protocol.ts'
import { type RawClient, describe as told } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { passportOf } from './passport-of.ts'
import { RawLink } from './raw-link.ts'
import { type RunningGateway, type RunningSidecar, until, usualPolicy, World } from './world.ts'

const denyBob = `${usualPolicy}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: no-peers }
spec:
  effect: deny
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [system]
  tables: [peers, peers_v2]
  operations: [ALL]
`

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway
let other: RunningGateway

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar()
  gateway = await world.gateway([sidecar])
  other = await world.gateway([sidecar], { name: 'gateway2' })
})
after(() => world.close())
beforeEach(() => {
  sidecar.feed.apply(denyBob)
  sidecar.node.requests.length = 0
})

interface Row {
  readonly workload: string
  readonly verdict: string
  readonly rule: string
  readonly operation: string
  readonly request?: string
  readonly table?: string
  readonly outcome: string
  readonly rows?: number
  readonly error?: { readonly code: number }
}

/** What the sidecar writes down while `ask` runs, for one identity. */
async function recorded<T>(who: string, ask: () => Promise<T>): Promise<{ answer: T; rows: Row[] }> {
  const before = sidecar.records().length
  const answer = await ask()
  const rows = (): Row[] =>
    (sidecar.records().slice(before) as unknown as Row[]).filter((row) => row.workload.endsWith(`/${who}`))
  await until('it is on record', () => rows().length > 0)
  return { answer, rows: rows() }
}

const topology = [
  'SELECT * FROM system.peers',
  'SELECT * FROM system.peers_v2',
  'SELECT count(*) FROM system.peers',
  "SELECT rpc_address FROM system.peers WHERE peer = '127.0.0.9'",
  'SELECT JSON * FROM system.peers',
  // No node answers it.
  'SELECT nothing FROM system.peers',
  'SELECT peer FROM system.peers WHERE peer = ?',
]
const unanswered = /nothing/

async function prepared(client: RawClient, text: string): Promise<Buffer> {
  const answer = await client.ask(prepareEnvelope(client.version, 9, text))
  assert.equal(told(answer), 'result 4', told(answer))
  return readPrepared(wholeEnvelope(answer), client.version).id
}

const execute = (client: RawClient, id: Buffer): Promise<Buffer> =>
  client.ask(executeEnvelope(client.version, 8, id, Buffer.alloc(16, 9), []))

for (const version of [4, 5] as ProtocolVersion[]) {
  describe(`the topology through a gateway, version ${version}`, () => {
    for (const text of topology) {
      for (const [request, envelope] of [
        ['QUERY', queryEnvelope(version, 7, text, text.includes('?') ? { values: [Buffer.from([127, 0, 0, 9])] } : {})],
        ['PREPARE', prepareEnvelope(version, 7, text)],
      ] as const) {
        it(`${request} ${text}: refused to whom it is denied, given to others, on record for both`, async () => {
          const [alice, bob] = [
            await world.client(gateway.port, 'alice', { version }),
            await world.client(gateway.port, 'bob', { version }),
          ]
          const refused = await recorded('bob', () => bob.ask(envelope))
          // What nobody has is told as that, as by the node.
          const isThere = !unanswered.test(text)
          assert.match(told(refused.answer), isThere ? /^0x2100 .*no-peers/ : /^0x2200 undefined column name nothing /)
          const [denied] = refused.rows
          const rule = isThere ? 'no-peers' : 'nothing-there'
          assert.deepEqual([denied?.verdict, denied?.rule, denied?.request], ['deny', rule, request])
          const given = await recorded('alice', () => alice.ask(envelope))
          const [allowed] = given.rows
          assert.deepEqual([allowed?.verdict, allowed?.request, allowed?.operation], ['allow', request, 'SELECT'])
          assert.match(allowed?.table ?? '', /^peers/)
          if (unanswered.test(text)) {
            assert.match(told(given.answer), /^0x2200 /)
            assert.deepEqual([allowed?.outcome, allowed?.error?.code], ['error', 0x2200])
          } else {
            assert.equal(headerOpcode(given.answer, 0), Opcode.RESULT)
            assert.equal(allowed?.outcome, 'ok')
            const count = request === 'QUERY' ? readRows(wholeEnvelope(given.answer), version).rows.length : undefined
            assert.equal(allowed?.rows, count)
          }
          assert.deepEqual(sidecar.node.requests, [])
        })
      }
    }

    it('EXECUTE of an id that a gateway made is judged each time, by whose it is', async () => {
      const text = 'SELECT * FROM system.peers'
      const bob = await world.client(gateway.port, 'bob', { version })
      sidecar.feed.apply(usualPolicy)
      const id = await prepared(bob, text)
      const free = await recorded('bob', () => execute(bob, id))
      assert.equal(headerOpcode(free.answer, 0), Opcode.RESULT)
      assert.deepEqual([free.rows[0]?.verdict, free.rows[0]?.request], ['allow', 'EXECUTE'])
      sidecar.feed.apply(denyBob)
      const refused = await recorded('bob', () => execute(bob, id))
      assert.match(told(refused.answer), /^0x2100 .*no-peers/)
      assert.deepEqual([refused.rows[0]?.verdict, refused.rows[0]?.request], ['deny', 'EXECUTE'])
      // An id is its owner's only.
      const carol = await world.client(gateway.port, 'carol', { version })
      const stranger = await recorded('carol', () => execute(carol, id))
      assert.equal(readError(wholeEnvelope(stranger.answer)).code, 0x2500)
      assert.equal(stranger.rows[0]?.rule, 'unknown-prepared-id')
      assert.deepEqual(sidecar.node.requests, [])
    })

    it('EXECUTE at a gateway process that did not make the id is UNPREPARED, and works after the next PREPARE', async () => {
      const text = `SELECT rack FROM system.peers_v2 LIMIT ${version}`
      const [here, there] = [
        await world.client(gateway.port, 'alice', { version }),
        await world.client(other.port, 'alice', { version }),
      ]
      const id = await prepared(here, text)
      const lost = await execute(there, id)
      assert.equal(readError(wholeEnvelope(lost)).code, 0x2500)
      assert.deepEqual(await prepared(there, text), id)
      assert.equal(headerOpcode(await execute(there, id), 0), Opcode.RESULT)
    })

    it('system.local is open to everybody, and on record', async () => {
      const bob = await world.client(gateway.port, 'bob', { version })
      const local = "SELECT key, schema_version FROM system.local WHERE key = 'local'"
      const { answer, rows } = await recorded('bob', () => bob.ask(queryEnvelope(version, 7, local)))
      assert.equal(readRows(wholeEnvelope(answer), version).rows.length, 1)
      assert.deepEqual([rows[0]?.verdict, rows[0]?.rule, rows[0]?.rows], ['allow', 'driver-metadata', 1])
    })
  })
}

describe('what a sidecar answers itself', () => {
  for (const door of ['sidecar', 'gateway'] as const) {
    it(`is on record, through the ${door}: REGISTER, an unknown id, a text that is no CQL`, async () => {
      const port = door === 'sidecar' ? sidecar.port : gateway.port
      const bob = await world.client(port, 'bob')
      const registered = await recorded('bob', () => bob.ask(registerEnvelope(4, 1, ['SCHEMA_CHANGE'])))
      assert.equal(headerOpcode(registered.answer, 0), Opcode.READY)
      assert.equal(registered.rows.at(-1)?.operation, 'REGISTER')
      const unknown = await recorded('bob', () => execute(bob, Buffer.alloc(16, 3)))
      assert.deepEqual([unknown.rows[0]?.verdict, unknown.rows[0]?.rule], ['deny', 'unknown-prepared-id'])
      const noCql = await recorded('bob', () => bob.ask(queryEnvelope(4, 1, 'SELEKT 1')))
      assert.deepEqual([noCql.rows[0]?.verdict, noCql.rows[0]?.rule], ['deny', 'not-understood'])
    })
  }

  it('a gateway that gives an answer to anything but the topology is refused', async () => {
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    assert.equal(await link.offer(7, await passportOf(world, sidecar, 'alice')), 'opened')
    const given = { answer: Buffer.from('840000010800000004000000010000'.padEnd(26, '0'), 'hex').toString('base64') }
    link.send(7, controlEnvelope(Control.GIVEN, given))
    link.send(7, queryEnvelope(4, 1, 'SELECT * FROM shop.items'))
    await until('it is answered', () =>
      link.frames.some(({ session, opcode }) => session === 7 && opcode === Opcode.ERROR),
    )
    assert.deepEqual(sidecar.node.requests, [])
    // And it is for one request only.
    link.send(7, queryEnvelope(4, 1, 'SELECT * FROM shop.items'))
    await until('it is answered', () =>
      link.frames.some(({ session, opcode }) => session === 7 && opcode === Opcode.RESULT),
    )
    link.socket.destroy()
  })

  it('a gateway cannot give a question of its own the id of a statement that the node knows', async () => {
    const text = 'DELETE FROM shop.items WHERE k = 1'
    const alice = await world.client(sidecar.port, 'alice')
    const id = await prepared(alice, text)
    sidecar.node.requests.length = 0
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    // Carol may do nothing; everybody may read system.local.
    assert.equal(await link.offer(8, await passportOf(world, sidecar, 'carol')), 'opened')
    // A client whose share of a turn is used up is paused.
    const pauses: readonly number[] = [Control.PAUSE, Control.RESUME]
    const answers = (): number[] =>
      link.frames.filter(({ session, opcode }) => session === 8 && !pauses.includes(opcode)).map(({ opcode }) => opcode)
    for (const question of ['SELECT key FROM system.local', 'SELECT * FROM system.local']) {
      const bind = { keyspace: 'system', table: 'local', columns: [], pkIndexes: [] }
      const spec = { id, resultMetadataId: Buffer.alloc(16), bind, result: undefined }
      const given = preparedEnvelope(4, 1, spec).toString('base64')
      link.send(8, controlEnvelope(Control.GIVEN, { answer: given }))
      link.send(8, prepareEnvelope(4, 1, question))
      link.send(8, executeEnvelope(4, 2, id, Buffer.alloc(16), []))
      link.send(8, batchEnvelope(4, 3, 0, [{ id, values: [] }]))
      const before = answers().length
      await until('all three are answered', () => answers().length === before + 3)
    }
    assert.deepEqual(answers().slice(1), new Array(6).fill(Opcode.ERROR))
    assert.deepEqual(sidecar.node.requests, [])
    link.socket.destroy()
  })
})

/** Bob sees shop only, so that the sidecar answers what he asks about the schema; he may read traces, and Carol may not. */
const tracing = `${usualPolicy}
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: traces }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/bob }]
  keyspaces: [system_traces]
  operations: [READ]
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: carol-shop }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/carol }]
  keyspaces: [shop]
  operations: [READ, SCAN]
`
const aboutSchema = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shop'"
const aboutTopology = 'SELECT peer FROM system.peers'

function traced(envelope: Buffer): Buffer {
  const copy = Buffer.from(envelope)
  copy[1] = headerFlags(envelope, 0) | Flag.TRACING
  return copy
}

/** As DESCRIBE is answered, by a node of one table. */
function describing(request: NodeRequest): boolean {
  if (!request.text.startsWith('DESCRIBE') || request.opcode === Opcode.PREPARE) return false
  const columns = ['keyspace_name', 'type', 'name', 'create_statement'].map((name) => ({ name, type: native('text') }))
  const row = ['shop', 'table', 'items', 'CREATE TABLE shop.items …'].map((cell) => Buffer.from(cell))
  request.reply(rowsEnvelope(request.connection.version, 0, { keyspace: 'system', table: 'describe', columns }, [row]))
  return true
}

describe('a request to be traced that no node answers', () => {
  before(() => {
    sidecar.node.intercept = describing
  })
  after(() => {
    sidecar.node.intercept = undefined
    sidecar.node.interceptOwn = undefined
  })
  beforeEach(() => {
    sidecar.feed.apply(tracing)
    sidecar.node.interceptOwn = undefined
  })

  for (const version of [3, 4, 5] as ProtocolVersion[]) {
    for (const door of ['sidecar', 'gateway'] as const) {
      const asked: readonly (readonly [what: string, envelopeFor: (client: RawClient) => Promise<Buffer>])[] = [
        ['a SELECT of the schema', async () => queryEnvelope(version, 7, aboutSchema)],
        [
          'an EXECUTE of one',
          async (client: RawClient) =>
            executeEnvelope(version, 7, await prepared(client, aboutSchema), Buffer.alloc(16, 9), []),
        ],
        ['a DESCRIBE', async () => queryEnvelope(version, 7, 'DESCRIBE TABLES')],
        ...(door === 'sidecar'
          ? []
          : ([
              ['a SELECT of the topology', async () => queryEnvelope(version, 7, aboutTopology)],
              ['a PREPARE of one', async () => prepareEnvelope(version, 7, aboutTopology)],
              [
                'an EXECUTE of one that was prepared',
                async (client: RawClient) =>
                  executeEnvelope(version, 7, await prepared(client, aboutTopology), Buffer.alloc(16, 9), []),
              ],
              ['a wrong one', async () => queryEnvelope(version, 7, 'SELECT nothing FROM system.peers')],
            ] as const)),
      ]
      for (const [what, envelopeFor] of asked) {
        it(`has the id of a trace at the node, and is else the same: ${what}, version ${version}, ${door}`, async () => {
          const { traces } = sidecar.node
          const port = door === 'sidecar' ? sidecar.port : gateway.port
          const bob = await world.client(port, 'bob', { version })
          const envelope = await envelopeFor(bob)
          traces.clear()
          const plain = await bob.ask(envelope)
          assert.equal(tracingIdOf(wholeEnvelope(plain)), undefined)
          assert.equal(traces.size, 0)
          const answer = await bob.ask(traced(envelope))
          const id = tracingIdOf(wholeEnvelope(answer))
          assert.deepEqual([...traces], [[id?.toString('hex'), 'SELECT schema_version FROM system.local']])
          assert.deepEqual(withTracingId(wholeEnvelope(plain), id!), answer)
          // A node that cannot be asked traces nothing.
          sidecar.node.interceptOwn = (request) => {
            if ((request.flags & Flag.TRACING) === 0) return false
            request.reply(errorEnvelope(request.connection.version, 0, 0x1001, 'too busy'))
            return true
          }
          assert.deepEqual(await bob.ask(traced(envelope)), plain)
          sidecar.node.interceptOwn = undefined
          const carol = await world.client(port, 'carol', { version })
          const untraced = await carol.ask(traced(await envelopeFor(carol)))
          assert.equal(tracingIdOf(wholeEnvelope(untraced)), undefined)
          assert.equal(traces.size, 1)
          bob.close()
          carol.close()
        })
      }
    }
  }
})
