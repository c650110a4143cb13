/** Who used a pre-signed request first: no use waits for the store, and what cannot be written is written later. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createLogger } from '../telemetry/log.ts'
import { KeptUses } from './kept-uses.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { eventually } from './mesh.fixture.ts'

const use = (key: string, address: string) => ({ principal: 'etl', key, address, endMs: Date.now() + 600_000 })
const made = (store: MemoryStore, entriesMax = 10, said: string[] = []): KeptUses =>
  new KeptUses({ store, nowMs: Date.now, log: createLogger('t', { write: (line) => said.push(line) }), entriesMax })

describe('first uses of pre-signed requests', () => {
  it('are written within a second, once, and at the stop', async () => {
    const store = new MemoryStore()
    const uses = made(store)
    assert.equal(uses.use(use('a', '192.0.2.1'), Date.now()), true)
    assert.equal(uses.use(use('a', '192.0.2.1'), Date.now()), true)
    assert.equal(uses.use(use('a', '192.0.2.2'), Date.now()), false)
    await eventually('it is kept', () => store.presignedUses(Date.now()).length === 1)
    assert.equal(uses.use(use('b', '192.0.2.1'), Date.now()), true)
    uses.stop()
    assert.deepEqual(
      store.presignedUses(Date.now()).map(({ key, address }) => [key, address]),
      [
        ['a', '192.0.2.1'],
        ['b', '192.0.2.1'],
      ],
    )
    const again = made(store)
    assert.equal(again.use(use('b', '192.0.2.2'), Date.now()), false)
    again.stop()
  })

  it('are answered and written later where the store fails', () => {
    const store = new MemoryStore()
    const keep = store.keepPresignedUses.bind(store)
    const said: string[] = []
    const uses = made(store, 10, said)
    store.keepPresignedUses = () => {
      throw new Error('the disk is full')
    }
    assert.equal(uses.use(use('a', '192.0.2.1'), Date.now()), true)
    uses.stop()
    assert.match(said.join(''), /cannot be written/)
    store.keepPresignedUses = keep
    uses.stop()
    assert.equal(store.presignedUses(Date.now()).length, 1)
  })
})
