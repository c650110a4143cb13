import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { createLogger } from '../telemetry/log.ts'
import type { ClientInfo } from './backend.ts'
import { Doors, doorBounds } from './doors.ts'

const perSecond = 20
const bounds = { ...doorBounds, handshakesPerAddressPerSecondMax: perSecond }

function comer(): Socket {
  return Object.assign(new EventEmitter(), { resetAndDestroy() {}, destroy() {} }) as unknown as Socket
}

const info = (address: string): ClientInfo =>
  ({ identity: { key: 'a', methods: ['certificate'] }, address }) as unknown as ClientInfo

/** How many of so many handshakes of that address may begin; none of them ends. */
function begun(doors: Doors, address: string, count: number): number {
  let may = 0
  for (let at = 0; at < count; at++) if (doors.handshake(address, comer()) !== undefined) may++
  return may
}

describe('connections that prove nothing', () => {
  it('are so many of one address, and then no more; others come in', (t) => {
    let ms = 1
    t.mock.method(performance, 'now', () => ms)
    const doors = new Doors(createLogger('test', { write() {} }), bounds)
    assert.equal(begun(doors, '192.0.2.1', 100), perSecond / 2)
    assert.equal(begun(doors, '192.0.2.2', 1), 1)
    ms += 1_000
    assert.equal(begun(doors, '192.0.2.1', 100), perSecond / 10)
    // The address of a PROXY header that has not come.
    for (let at = 0; at < 100; at++) assert.ok(doors.handshake(undefined, comer()))
  })

  it('are more where somebody has proved who he is, and who does so has cost nothing, with a place or without', (t) => {
    let ms = 1
    t.mock.method(performance, 'now', () => ms)
    const doors = new Doors(createLogger('test', { write() {} }), { ...bounds, perIdentityMax: 50 })
    let refused = 0
    for (let at = 0; at < 1_000; at++) {
      const raw = comer()
      assert.ok(doors.handshake('192.0.2.1', raw), 'it proves itself, so the next may come')
      if (doors.enter(raw, info('192.0.2.1'), false) !== undefined) refused++
    }
    assert.equal(refused, 950)
    assert.equal(begun(doors, '192.0.2.1', 100), 2 * perSecond)
    ms += 1_000
    assert.equal(begun(doors, '192.0.2.1', 100), perSecond)
  })
})
