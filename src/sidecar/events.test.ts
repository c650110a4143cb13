/** An event of the node goes to thousands of sessions turn by turn; each hears what it may, all of it, in order. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SchemaTarget } from '../cql/answers/schema-event.ts'
import { eventEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { readEvent } from '../cql/responses.ts'
import { EventHub, type EventListener } from './events.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

class Listener implements EventListener {
  readonly version: 3 | 4 | 5
  readonly heard: string[] = []
  faults = 0
  /** Its rules are being gathered until then. */
  gathering: Promise<void> | undefined
  throws = false
  readonly #hidden: string | undefined

  constructor(version: 3 | 4 | 5 = 4, hidden?: string) {
    this.version = version
    this.#hidden = hidden
  }

  ready(): Promise<void> | undefined {
    return this.gathering
  }

  sees({ name }: SchemaTarget): boolean {
    if (this.throws) throw new Error('ours')
    return name !== this.#hidden
  }

  onEvent(envelope: Buffer): void {
    assert.equal(envelope[0], 0x80 | this.version)
    const event = readEvent(wholeEnvelope(envelope))
    this.heard.push(event.type === 'SCHEMA_CHANGE' ? event.name : event.type)
  }

  onFault(): void {
    this.faults++
  }
}

function created(name: string): Buffer {
  return eventEnvelope(4, {
    type: 'SCHEMA_CHANGE',
    change: 'CREATED',
    target: 'TABLE',
    keyspace: 'ks',
    name,
    argTypes: [],
  })
}
const up = eventEnvelope(4, { type: 'STATUS_CHANGE', change: 'UP', address: '127.0.0.1', port: 9042 })
const all = ['SCHEMA_CHANGE', 'STATUS_CHANGE']

function tell(hub: EventHub, envelope: Buffer): void {
  const borrowed = Buffer.from(envelope)
  hub.dispatch(borrowed, 0, borrowed.length)
  borrowed.fill(0)
}

async function until(what: () => boolean): Promise<number> {
  let turns = 0
  for (; !what(); turns++) {
    assert.ok(turns < 10_000)
    await turn()
  }
  return turns
}

describe('events of the node', () => {
  it('go to twelve thousand sessions over many turns, in order, each in its version', async () => {
    const hub = new EventHub()
    const listeners = Array.from({ length: 12_000 }, (_, at) => new Listener(([3, 4, 5] as const)[at % 3]))
    for (const listener of listeners) hub.add(listener, all)
    tell(hub, created('a'))
    tell(hub, up)
    tell(hub, created('b'))
    assert.ok(listeners.filter(({ heard }) => heard.length > 0).length <= 64)
    const turns = await until(() => listeners.every(({ heard }) => heard.length === 3))
    assert.ok(turns >= (3 * 12_000) / 64 - 1)
    for (const { heard } of listeners) assert.deepEqual(heard, ['a', 'STATUS_CHANGE', 'b'])
  })

  it('go to those who registered for them and may see what they are about', async () => {
    const hub = new EventHub()
    const [sees, hidden, other, gone] = [new Listener(), new Listener(4, 'a'), new Listener(), new Listener()]
    for (const listener of [sees, hidden, gone]) hub.add(listener, all)
    hub.add(other, ['STATUS_CHANGE'])
    hub.remove(gone)
    tell(hub, created('a'))
    tell(hub, up)
    assert.deepEqual(
      [sees, hidden, other, gone].map(({ heard }) => heard),
      [['a', 'STATUS_CHANGE'], ['STATUS_CHANGE'], ['STATUS_CHANGE'], []],
    )
  })

  it('wait for one whose rules are being gathered, and for nobody else', async () => {
    const hub = new EventHub()
    const [slow, quick, leaves] = [new Listener(), new Listener(), new Listener()]
    for (const listener of [slow, quick, leaves]) hub.add(listener, all)
    const { promise, resolve } = Promise.withResolvers<void>()
    slow.gathering = leaves.gathering = promise
    tell(hub, up)
    tell(hub, created('a'))
    tell(hub, up)
    tell(hub, created('b'))
    assert.deepEqual(quick.heard, ['STATUS_CHANGE', 'a', 'STATUS_CHANGE', 'b'])
    assert.deepEqual(slow.heard, ['STATUS_CHANGE'], 'what is behind does not overtake')
    hub.remove(leaves)
    slow.gathering = leaves.gathering = undefined
    resolve()
    await until(() => slow.heard.length === 4)
    assert.deepEqual(slow.heard, quick.heard)
    assert.deepEqual(leaves.heard, ['STATUS_CHANGE'])
  })

  it('that one session fails at end that session alone', () => {
    const hub = new EventHub()
    const [bad, good] = [new Listener(), new Listener()]
    for (const listener of [bad, good]) hub.add(listener, all)
    bad.throws = true
    tell(hub, created('a'))
    assert.deepEqual([bad.faults, good.faults, good.heard], [1, 0, ['a']])
  })
})
