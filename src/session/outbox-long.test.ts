/** Long envelopes leave in windows: what a turn hands on, in which order, and what is left where nobody takes it. */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Collected, setMode } from '../cql/fixtures.ts'
import { Inbound } from '../cql/inbound.ts'
import { headerStream, writeHeader } from '../cql/protocol.ts'
import { segmentPayloadBytesMax } from '../cql/segment.ts'
import { Outbox } from './outbox.ts'
import { Turn } from './turn.ts'

const mebibyte = 1024 * 1024
const longBytes = 12 * mebibyte
/** A window, a part more, and what was written before. */
const turnBytesMax = 512 * 1024 + segmentPayloadBytesMax + 64 * 1024

function response(version: number, stream: number, bodyBytes: number): Buffer {
  const envelope = Buffer.allocUnsafe(9 + bodyBytes)
  writeHeader(envelope, version | 0x80, 0, stream, 0x08, bodyBytes)
  for (let i = 0; i < bodyBytes; i++) envelope[9 + i] = (i * 31 + stream * 7 + (i >> 8)) & 0xff
  return envelope
}

/** A socket that takes all that it is given at once, and counts the bytes of each turn. */
class Taking extends Writable {
  readonly chunks: Buffer[] = []
  bytes = 0

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(Buffer.from(chunk))
    this.bytes += chunk.length
    done()
  }

  takeBytes(): number {
    const { bytes } = this
    this.bytes = 0
    return bytes
  }
}

/** One that takes nothing until it is told to. */
class Stuck extends Writable {
  readonly held: (() => void)[] = []

  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    this.held.push(done)
  }

  take(): void {
    this.held.shift()?.()
  }
}

const modes = { bare: 'bare', 'body-lz4': 'bare-lz4', segments: 'segments', 'segments-lz4': 'segments-lz4' } as const

describe('a long envelope', () => {
  for (const framing of Object.keys(modes) as (keyof typeof modes)[]) {
    it(`leaves in windows, in order with what is before and behind it: ${framing}`, async () => {
      const version = framing.startsWith('segments') ? 5 : 4
      const socket = new Taking()
      const outbox = new Outbox(socket, new Turn(), { framing })
      const sizes = [10, longBytes, 700, 300_000, 0, longBytes, 200_000, 5]
      const sent = sizes.map((size, stream) => response(version, stream, size))
      // Whole buffers and parts of buffers, with another stream than they have.
      for (const [stream, envelope] of sent.entries()) {
        const given = stream % 2 === 0 ? Buffer.concat([Buffer.alloc(3), envelope]) : Buffer.from(envelope)
        const start = given.length - envelope.length
        given.writeInt16BE(99, start + 2)
        outbox.write(given, start, given.length, stream)
        if (start > 0) given.fill(0xdd)
      }
      let turns = 0
      while (outbox.waitingBytes > 0 && turns < 10_000) {
        await nextTurn()
        assert.ok(socket.takeBytes() <= turnBytesMax, 'no more than a window in a turn')
        turns++
      }
      const inbound = setMode(new Inbound('responses', 64 * mebibyte), modes[framing])
      const found = new Collected()
      inbound.push(Buffer.concat(socket.chunks), found)
      assert.deepEqual(
        found.envelopes.map((each) => headerStream(each, 0)),
        sizes.map((_, stream) => stream),
      )
      for (const [stream, envelope] of sent.entries()) assert.ok(found.envelopes[stream]!.equals(envelope))
    })
  }

  it('waits for the socket, counts until it is gone, and is dropped with the connection', async () => {
    const socket = new Stuck()
    let isOver = 0
    const outbox = new Outbox(socket, new Turn(), { onLongOver: () => isOver++ })
    outbox.send(response(4, 1, longBytes))
    outbox.send(response(4, 2, 100))
    for (let i = 0; i < 20; i++) await nextTurn()
    assert.ok(socket.writableLength <= turnBytesMax)
    assert.ok(outbox.waitingBytes >= longBytes)
    assert.equal(outbox.hasLong, true)
    for (let i = 0; i < 1000 && outbox.hasLong; i++) {
      socket.take()
      await nextTurn()
    }
    assert.equal(isOver, 1)
    assert.ok(outbox.waitingBytes <= turnBytesMax)
    outbox.send(response(4, 3, longBytes))
    outbox.close()
    assert.equal(outbox.hasLong, false)
    assert.ok(outbox.waitingBytes <= turnBytesMax)
  })

  it('has one share of a turn with all others, and each of them gets on', async () => {
    const turn = new Turn()
    const sockets = Array.from({ length: 200 }, () => new Taking())
    const outboxes = sockets.map((socket) => new Outbox(socket, turn, { framing: 'segments' }))
    const answer = response(5, 1, longBytes)
    for (const outbox of outboxes) outbox.write(answer, 0, answer.length, 1)
    await nextTurn()
    const inOneTurn = sockets.filter((socket) => socket.bytes > 0).length
    assert.ok(inOneTurn < sockets.length, `${inOneTurn} of them in one turn`)
    while (sockets.some((socket) => socket.bytes === 0)) await nextTurn()
    const bytes = sockets.map((socket) => socket.bytes)
    assert.ok(Math.max(...bytes) <= 2 * turnBytesMax, 'the last begins before the first goes on for long')
    for (const outbox of outboxes) outbox.close()
  })

  it('leaves after its record only, and not at all where that fails', async () => {
    const turn = new Turn()
    let isRecorded = false
    turn.before(() => isRecorded)
    for (const recorded of [false, true]) {
      isRecorded = recorded
      const socket = new Taking()
      socket.on('error', () => {})
      const outbox = new Outbox(socket, turn)
      outbox.send(response(4, 1, longBytes))
      assert.equal(socket.bytes, 0)
      for (let i = 0; i < 500; i++) await nextTurn()
      assert.equal(socket.bytes, recorded ? longBytes + 9 : 0)
      assert.equal(socket.destroyed, !recorded)
    }
  })
})
