/**
 * What leaves through an outbox is read again by `Inbound`, whose own tests compare it with bytes of real drivers and nodes.
 */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { Collected, setMode } from '../cql/fixtures.ts'
import { Inbound } from '../cql/inbound.ts'
import { headerStream, writeHeader } from '../cql/protocol.ts'
import { segmentPayloadBytesMax } from '../cql/segment.ts'
import { FrameSplitter } from '../link/splitter.ts'
import { Outbox } from './outbox.ts'
import type { Slab } from './slab.ts'
import { Turn } from './turn.ts'

const mebibyte = 1024 * 1024

class Sink extends Writable {
  readonly chunks: Buffer[] = []

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(Buffer.from(chunk))
    done()
  }
}

/** A response of `bodyBytes`, with a body in which a shift or an overwrite shows. */
function response(version: number, stream: number, bodyBytes: number, seed: number): Buffer {
  const envelope = Buffer.allocUnsafe(9 + bodyBytes)
  writeHeader(envelope, version | 0x80, 0, stream, 0x08, bodyBytes)
  for (let i = 0; i < bodyBytes; i++) envelope[9 + i] = (i * 31 + seed * 7 + (i >> 8)) & 0xff
  return envelope
}

/** Until everything has left: long envelopes take more turns than one. */
async function passed(outbox: Outbox): Promise<void> {
  for (let turns = 0; outbox.waitingBytes > 0 && turns < 1000; turns++) await nextTurn()
  assert.equal(outbox.waitingBytes, 0)
}

const modes = { bare: 'bare', 'body-lz4': 'bare-lz4', segments: 'segments', 'segments-lz4': 'segments-lz4' } as const

async function roundTrip(framing: keyof typeof modes, turns: readonly (readonly number[])[]): Promise<void> {
  const version = framing.startsWith('segments') ? 5 : 4
  const sink = new Sink({ highWaterMark: 64 * mebibyte })
  const outbox = new Outbox(sink, new Turn(), { framing })
  const sent: Buffer[] = []
  let count = 0
  for (const sizes of turns) {
    for (const size of sizes) {
      const envelope = response(version, 7, size, count)
      // Somewhere inside a larger buffer, as answers of a node are.
      const borrowed = Buffer.concat([Buffer.alloc(5, 0xee), envelope, Buffer.alloc(3, 0xee)])
      outbox.write(borrowed, 5, 5 + envelope.length, count)
      borrowed.fill(0xdd)
      envelope.writeInt16BE(count, 2)
      sent.push(envelope)
      count++
    }
    await nextTurn()
  }
  await passed(outbox)
  for (const chunkBytes of [undefined, 4093]) {
    const inbound = setMode(new Inbound('responses', 64 * mebibyte), modes[framing])
    const found = new Collected()
    const wire = Buffer.concat(sink.chunks)
    for (let at = 0; at < wire.length; at += chunkBytes ?? wire.length) {
      inbound.push(Buffer.from(wire.subarray(at, at + (chunkBytes ?? wire.length))), found)
    }
    assert.equal(found.envelopes.length, sent.length)
    for (const [i, envelope] of sent.entries()) assert.ok(found.envelopes[i]!.equals(envelope), `envelope ${i}`)
    assert.equal(inbound.collectingBytes, 0)
  }
}

