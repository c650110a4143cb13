/** What happens when something goes: the node, the record, a certificate. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs, { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SealedLines } from '../../src/audit/sealed/lines.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { describe, type RawClient } from './client.ts'
import { until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

const ask = async (client: RawClient, stream: number, text = select): Promise<string> =>
  describe(await client.ask(queryEnvelope(client.version, stream, text)))

suite('the node goes', () => {
  it('with requests in flight: their clients are closed, and nothing is answered', async () => {
    const running = await world.sidecar({ name: 'gone' })
    const alice = await world.client(running.port, 'alice')
    running.node.intercept = (request) => request.text.includes('lost')
    const inFlight = [1, 2, 3].map((stream) => alice.ask(queryEnvelope(4, stream, `${select} WHERE k = 'lost'`)))
    const outcome = Promise.allSettled(inFlight)
    await until('they arrived', () => running.node.requests.length === 3)
    await running.node.stop()
    assert.deepEqual(
      (await outcome).map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    )
    assert.equal(alice.unasked.length, 0)
    await until('on record as lost', () => running.records().filter(({ outcome: how }) => how === 'lost').length === 3)
    running.node.intercept = undefined
    await running.node.start()
    let again: RawClient | undefined
    await until('clients are let in again', () => {
      world.client(running.port, 'alice').then(
        (client) => {
          again ??= client
        },
        () => {},
      )
      return again !== undefined
    })
    assert.equal(await ask(again!, 1), `echo: ${select}`)
  })

  it('while it is away nobody is let in, so that drivers go elsewhere', async () => {
    const running = await world.sidecar({ name: 'away' })
    await running.node.stop()
    await until('the sidecar knows', () => running.feed.report?.().upstreamConnections === 0)
    await sleep(50)
    await assert.rejects(world.client(running.port, 'alice'))
  })

  it('one connection of several: the others’ requests are answered', async () => {
    const running = await world.sidecar({ name: 'several', share: 'identity' })
    const [alice, bob] = [await world.client(running.port, 'alice'), await world.client(running.port, 'bob')]
    running.node.intercept = (request) => request.text.includes('held')
    const [ofAlice, ofBob] = [alice, bob].map((client, i) =>
      client.ask(queryEnvelope(4, 1, `${select} WHERE k = 'held ${i}'`)),
    )
    await until('they arrived', () => running.node.requests.length === 2)
    const requestOf = (i: number) => running.node.requests.find(({ text }) => text.includes(`held ${i}`))!
    assert.notEqual(requestOf(0).connection, requestOf(1).connection)
    requestOf(0).connection.socket.destroy()
    await assert.rejects(ofAlice!, /closed/)
    requestOf(1).answer()
    assert.equal(describe(await ofBob!), `echo: ${select} WHERE k = 'held 1'`)
  })
})

suite('the record cannot be written', () => {
  it('everything is answered OVERLOADED, nothing reaches the node, and it goes on by itself afterwards', async (t) => {
    const running = await world.sidecar({ name: 'unwritten' })
    const alice = await world.client(running.port, 'alice')
    const prepared = await alice.ask(prepareEnvelope(4, 1, 'INSERT INTO shop.items (k) VALUES (?)'))
    const { id } = readPrepared(wholeEnvelope(prepared), 4)
    assert.equal(await ask(alice, 1), `echo: ${select}`)
    const again = await world.client(running.port, 'alice')
    const before = running.node.requests.length
    const write = fs.writeSync
    // The audit's file is the only one that this process writes; everything up to 2 is the test's own output.
    fs.writeSync = ((fd: number, ...rest: unknown[]) => {
      if (fd > 2) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      return Reflect.apply(write, fs, [fd, ...rest])
    }) as typeof fs.writeSync
    syncBuiltinESMExports()
    t.after(() => {
      fs.writeSync = write
      syncBuiltinESMExports()
    })
    // What finds out was sent before it could be known; its record is kept for later, and so its answer does not leave.
    await assert.rejects(ask(alice, 1), /closed/)
    const found = running.node.requests.length
    assert.ok(found <= before + 1)
    await assert.rejects(world.client(running.port, 'alice'), /0x1001 the audit record cannot be written/)
    for (const text of [select, 'USE shop', "DELETE FROM shop.items WHERE k = 'x'"]) {
      assert.match(await ask(again, 2, text), /^0x1001 the audit record cannot be written/)
    }
    const execute = executeEnvelope(4, 3, id, undefined, [Buffer.from('x')])
    assert.match(describe(await again.ask(execute)), /^0x1001 /)
    assert.match(describe(await again.ask(prepareEnvelope(4, 3, select))), /^0x1001 /)
    assert.equal(running.node.requests.length, found)
    fs.writeSync = write
    syncBuiltinESMExports()
    await sleep(1500)
    assert.equal(await ask(again, 1), `echo: ${select}`)
    assert.match(describe(await again.ask(execute)), /<- x$/)
    const lines = running.records()
    assert.deepEqual(
      lines.map(({ seq }) => seq),
      lines.map((_, index) => index + 1),
    )
    // They would have taken the room of lines about what did reach the node.
    assert.equal(lines.filter(({ rule }) => rule === 'overloaded').length, 0)
  })

  for (const way of ['driver', 'gateway', 'driver sealed']) {
    it(`a full file system and a killed process leave no answer without its line (${way})`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'ringfence-full-'))
      const fixture = new URL('./full-disk.fixture.ts', import.meta.url).pathname
      // In units of 1 KiB; a process that ignores SIGXFSZ is told EFBIG, after a write that was cut short.
      const script = `trap '' XFSZ; ulimit -f 192; exec "${process.execPath}" "${fixture}" ${way}`
      const child = spawnSync('bash', ['-c', script], { env: { ...process.env, TMPDIR: folder }, timeout: 60_000 })
      const answered = child.stdout.toString('utf8').match(/request\d+_/g) ?? []
      const recorded = new Set<string>()
      for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const add = (line: string): unknown => recorded.add(/request\d+_/.exec(line)?.[0] ?? '')
        if (/audit-[^/]*\.jsonl$/.test(file))
          readFileSync(join(folder, file), 'utf8').split('\n').slice(0, -1).forEach(add)
        else if (file.endsWith('.sealed')) new SealedLines(add).segment(readFileSync(join(folder, file)))
      }
      rmSync(folder, { recursive: true })
      assert.ok(answered.length > 100, `${answered.length} answered: ${child.stderr.toString('utf8')}`)
      assert.equal(child.signal, 'SIGKILL')
      assert.deepEqual(
        answered.filter((request) => !recorded.has(request)),
        [],
      )
    })
  }
})

suite('a certificate of the sidecar is renewed', () => {
  it('under load nothing is lost, and the old connections to the node go', async () => {
    const running = await world.sidecar({ name: 'renewed' })
    const clients = await Promise.all(
      [3, 4, 5].map((version) => world.client(running.port, 'alice', { version: version as 3 | 4 | 5 })),
    )
    let stop = false
    let answered = 0
    const work = clients.map(async (client, c) => {
      for (let i = 0; !stop; i++) {
        const text = `${select} WHERE k = '${c}-${i}'`
        assert.equal(await ask(client, i % 50, text), `echo: ${text}`)
        answered++
        if (i % 10 === 0) await ask(client, 60, i % 20 === 0 ? 'USE shop' : 'USE play')
      }
    })
    const old = new Set(running.node.connections)
    for (let round = 0; round < 6; round++) {
      await sleep(40)
      running.feed.renew(await world.freshCredentials('ringfence/sidecar/test/dc1/renewed'))
    }
    const sofar = answered
    await until('it goes on', () => answered > sofar + 50)
    stop = true
    await Promise.all(work)
    await until('the old connections are closed', () => [...old].every((each) => !running.node.connections.has(each)))
  })
})
