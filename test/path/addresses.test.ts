/** Behind a gateway nobody learns where a node is: what an answer can carry an address in, seen from a client at both doors. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, suite } from 'node:test'
import { withWarning } from '../../src/cql/answers/warning.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope, rowsEnvelope, voidEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readWarnings } from '../../src/cql/responses.fixture.ts'
import { readError, readPrepared, readRows } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { BodyWriter } from '../../src/cql/writer.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, usualPolicy, World } from './world.ts'

const read = 'SELECT * FROM shop.items'
const traces = 'SELECT * FROM system_traces.events'
const rules = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: alice-traces }
spec:
  subjects: [{ spiffeId: spiffe://demo.local/svc/alice }]
  keyspaces: [system_traces]
  operations: [SELECT, SCAN]
`

let world: World
let running: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  const node = await world.node()
  node.schema.add({
    keyspace: 'system_traces',
    name: 'events',
    partitionKey: { session_id: 'uuid' },
    regulars: { source: 'inet', activity: 'text' },
  })
  running = await world.sidecar({ node })
  gateway = await world.gateway([running])
})
after(() => world.close())
beforeEach(() => {
  running.node.requests.length = 0
  running.node.intercept = undefined
  running.node.interceptOwn = undefined
  running.feed.apply(rules)
})

function answerRead(envelope: Buffer): void {
  running.node.intercept = (request) => {
    if (request.text === read) request.reply(envelope)
    return request.text === read
  }
}

const address = Buffer.from('0a090807', 'hex')

for (const version of [3, 4, 5] as ProtocolVersion[]) {
  suite(`an answer with the node’s address, version ${version}`, () => {
    const failed = (code: number): Buffer => {
      const body = new BodyWriter().short(1).int(0).int(1).int(1)
      if (version >= 5) body.byte(4).raw(address).short(1)
      const extra = (code === CqlErrorCode.READ_FAILURE ? body.byte(0) : body.string('SIMPLE')).take()
      return errorEnvelope(version, 0, code, 'Operation failed: UNKNOWN from node-7/10.9.8.7:7000', extra)
    }

    it('is an error without it through a gateway, and as it is at a sidecar', async () => {
      for (const code of [CqlErrorCode.READ_FAILURE, CqlErrorCode.WRITE_FAILURE]) {
        answerRead(failed(code))
        const outside = await (await world.client(gateway.port, 'alice', { version })).ask(
          queryEnvelope(version, 9, read),
        )
        const inside = await (await world.client(running.port, 'alice', { version })).ask(
          queryEnvelope(version, 9, read),
        )
        assert.equal(outside.includes(address) || outside.includes('10.9.8.7'), false)
        const { message, failures, reasons } = readError(wholeEnvelope(outside))
        assert.equal(message, 'Operation failed: UNKNOWN from /0.0.0.0')
        assert.equal(failures, 1)
        assert.deepEqual(reasons, version >= 5 ? [{ address: '0.0.0.1', code: 1 }] : undefined)
        assert.match(readError(wholeEnvelope(inside)).message, /10\.9\.8\.7/)
      }
    })

    it('is a warning without it through a gateway', async () => {
      if (version < 4) return
      const warned = voidEnvelope(version, 0)
      answerRead(withWarning(wholeEnvelope(warned), version, 'from /10.9.8.7:7000'))
      const answer = await (await world.client(gateway.port, 'alice', { version })).ask(queryEnvelope(version, 9, read))
      assert.deepEqual(readWarnings(wholeEnvelope(answer)), ['from /0.0.0.0'])
    })

    it('is a trace without it through a gateway, prepared or not, with its columns left out or not', async () => {
      const columns = [
        { name: 'source', type: native('inet') },
        { name: 'activity', type: native('text') },
      ]
      const spec = { keyspace: 'system_traces', table: 'events', columns }
      const row = [address, Buffer.from('READ message received from /10.9.8.7:7000')]
      running.node.intercept = (request) => {
        if (request.text !== traces || request.opcode === Opcode.PREPARE) return false
        request.reply(rowsEnvelope(version, 0, spec, [row]))
        return true
      }
      const client = await world.client(gateway.port, 'alice', { version })
      const prepared = await client.ask(prepareEnvelope(version, 3, traces))
      const { id } = readPrepared(wholeEnvelope(prepared), version)
      const execute = executeEnvelope(version, 4, id, Buffer.alloc(16, 9), [], { skipMetadata: true })
      for (const request of [queryEnvelope(version, 5, traces), execute]) {
        const answer = await client.ask(request)
        const [first = []] = readRows(wholeEnvelope(answer), version).rows
        assert.deepEqual(
          first.map((value) => value?.toString('hex')),
          ['00000000', Buffer.from('READ message received from /0.0.0.0').toString('hex')],
        )
      }
      const direct = await world.client(running.port, 'alice', { version })
      const plain = await direct.ask(queryEnvelope(version, 5, traces))
      assert.ok(plain.includes(address))
    })

    it('is not in a column that the schema does not know yet, where the answer is decided on again', async () => {
      const masked = { keyspaces: ['system_traces'], tables: ['events'], columns: ['other_*'], mask: 'full' }
      running.feed.apply(
        `${rules}---\n${JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind: 'MaskingPolicy', metadata: { name: 'm' }, spec: masked })}\n`,
      )
      const columns = ['source', 'late', 'other_one'].map((name) => ({ name, type: native('text') }))
      const row = columns.map(() => Buffer.from('/10.9.8.7:7000'))
      running.node.intercept = (request) => {
        if (request.text !== traces) return false
        request.reply(rowsEnvelope(version, 0, { keyspace: 'system_traces', table: 'events', columns }, [row]))
        return true
      }
      const client = await world.client(gateway.port, 'alice', { version })
      const answer = await client.ask(queryEnvelope(version, 5, traces))
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
      assert.deepEqual(readRows(wholeEnvelope(answer), version).rows[0]?.map(String), ['/0.0.0.0', '/0.0.0.0', '****'])
    })

    it('is not in what the node answers the sidecar itself: to a question about the schema, a DESCRIBE, a USE', async () => {
      const said = 'java.lang.RuntimeException: node-7/10.9.8.7:7000 is away'
      const fail = (request: NodeRequest): boolean => {
        if (request.opcode !== Opcode.PREPARE && !/^DESCRIBE|^USE/.test(request.text)) return false
        request.reply(errorEnvelope(request.connection.version, 0, CqlErrorCode.SERVER_ERROR, said))
        return true
      }
      running.node.intercept = fail
      running.node.interceptOwn = fail
      for (const text of [
        `SELECT keyspace_name FROM system_schema.keyspaces LIMIT ${version}1`,
        'DESCRIBE KEYSPACE shop',
        'USE play',
      ]) {
        const outside = await (await world.client(gateway.port, 'alice', { version })).ask(
          queryEnvelope(version, 9, text),
        )
        assert.equal(readError(wholeEnvelope(outside)).message, 'java.lang.RuntimeException: /0.0.0.0 is away', text)
      }
      const direct = await world.client(running.port, 'alice', { version })
      const inside = await direct.ask(queryEnvelope(version, 9, 'DESCRIBE KEYSPACE shop'))
      assert.equal(readError(wholeEnvelope(inside)).message, said)
    })

    it('is not given in other bytes through a gateway', async () => {
      const text = 'SELECT inet_as_blob(source) FROM system_traces.events'
      const client = await world.client(gateway.port, 'alice', { version })
      for (const request of [queryEnvelope(version, 3, text), prepareEnvelope(version, 4, text)]) {
        const answer = await client.ask(request)
        assert.match(readError(wholeEnvelope(answer)).message, /^functions of columns of this table/)
      }
      assert.ok(!running.node.texts().includes(text))
    })
  })
}

it('a client of a gateway whose session cannot be opened is not told where the node is', async () => {
  const alone = await world.sidecar({ name: 'alone' })
  const before = await world.gateway([alone], { name: 'gateway2' })
  // The pool has no connection of this version yet.
  alone.node.refuse()
  const outside = await world.connect(before.port, 'alice', { version: 3 })
  const answer = await outside.startup()
  const { message } = readError(wholeEnvelope(answer))
  assert.match(message, /cannot reach the node/)
  assert.doesNotMatch(message, /127\.0\.0\.1|:\d{4}/)
})