describe('outbox', () => {
  const edge = segmentPayloadBytesMax - 9
  const slab = 64 * 1024
  for (const framing of Object.keys(modes) as (keyof typeof modes)[]) {
    it(`${framing}: small, empty and large envelopes come out whole and in order`, async () => {
      await roundTrip(framing, [[0, 1, 63, 64, 65], [100, 200], [], [5000]])
    })

    it(`${framing}: an envelope at, below and above the largest segment`, async () => {
      await roundTrip(framing, [
        [edge - 1, edge, edge + 1, 3],
        [10, edge + 1, 10],
        [3 * segmentPayloadBytesMax + 17, 1],
      ])
    })

    it(`${framing}: slabs change under a turn of many envelopes`, async () => {
      await roundTrip(framing, [
        Array.from({ length: 300 }, (_, i) => 700 + i),
        [slab - 30, slab - 19, slab, 40_000, 40_000],
      ])
    })

    it(`${framing}: any sizes in any turns`, async () => {
      const size = fc.oneof(
        fc.nat(300),
        fc.nat(70_000),
        fc.integer({ min: edge - 20, max: edge + 20 }),
        fc.nat(400_000),
      )
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(size, { maxLength: 12 }), { maxLength: 4 }), (turns) =>
          roundTrip(framing, turns),
        ),
        { numRuns: 15 },
      )
    })
  }

  it('prefixed: frames come out with their session, their stream and their bytes', async () => {
    const sink = new Sink()
    const outbox = new Outbox(sink, new Turn(), { framing: 'prefixed' })
    const sizes = [0, 10, 70_000, 5, 200_000, 64 * 1024 - 13, 1]
    for (const [i, size] of sizes.entries()) {
      outbox.write(response(4, 1, size, i), 0, 9 + size, i * 100, 0xffff_fff0 + i)
    }
    await nextTurn()
    await nextTurn()
    const splitter = new FrameSplitter(mebibyte)
    const found: string[] = []
    splitter.push(Buffer.concat(sink.chunks), {
      onFrame: (session, buffer, start, end) => {
        const i = found.length
        const wanted = response(4, i * 100, sizes[i]!, i)
        assert.ok(buffer.subarray(start, end).equals(wanted))
        found.push(`${session}/${headerStream(buffer, start)}`)
      },
    })
    assert.deepEqual(
      found,
      sizes.map((_, i) => `${0xffff_fff0 + i}/${i * 100}`),
    )
  })

  it('body-lz4: a body of more than a mebibyte leaves as it is, for it would be one block', async () => {
    for (const [bodyBytes, isCompressed] of [
      [63, false],
      [64, true],
      [mebibyte, true],
      [mebibyte + 1, false],
    ] as const) {
      const sink = new Sink({ highWaterMark: 64 * mebibyte })
      const outbox = new Outbox(sink, new Turn(), { framing: 'body-lz4' })
      const envelope = response(4, 7, bodyBytes, 1)
      outbox.send(envelope)
      await passed(outbox)
      const sent = Buffer.concat(sink.chunks)
      assert.equal((sent[1]! & 1) === 1, isCompressed, `${bodyBytes} bytes`)
      if (!isCompressed) assert.ok(sent.equals(envelope))
    }
  })

  it('a turn with many envelopes is one write, and one segment in v5', async () => {
    for (const framing of ['bare', 'segments'] as const) {
      const sink = new Sink()
      const outbox = new Outbox(sink, new Turn(), { framing })
      for (let i = 0; i < 50; i++) outbox.write(response(5, 1, 100, i), 0, 109, i)
      await nextTurn()
      await nextTurn()
      assert.equal(sink.chunks.length, 1)
      assert.equal(sink.chunks[0]!.length, 50 * 109 + (framing === 'segments' ? 10 : 0))
    }
  })

  it('READY leaves bare and what follows it in segments, in one turn', async () => {
    const sink = new Sink()
    const outbox = new Outbox(sink, new Turn())
    const ready = response(5, 0, 0, 0)
    outbox.send(ready)
    outbox.use('segments')
    const after = response(5, 3, 44, 1)
    outbox.send(after)
    await nextTurn()
    await nextTurn()
    const wire = Buffer.concat(sink.chunks)
    assert.ok(wire.subarray(0, 9).equals(ready))
    const inbound = setMode(new Inbound('responses', mebibyte), 'segments')
    const found = new Collected()
    inbound.push(Buffer.from(wire.subarray(9)), found)
    assert.deepEqual(found.envelopes, [after])
  })

  it('keeps the bytes of an envelope that may be sent again, though the slab goes on and is changed', async () => {
    for (const framing of ['bare', 'segments'] as const) {
      const sink = new Sink()
      const outbox = new Outbox(sink, new Turn(), { framing, requests: true })
      const kept: { slab: Buffer; at: number; bytes: number; wanted: Buffer }[] = []
      for (const [i, size] of [10, 50_000, 50_000, 140_000, 300, 131_000, 20].entries()) {
        outbox.write(response(5, 9, size, i), 0, 9 + size, i)
        outbox.lastSlab.pin()
        kept.push({
          slab: outbox.lastSlab.bytes,
          at: outbox.lastAt,
          bytes: outbox.lastBytes,
          wanted: response(5, i, size, i),
        })
        if (i % 2 === 1) await nextTurn()
      }
      await nextTurn()
      for (let i = 0; i < 200; i++) outbox.write(response(5, 9, 900, i), 0, 909, i)
      await nextTurn()
      for (const { slab: bytes, at, bytes: length, wanted } of kept)
        assert.ok(bytes.subarray(at, at + length).equals(wanted))
    }
  })

  it('begins its slab again when all of it has left, and not before', async () => {
    const held: (() => void)[] = []
    const socket = new Writable({ write: (_chunk, _encoding, done) => void held.push(done), highWaterMark: mebibyte })
    const outbox = new Outbox(socket, new Turn())
    const places: number[] = []
    const turn = async (): Promise<void> => {
      outbox.write(response(4, 1, 91, 0), 0, 100, 1)
      places.push(outbox.lastAt)
      await nextTurn()
      await nextTurn()
    }
    await turn()
    await turn()
    for (const done of held.splice(0)) done()
    for (const done of held.splice(0)) done()
    outbox.lastSlab.pin()
    await turn()
    held.shift()?.()
    outbox.lastSlab.unpin()
    await turn()
    assert.deepEqual(places, [0, 100, 200, 0])
  })

  it('overwrites nothing that the socket has not taken or that is pinned, at any pace', async () => {
    const size = fc.oneof(fc.nat(300), fc.nat(30_000), fc.nat(90_000))
    const step = fc.record({ sizes: fc.array(size, { maxLength: 8 }), taken: fc.nat(4), unpinned: fc.nat(6) })
    const run = async (
      steps: readonly { sizes: number[]; taken: number; unpinned: number }[],
      shared: boolean,
    ): Promise<void> => {
      const taken: Buffer[] = []
      const held: (() => void)[] = []
      const socket = new Writable({
        highWaterMark: mebibyte,
        // What a socket has not taken it reads later.
        write: (chunk: Buffer, _encoding, done) => {
          held.push(() => {
            taken.push(Buffer.from(chunk))
            done()
          })
        },
      })
      const outbox = new Outbox(socket, new Turn(), { shared })
      const sent: Buffer[] = []
      const pinned: { slab: Slab; at: number; wanted: Buffer }[] = []
      for (const { sizes, taken: takes, unpinned } of steps) {
        for (const bytes of sizes) {
          const wanted = response(4, sent.length, bytes, sent.length)
          outbox.send(wanted)
          outbox.lastSlab.pin()
          pinned.push({ slab: outbox.lastSlab, at: outbox.lastAt, wanted })
          sent.push(wanted)
        }
        await nextTurn()
        for (let i = 0; i < takes; i++) held.shift()?.()
        for (const { slab, at, wanted } of pinned) {
          assert.ok(slab.bytes.subarray(at, at + wanted.length).equals(wanted))
        }
        for (const { slab } of pinned.splice(0, unpinned)) slab.unpin()
      }
      // Something shared waits for three turns more at most.
      for (let i = 0; i < 5; i++) await nextTurn()
      while (held.length > 0) held.shift()?.()
      assert.ok(Buffer.concat(taken).equals(Buffer.concat(sent)))
    }
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.boolean(), run), { numRuns: 60 })
  })

  it('counts what the peer has not taken, and drops everything after close', async () => {
    const held: (() => void)[] = []
    const socket = new Writable({ write: (_chunk, _encoding, done) => void held.push(done), highWaterMark: 1 })
    const outbox = new Outbox(socket, new Turn())
    outbox.write(response(4, 1, 91, 0), 0, 100, 1)
    assert.equal(outbox.waitingBytes, 100)
    await nextTurn()
    await nextTurn()
    assert.equal(outbox.waitingBytes, 100)
    held[0]!()
    await nextTurn()
    assert.equal(outbox.waitingBytes, 0)
    outbox.close()
    outbox.write(response(4, 1, 91, 0), 0, 100, 1)
    assert.equal(outbox.waitingBytes, 0)
  })

  it('leaves its memory to the next one when it is closed, unless its socket has not taken all, or requests may be sent again from there', async () => {
    const memoryOf = (chunk: Buffer): ArrayBufferLike => chunk.buffer
    /** Where the bytes lie of one that has sent an envelope, and is closed. */
    async function sent(takes: boolean, requests = false): Promise<ArrayBufferLike> {
      let where: ArrayBufferLike | undefined
      const socket = new Writable({
        write: (chunk: Buffer, _encoding, done) => {
          where = memoryOf(chunk)
          if (takes) done()
        },
      })
      const outbox = new Outbox(socket, new Turn(), { requests })
      outbox.send(response(4, 1, 91, 0))
      await nextTurn()
      await nextTurn()
      outbox.close()
      // Closed twice it is given up once.
      outbox.close()
      assert.ok(where !== undefined)
      return where
    }
    const first = await sent(true)
    assert.equal(await sent(true), first)
    assert.equal(await sent(false), first)
    assert.notEqual(await sent(true), first)
    const ofRequests = await sent(true, true)
    assert.notEqual(await sent(true), ofRequests)
    const [one, another] = [new Sink(), new Sink()]
    for (const sink of [one, another]) new Outbox(sink, new Turn()).send(response(4, 1, 91, 0))
    await nextTurn()
    await nextTurn()
    assert.deepEqual(one.chunks, another.chunks)
  })
})

