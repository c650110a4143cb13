/** What one identity may have a node prepare: a rate for what is new, nothing for what it has, and nobody else's business. */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningSidecar, until, World } from './world.ts'

const { preparesBurstMax, preparesPerSecondMax } = limits

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar()
})
after(() => world.close())

const overloaded = /^0x1001 .* \(rule prepare-rate, policy revision 1\)$/

const prepare = async (client: RawClient, text: string, stream = 1): Promise<string> =>
  describe(await client.ask(prepareEnvelope(client.version, stream, text)))

const flood = (from: string): string[] =>
  Array.from({ length: preparesBurstMax + 1000 }, (_, i) => `SELECT * FROM shop.items WHERE k = '${from} ${i}'`)

suite('a flood of statements that differ in their literals (attack B9)', () => {
  it('is shed beyond the burst and the rate; nothing of that reaches the node', async () => {
    const alice = await world.client(running.port, 'alice')
    assert.equal(await prepare(alice, 'SELECT * FROM shop.items WHERE k = ?'), 'result 4')
    const texts = flood('alice')
    const begun = performance.now()
    const answers = await Promise.all(texts.map((text, i) => prepare(alice, text, i)))
    const seconds = (performance.now() - begun) / 1000
    const shed = answers.filter((answer) => overloaded.test(answer)).length
    const passed = answers.filter((answer) => answer === 'result 4').length
    assert.equal(shed + passed, texts.length)
    assert.ok(passed >= preparesBurstMax - 1, `only ${passed} passed`)
    assert.ok(passed <= preparesBurstMax + preparesPerSecondMax * seconds + 1, `${passed} passed in ${seconds} s`)
    const arrived = new Set(running.node.texts())
    for (const [i, text] of texts.entries()) assert.equal(arrived.has(text), answers[i] === 'result 4', text)
  })

  it('leaves the connection, what was prepared before and every other request alone', async () => {
    const [alice, again] = [await world.client(running.port, 'alice'), await world.client(running.port, 'alice')]
    let fresh = 0
    while ((await prepare(alice, `SELECT * FROM shop.items WHERE k = 'until shed ${fresh}'`)) === 'result 4') fresh++
    for (const client of [alice, again]) {
      for (let i = 0; i < 50; i++)
        assert.equal(await prepare(client, 'SELECT * FROM shop.items WHERE k = ?'), 'result 4')
    }
    const select = "SELECT * FROM shop.items WHERE k = 'as text'"
    assert.equal(describe(await alice.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
    const bob = await world.client(running.port, 'bob')
    assert.equal(await prepare(bob, "SELECT * FROM shop.items WHERE k = 'of bob'"), 'result 4')
  })

  it('is admitted again when time has passed', async () => {
    const alice = await world.client(running.port, 'alice')
    const begun = performance.now()
    while (overloaded.test(await prepare(alice, `SELECT * FROM shop.items WHERE k = 'later ${performance.now()}'`))) {
      assert.ok(performance.now() - begun < 5000, 'never again')
    }
  })

  it('is on record as refused, each statement with its rule', async () => {
    await until('the records are written', () => running.records().some(({ rule }) => rule === 'prepare-rate'))
    const record = running.records().find(({ rule }) => rule === 'prepare-rate') ?? {}
    const { verdict, request, operation, statement, error } = record
    assert.deepEqual([verdict, request, operation], ['deny', 'PREPARE', 'SELECT'])
    assert.equal(statement, 'SELECT * FROM shop.items WHERE k = ?')
    assert.match(JSON.stringify(error), /"code":4097,/)
    assert.ok(!('consistency' in record))
  })
})
