/** How long a client that is drained is waited for: by what ends it, and by what of it is not finished. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, it, mock, describe as suite } from 'node:test'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { limits } from '../../src/base/limits.ts'
import { queryEnvelope, readyEnvelope } from '../../src/cql/encode.ts'
import type { VerifiedIdentity } from '../../src/identity/verified.ts'
import type { ClientInfo } from '../../src/session/backend.ts'
import { MemoryDoor } from './memory-door.ts'

const lifeMs = 1000
const answer = readyEnvelope(4, 1)

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
afterEach(() => mock.timers.reset())

function infoOf(expiresAtMs: number): ClientInfo {
  const identity = { subject: 'spiffe://demo.local/svc/a', key: 'a', expiresAtMs } as VerifiedIdentity
  return { identity, evidence: undefined, address: '192.0.2.1', port: 1, dialledAddress: '', dialledPort: 0 }
}

/** With one request in flight that the node does not answer. */
function waiting(): MemoryDoor {
  const door = new MemoryDoor(infoOf(Date.now() + lifeMs), new BytesBudget())
  door.use({ request() {}, close() {} })
  door.ask(queryEnvelope(4, 1, 'TRUNCATE shop.items'))
  return door
}

/** The end of its proof, as far as its drain. */
function expired(): MemoryDoor {
  const door = waiting()
  // It leaves before, and is drained for certain then; a timer that is set in a tick is of the next one.
  for (let passedMs = 0; passedMs < 2 * lifeMs; passedMs += 10) {
    if (door.life === 'draining') break
    mock.timers.tick(10)
  }
  assert.equal(door.life, 'draining')
  return door
}

suite('what is in flight', () => {
  it('at the end of a proof is waited for, for as long as the node may take', () => {
    const door = expired()
    mock.timers.tick(limits.drainMsMax)
    assert.equal(door.life, 'draining')
    mock.timers.tick(limits.requestTimeoutMs - limits.drainMsMax - 100)
    assert.equal(door.life, 'draining')
    mock.timers.tick(200)
    assert.equal(door.life, 'closed')
  })

  it('is answered within that time, and then the client ends', async () => {
    const door = expired()
    mock.timers.tick(limits.drainMsMax + 30_000)
    door.answer(answer, 0, answer.length, 1)
    assert.equal(door.answers.length, 1)
    mock.timers.tick(10)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    mock.timers.tick(limits.drainLingerMsMax + 10)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    assert.equal(door.life, 'closed')
  })

  it('when the proxy stops is waited for 30 s, also where the proof ends meanwhile', () => {
    const door = waiting()
    door.drain('the proxy stops')
    mock.timers.tick(limits.drainMsMax - 1)
    assert.equal(door.life, 'draining')
    mock.timers.tick(2)
    assert.equal(door.life, 'closed')
  })
})

it('a client that does not take its answers has 30 s, whatever ends it', () => {
  const door = expired()
  door.stall()
  door.answer(answer, 0, answer.length, 1)
  mock.timers.tick(limits.drainMsMax - 100)
  assert.equal(door.life, 'draining')
  mock.timers.tick(200)
  assert.equal(door.life, 'closed')
})