describe('an outbox that many share', () => {
  /** Envelopes of each turn in; envelopes of each write out, and the turn in which it was made. */
  async function writesOf(turns: readonly number[]): Promise<[number, number][]> {
    const writes: [number, number][] = []
    let now = 0
    const socket = new Writable({
      highWaterMark: mebibyte,
      write: (chunk: Buffer, _encoding, done) => {
        writes.push([now, chunk.length / 100])
        done()
      },
    })
    const turn = new Turn()
    const outbox = new Outbox(socket, turn, { shared: true })
    const envelope = response(4, 1, 91, 0)
    for (const [index, count] of turns.entries()) {
      now = index
      for (let i = 0; i < count; i++) outbox.write(envelope, 0, 100, 1)
      // Now the turn's end is asked for before ours, and is behind us when this goes on.
      turn.wake()
      await nextTurn()
    }
    return writes
  }

  it('waits for no one while requests come one by one', async () => {
    const expected = [1, 1, 3, 1].map((count, index): [number, number] => [index, count])
    assert.deepEqual(await writesOf([1, 1, 3, 1]), expected)
  })

  it('waits in a flow until there are sixteen, a turn brings nothing, or three turns are over', async () => {
    // 8: nothing waited yet, for the write before had none.
    assert.deepEqual(await writesOf([8, 6, 6, 6, 0]), [
      [0, 8],
      [3, 18],
    ])
    assert.deepEqual(await writesOf([8, 6, 0, 0]), [
      [0, 8],
      [2, 6],
    ])
    assert.deepEqual(await writesOf([8, 1, 1, 1, 1, 1, 0]), [
      [0, 8],
      [4, 4],
      [6, 1],
    ])
    assert.deepEqual(await writesOf([8, 20, 0]), [
      [0, 8],
      [1, 20],
    ])
  })
})

