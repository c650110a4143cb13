/** A whole request that is larger than may be costs that request: what else is on its connection goes on. */

import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readError, readPrepared } from '../../src/cql/responses.ts'
import { describe } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { type RunningSidecar, until, World } from './world.ts'

const slowText = 'SELECT v FROM shop.items WHERE k = 1'
const insert = 'INSERT INTO shop.items (v, k) VALUES (?, ?)'

let world: World
let running: RunningSidecar
const ports = new Map<string, number>()

before(async () => {
  world = await World.make()
  running = await world.sidecar()
  ports.set('sidecar', running.port).set('gateway', (await world.gateway([running])).port)
})
after(() => world.close())

const insertOf = (bytes: number): string => `INSERT INTO shop.items (k, v) VALUES ('a', '${'x'.repeat(bytes)}')`

for (const door of ['sidecar', 'gateway']) {
  suite(`by the ${door}`, () => {
    for (const version of [3, 4, 5] as const satisfies readonly ProtocolVersion[]) {
      it(`a request beyond a bound is INVALID, and its neighbours are answered, v${version}`, async () => {
        const client = await world.client(ports.get(door)!, 'alice', { version })
        const prepared = await client.ask(prepareEnvelope(version, 1, insert))
        const { id, resultMetadataId } = readPrepared(wholeEnvelope(prepared), version)
        let held: NodeRequest | undefined
        running.node.intercept = (request) => {
          if (request.text !== slowText) return false
          held = request
          return true
        }
        const slow = client.ask(queryEnvelope(version, 9, slowText), 30_000)
        await until('it is at the node', () => held !== undefined)
        const long = insertOf(limits.statementBytesMax)
        const half = { text: insertOf(limits.batchTextBytesMax / 2), values: [] }
        for (const request of [
          queryEnvelope(version, 2, long),
          prepareEnvelope(version, 2, long),
          batchEnvelope(version, 2, 0, [{ text: long, values: [] }]),
          batchEnvelope(version, 2, 0, [half, half]),
        ]) {
          const answer = await client.ask(request, 30_000)
          assert.equal(headerOpcode(answer, 0), Opcode.ERROR)
          assert.equal(readError(wholeEnvelope(answer)).code, CqlErrorCode.INVALID)
        }
        for (const request of [
          queryEnvelope(version, 2, insertOf(1_200_000)),
          queryEnvelope(version, 2, insertOf(1_800_000)),
          batchEnvelope(version, 2, 0, [{ text: insertOf(1_200_000), values: [] }]),
          executeEnvelope(version, 2, id, resultMetadataId, [Buffer.alloc(5_000_000, 120), Buffer.from('k')]),
        ]) {
          const answer = await client.ask(request, 30_000)
          assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
        }
        for (const extra of [1, 5_000_000]) {
          const value = Buffer.alloc(limits.messageBytesMax + extra, 120)
          const answer = await client.ask(
            executeEnvelope(version, 2, id, resultMetadataId, [value, Buffer.from('k')]),
            30_000,
          )
          assert.match(describe(answer), /^0x2200 the request is longer than messageBytesMax/)
        }
        held?.answer()
        const answer = await slow
        assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
        client.close()
      })
    }
  })
}
