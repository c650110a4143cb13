import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Handshakes, type Leave, Places } from './places.ts'

const bounds = { name: 'connections', max: 20, perAddressMax: 8, perIdentityMax: 12 }

interface Held {
  readonly identity: string
  readonly address: string
  readonly leave: Leave
}

/** Places as clients see them: who is in, who was displaced. */
class Room {
  readonly places = new Places(bounds)
  readonly held: Held[] = []
  displaced: string[] = []

  come(identity: string, address: string, mayBeDisplaced = true): string {
    const gone = (): void => {
      this.displaced.push(identity)
      this.held.splice(this.held.indexOf(entry), 1)
    }
    const taken = this.places.take({ identity, address, displace: mayBeDisplaced ? gone : undefined })
    if (typeof taken === 'string') return taken
    const entry = { identity, address, leave: taken }
    this.held.push(entry)
    return 'in'
  }

  count(by: 'identity' | 'address', who: string): number {
    return this.held.filter((each) => each[by] === who).length
  }
}

describe('places', () => {
  it('end for an address at its bound, for an identity at its own, and for nobody else', () => {
    const room = new Room()
    for (let i = 0; i < 8; i++) assert.equal(room.come('a', 'here'), 'in')
    assert.equal(room.come('a', 'here'), 'connectionsPerAddressMax reached')
    assert.equal(room.come('b', 'here'), 'connectionsPerAddressMax reached')
    for (let i = 0; i < 4; i++) assert.equal(room.come('a', 'there'), 'in')
    assert.equal(room.come('a', 'elsewhere'), 'connectionsPerIdentityMax reached')
    assert.equal(room.come('b', 'elsewhere'), 'in')
    room.held[0]!.leave()
    room.held[0]!.leave()
    assert.equal(room.places.taken, 12)
    assert.equal(room.come('a', 'elsewhere'), 'in')
    assert.equal(room.come('a', 'elsewhere'), 'connectionsPerIdentityMax reached')
  })

  it('are made free by the identity that has most, its newest first, until all have the same', () => {
    const room = new Room()
    for (let i = 0; i < 12; i++) room.come('much', `m${i % 2}`)
    for (let i = 0; i < 8; i++) room.come('some', 's')
    for (let i = 0; i < 4; i++) assert.equal(room.come('few', 'f'), 'in')
    assert.deepEqual(room.displaced, ['much', 'much', 'much', 'much'])
    assert.equal(room.come('some', 'other'), 'connectionsMax reached')
    assert.equal(room.come('much', 'other'), 'connectionsMax reached')
    assert.equal(room.come('new', 'other'), 'in')
    assert.equal(room.places.taken, 20)
  })

  it('of what must not make room stay', () => {
    const room = new Room()
    for (let i = 0; i < 12; i++) room.come('links', `l${i % 2}`, false)
    for (let i = 0; i < 8; i++) room.come('other', 'o')
    assert.equal(room.come('new', 'n'), 'connectionsMax reached')
    assert.deepEqual(room.displaced, [])
  })

  it('never exceed a bound, and a newcomer with none always gets one, whatever comes and goes', () => {
    const who = fc.constantFrom('a', 'b', 'c', 'd', 'e')
    const where = fc.constantFrom('1', '2', '3', '4', '5', '6')
    const step = fc.oneof(fc.tuple(who, where), fc.nat(30))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const room = new Room()
        for (const each of steps) {
          if (typeof each === 'number') {
            const [left] = room.held.splice(each % (room.held.length || 1), 1)
            left?.leave()
            continue
          }
          const [identity, address] = each
          const alone = room.count('identity', identity) === 0 && room.count('address', address) < bounds.perAddressMax
          const outcome = room.come(identity, address)
          if (alone) assert.equal(outcome, 'in')
          assert.equal(room.places.taken, room.held.length)
          assert.ok(room.held.length <= bounds.max)
          for (const { identity: i, address: at } of room.held) {
            assert.ok(room.count('identity', i) <= bounds.perIdentityMax)
            assert.ok(room.count('address', at) <= bounds.perAddressMax)
          }
        }
      }),
    )
  })
})

describe('handshakes', () => {
  it('of one address drop its own oldest, of all the oldest of the address with most', () => {
    const handshakes = new Handshakes(6, 3)
    const dropped: string[] = []
    const begin = (address: string | undefined, name: string): Leave =>
      handshakes.begin(address, () => dropped.push(name))
    for (const name of ['a1', 'a2', 'a3', 'a4']) begin('a', name)
    assert.deepEqual(dropped, ['a1'])
    const over = begin('b', 'b1')
    for (const name of ['?1', '?2']) begin(undefined, name)
    assert.equal(handshakes.open, 6)
    begin('c', 'c1')
    assert.deepEqual(dropped, ['a1', 'a2'])
    over()
    over()
    assert.equal(handshakes.open, 5)
    begin('c', 'c2')
    assert.deepEqual(dropped, ['a1', 'a2'])
  })

  it('whose address is not known yet have the bound of all only', () => {
    const handshakes = new Handshakes(6, 3)
    let dropped = 0
    for (let i = 0; i < 7; i++) handshakes.begin(undefined, () => dropped++)
    assert.equal(dropped, 1)
  })
})