describe('the turn', () => {
  it('runs the record before any socket, also when only the record has something', async () => {
    const order: string[] = []
    const turn = new Turn()
    turn.before(() => order.push('record') > 0)
    turn.add({ flushTurn: () => order.push('socket 1'), dropTurn: () => {} })
    turn.add({ flushTurn: () => order.push('socket 2'), dropTurn: () => {} })
    await nextTurn()
    await nextTurn()
    turn.wake()
    await nextTurn()
    await nextTurn()
    assert.deepEqual(order, ['record', 'socket 1', 'socket 2', 'record'])
  })

  it('lets nothing leave where the record failed, not even from full slabs, and goes on in the next turn', async () => {
    for (const bytes of [10, 200_000]) {
      const turn = new Turn()
      let fails = true
      turn.before(() => !fails)
      const [sink, requests, later] = [new Sink(), new Sink(), new Sink()]
      for (const each of [sink, requests, later]) each.on('error', () => {})
      const outbox = new Outbox(sink, turn)
      for (let i = 0; i < 3; i++) outbox.send(response(4, 1, bytes, i))
      new Outbox(requests, turn, { requests: true }).send(response(4, 1, 10, 1))
      await nextTurn()
      await nextTurn()
      assert.equal(sink.chunks.length, 0)
      assert.ok(sink.destroyed)
      assert.equal(requests.chunks.length, 0)
      fails = false
      new Outbox(later, turn).send(response(4, 1, bytes, 1))
      await nextTurn()
      await nextTurn()
      assert.equal(later.chunks.length, 1)
    }
  })

  it('writes the record before a slab that is full in the middle of a turn', () => {
    const order: string[] = []
    const turn = new Turn()
    turn.before(() => order.push('record') > 0)
    const sink = new Sink()
    sink._write = (_chunk, _encoding, done) => {
      order.push('socket')
      done()
    }
    const outbox = new Outbox(sink, turn)
    for (let i = 0; i < 4; i++) outbox.send(response(4, 1, 30_000, i))
    assert.deepEqual(order.slice(0, 2), ['record', 'socket'])
  })

  it('reads the clock once a turn', async () => {
    const turn = new Turn()
    const first = turn.nowMicros()
    const until = performance.now() + 3
    while (performance.now() < until);
    assert.equal(turn.nowMicros(), first)
    await nextTurn()
    await nextTurn()
    assert.ok(turn.nowMicros() > first)
  })
})
