/** The name of the role by which the node knows the mesh reaches no client, whatever the sidecar asked the node for. */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, Opcode } from '../../src/cql/protocol.ts'
import { readError, readPrepared } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, World } from './world.ts'

const role = 'ringfence_of_dc1'

const errors = [
  [CqlErrorCode.UNAUTHORIZED, `User ${role} has no SELECT permission on <table a.b> or any of its parents`],
  [CqlErrorCode.UNAUTHORIZED, `User ${role} does not have sufficient privileges to perform the requested operation`],
  [CqlErrorCode.BAD_CREDENTIALS, `${role} is not permitted to log in`],
] as const

/** A request, who asks, and what the node is asked for it. */
const kinds: readonly { kind: string; who: string; text: string; prepare?: true; own: RegExp }[] = [
  { kind: 'QUERY', who: 'alice', text: 'SELECT v FROM shop.items WHERE k = 1', own: /shop\.items/ },
  { kind: 'PREPARE', who: 'alice', text: 'SELECT v FROM shop.items WHERE k = 2', prepare: true, own: /shop\.items/ },
  {
    kind: 'BATCH',
    who: 'alice',
    text: "BEGIN BATCH INSERT INTO shop.items (k, v) VALUES ('1', 'x') APPLY BATCH",
    own: /BATCH/,
  },
  { kind: 'USE', who: 'alice', text: 'USE shop', own: /^USE/ },
  { kind: 'USE of a name in quotes', who: 'bob', text: 'USE "shop"', own: /^USE/ },
  { kind: 'schema question', who: 'bob', text: 'SELECT type_name FROM system_schema.types', own: /system_schema/ },
  { kind: 'schema question', who: 'alice', text: 'SELECT * FROM system_schema.columns', own: /system_schema/ },
  {
    kind: 'schema question',
    who: 'bob',
    text: 'SELECT count(*) FROM system_virtual_schema.tables',
    own: /system_virtual/,
  },
  { kind: 'DESCRIBE', who: 'bob', text: 'DESCRIBE TABLE shop.items', own: /DESC/ },
  { kind: 'DESCRIBE', who: 'alice', text: 'DESCRIBE KEYSPACES', own: /DESC/ },
]

let world: World
let running: RunningSidecar
let gateway: number

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  gateway = (await world.gateway([running])).port
})
after(() => world.close())

/** The node says `error` to what matches, from whatever connection it comes. */
function refusing([code, text]: (typeof errors)[number], match: RegExp, opcode?: number): () => number {
  let refused = 0
  const refuse = (request: NodeRequest): boolean => {
    if (!match.test(request.text ?? '') || (opcode !== undefined && opcode !== request.opcode)) return false
    refused++
    request.reply(errorEnvelope(4, 0, code, text))
    return true
  }
  running.node.intercept = refuse
  running.node.interceptOwn = refuse
  return () => refused
}

function heard(answer: Buffer, code: number): void {
  const error = readError(wholeEnvelope(answer))
  assert.ok(!error.message.includes(role), error.message)
  assert.match(error.message, /^the node (refuses this to the mesh|does not let the mesh log in)/)
  const expected = code === CqlErrorCode.BAD_CREDENTIALS ? CqlErrorCode.OVERLOADED : code
  assert.equal(error.code, expected, error.message)
}

suite("the role's name", () => {
  for (const door of ['sidecar', 'gateway'] as const) {
    for (const { kind, who, text, prepare, own } of kinds) {
      it(`is in no answer to ${kind} of ${who} by a ${door}: ${text}`, async () => {
        for (const error of errors) {
          const client: RawClient = await world.client(door === 'sidecar' ? running.port : gateway, who)
          const refused = refusing(error, own)
          const asked = prepare ? prepareEnvelope(4, 1, text) : queryEnvelope(4, 1, text)
          const answer = await client.ask(asked)
          running.node.intercept = undefined
          running.node.interceptOwn = undefined
          assert.ok(refused() > 0, `the node was not asked: ${describe(answer)}`)
          heard(answer, error[0])
          client.close()
        }
      })
    }
  }

  for (const door of ['sidecar', 'gateway'] as const) {
    it(`is in no answer to EXECUTE, and to one whose statement has to be prepared again, by a ${door}`, async () => {
      for (const forgotten of [false, true]) {
        for (const error of errors) {
          const client = await world.client(door === 'sidecar' ? running.port : gateway, 'alice')
          const text = 'SELECT v FROM shop.items WHERE k = 3'
          const prepared = await client.ask(prepareEnvelope(4, 1, text))
          const { id } = readPrepared(wholeEnvelope(prepared), 4)
          if (forgotten) running.node.prepared.clear()
          // What was forgotten is refused at its PREPARE.
          const refused = refusing(error, /shop\.items/, forgotten ? Opcode.PREPARE : Opcode.EXECUTE)
          const answer = await client.ask(executeEnvelope(4, 2, id, Buffer.alloc(0), []))
          running.node.intercept = undefined
          assert.ok(refused() > 0, `the node was not asked: ${describe(answer)}`)
          // The driver prepares it again by itself, and hears then what is refused.
          if (forgotten) assert.equal(readError(wholeEnvelope(answer)).code, CqlErrorCode.UNPREPARED)
          else heard(answer, error[0])
          assert.ok(!answer.includes(role))
          client.close()
        }
      }
    })
  }

  it('is in no line of the record and of the log', () => {
    assert.ok(!JSON.stringify(running.records()).includes(role))
    assert.deepEqual(
      world.logged.filter((line) => line.includes(role)),
      [],
    )
  })
})
