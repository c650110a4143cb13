import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BytesBudget } from '../base/bytes-budget.ts'
import { RingfenceError } from '../base/errors.ts'
import { envelopeHeaderBytes, headerOpcode, headerStream, headerVersion, writeHeader } from '../cql/protocol.ts'
import { FairSender, SessionQueue } from './fair-sender.ts'
import { Pieces, pieceBytesMax } from './pieces.ts'
import { Control, controlEnvelope, controlVersion } from './protocol.ts'

const mb = 1024 * 1024

function envelope(stream: number, bodyBytes: number): Buffer {
  const bytes = Buffer.allocUnsafe(envelopeHeaderBytes + bodyBytes)
  writeHeader(bytes, 0x84, 0, stream, 0x08, bodyBytes)
  for (let i = 0; i < bodyBytes; i++) bytes[envelopeHeaderBytes + i] = (i * 31 + stream * 7 + (i >> 8)) & 0xff
  return bytes
}

/** A link whose other end takes so much at a time as a test says. */
class Link {
  waitingBytes = 0
  readonly frames: { session: number; bytes: Buffer }[] = []
  readonly sender: FairSender
  #takenFrames = 0

  constructor(inPieces = true) {
    this.sender = new FairSender({ outbox: this, inPieces })
  }

  write(buffer: Buffer, start: number, end: number, stream: number, session: number): void {
    const bytes = Buffer.from(buffer.subarray(start, end))
    bytes.writeInt16BE(stream, 2)
    this.frames.push({ session, bytes })
    this.waitingBytes += bytes.length
  }

  /** As `LinkServer` does it. */
  send(queue: SessionQueue, bytes: Buffer, stream: number): void {
    if (this.sender.mustWait(queue, bytes.length)) this.sender.enqueue(queue, bytes, 0, bytes.length, stream)
    else this.sender.write(queue, bytes, 0, bytes.length, stream)
  }

  take(count = Number.POSITIVE_INFINITY): void {
    while (count-- > 0 && this.#takenFrames < this.frames.length) {
      this.waitingBytes -= this.frames[this.#takenFrames++]!.bytes.length
      this.sender.pump()
    }
  }

  /** What the other end makes of it: sessions and envelopes in the order in which they were whole. */
  received(): { session: number; bytes: Buffer }[] {
    const pieces = new Pieces(256 * mb)
    return this.frames.flatMap(({ session, bytes }) => {
      const isPiece = headerVersion(bytes, 0) === controlVersion && headerOpcode(bytes, 0) === Control.PIECE
      const whole = isPiece ? pieces.add(session, undefined, bytes, 0, bytes.length) : bytes
      return whole === undefined ? [] : [{ session, bytes: whole }]
    })
  }
}

describe('a fair way onto a link', () => {
  it('lets what is small leave at once, and what is large in pieces between which others get by', () => {
    const link = new Link()
    const gone: number[] = []
    const large = new SessionQueue(1, (bytes) => gone.push(bytes))
    const small = new SessionQueue(2, () => assert.fail('it never waits'))
    link.send(large, envelope(5, 20 * mb), 50)
    link.send(small, envelope(6, 100), 60)
    const at = link.frames.findIndex(({ session }) => session === 2)
    assert.ok(at >= 0 && link.waitingBytes < 512 * 1024, `${link.waitingBytes} bytes before it`)
    link.take(3)
    link.send(small, envelope(7, 100), 70)
    assert.equal(link.frames.at(-1)!.session, 2)
    link.take()
    assert.ok(link.frames.every(({ bytes }) => bytes.length <= pieceBytesMax + envelopeHeaderBytes))
    assert.deepEqual(gone, [envelopeHeaderBytes + 20 * mb])
    const [, , last] = link.received()
    const wanted = envelope(5, 20 * mb)
    wanted.writeInt16BE(50, 2)
    assert.ok(last!.bytes.equals(wanted))
  })

  it('gives turns to all who have much, and neither the first nor the largest has more', () => {
    const link = new Link()
    const queues = [1, 2, 3].map((session) => new SessionQueue(session, () => {}))
    for (const [i, queue] of queues.entries()) link.send(queue, envelope(i, (10 - i) * mb), i)
    for (let i = 0; i < 50; i++) link.send(queues[2]!, envelope(9, 1000), 9)
    link.take(150)
    const bytesOf = (session: number): number =>
      link.frames.reduce((sum, frame) => sum + (frame.session === session ? frame.bytes.length : 0), 0)
    const [one, two, three] = [bytesOf(1), bytesOf(2), bytesOf(3)]
    // The first filled the window before the others came.
    for (const other of [two, three]) assert.ok(Math.abs(one - other) < 0.5 * mb, `${one} ${two} ${three}`)
  })

  it('sends nothing of a paused session, and goes on where it stopped', () => {
    const link = new Link()
    const queue = new SessionQueue(1, () => {})
    const other = new SessionQueue(2, () => {})
    link.send(queue, envelope(1, mb), 1)
    link.sender.pause(queue)
    const sent = link.frames.length
    link.send(queue, envelope(2, 10), 2)
    link.send(other, envelope(3, 10), 3)
    link.take()
    assert.deepEqual(
      link.frames.slice(sent).map(({ session }) => session),
      [2],
    )
    link.sender.resume(queue)
    link.take()
    assert.deepEqual(
      link.received().map(({ session, bytes }) => `${session}/${headerStream(bytes, 0)}`),
      ['2/3', '1/1', '1/2'],
    )
  })

  it('sends whole envelopes to an older end', () => {
    const link = new Link(false)
    const queue = new SessionQueue(1, () => {})
    link.send(queue, envelope(1, 3 * mb), 4)
    link.take()
    assert.equal(link.frames.length, 1)
    assert.equal(link.frames[0]!.bytes.length, envelopeHeaderBytes + 3 * mb)
  })

  it('keeps order within a session, loses and doubles nothing, and gives back every byte, whatever comes', () => {
    const step = fc.oneof(
      fc.tuple(fc.constantFrom(0, 1, 2), fc.oneof(fc.nat(200), fc.nat(200_000))),
      fc.record({ take: fc.nat(12) }),
      fc.record({ pause: fc.nat(2) }),
      fc.record({ resume: fc.nat(2) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, inPieces) => {
        const link = new Link(inPieces)
        let held = 0
        const queues = [0, 1, 2].map(
          (session) =>
            new SessionQueue(session, (bytes) => {
              held -= bytes
            }),
        )
        const sent: Buffer[][] = [[], [], []]
        for (const [i, each] of steps.entries()) {
          if (Array.isArray(each)) {
            const [session, bodyBytes] = each
            const bytes = envelope(i, bodyBytes)
            if (link.sender.mustWait(queues[session]!, bytes.length)) held += bytes.length
            link.send(queues[session]!, bytes, i)
            sent[session]!.push(bytes)
          } else if ('take' in each) link.take(each.take)
          else if ('pause' in each) link.sender.pause(queues[each.pause]!)
          else link.sender.resume(queues[each.resume]!)
        }
        for (const queue of queues) link.sender.resume(queue)
        link.take()
        assert.equal(held, 0)
        const received = link.received()
        for (const [session, wanted] of sent.entries()) {
          const got = received.filter((each) => each.session === session)
          assert.equal(got.length, wanted.length)
          for (const [i, { bytes }] of got.entries()) assert.ok(bytes.equals(wanted[i]!))
        }
      }),
      { numRuns: 60 },
    )
  })

  it('goes on with as many small ones as may be in flight in a time that grows with their number', () => {
    const costOf = (count: number): number => {
      let written = 0
      const outbox = { waitingBytes: 0, write: () => void written++ }
      const sender = new FairSender({ outbox, inPieces: true })
      const queue = new SessionQueue(1, () => {})
      sender.pause(queue)
      const small = envelope(1, 20)
      for (let at = 0; at < count; at++) sender.enqueue(queue, small, 0, small.length, at)
      const began = performance.now()
      sender.resume(queue)
      assert.equal(written, count)
      return performance.now() - began
    }
    let least = Number.POSITIVE_INFINITY
    for (let run = 0; run < 10; run++) least = Math.min(least, costOf(32_768))
    // An array would take 400 to 900.
    assert.ok(least < 100, `${least} ms`)
  })

  it('drops what waits of a session that is over', () => {
    const link = new Link()
    let gone = 0
    const queue = new SessionQueue(1, (bytes) => {
      gone += bytes
    })
    link.send(queue, envelope(1, 2 * mb), 1)
    link.send(queue, envelope(2, 10), 2)
    link.sender.drop(queue)
    assert.equal(gone, 2 * mb + 10 + 2 * envelopeHeaderBytes)
    const frames = link.frames.length
    link.take()
    link.send(queue, envelope(3, mb), 3)
    assert.equal(link.frames.length, frames)
  })
})

describe('pieces', () => {
  const piece = (bytes: Buffer): Buffer => {
    const frame = controlEnvelope(Control.PIECE, {})
    const whole = Buffer.concat([frame.subarray(0, envelopeHeaderBytes), bytes])
    whole.writeInt32BE(bytes.length, 5)
    return whole
  }
  const add = (pieces: Pieces, bytes: Buffer, account?: Parameters<Pieces['add']>[1]): Buffer | undefined => {
    const frame = piece(bytes)
    return pieces.add(7, account, frame, 0, frame.length)
  }

  it('are counted while they are not whole, and dropped where there is no room, but for the header', () => {
    const bounds = {
      processBytesMax: 4 * mb,
      addressBytesMax: 4 * mb,
      identityBytesMax: 4 * mb,
      shareBytes: 0,
      roomTimeoutMs: 1000,
    }
    const budget = new BytesBudget({ ...bounds, connectionBytesMax: 2 * mb })
    const account = budget.open('a', 'b')
    const pieces = new Pieces(16 * mb)
    const whole = envelope(3, mb)
    assert.equal(add(pieces, whole.subarray(0, 1000), account), undefined)
    assert.equal(account.heldBytes, whole.length)
    assert.ok(add(pieces, whole.subarray(1000), account)?.equals(whole))
    assert.equal(pieces.refused, false)
    assert.equal(account.heldBytes, 0)

    const large = envelope(4, 3 * mb)
    for (let at = 0; at + 100_000 < large.length; at += 100_000) {
      assert.equal(add(pieces, large.subarray(at, at + 100_000), account), undefined)
      assert.equal(account.heldBytes, 0)
    }
    const rest = add(pieces, large.subarray(large.length - (large.length % 100_000)), account)
    assert.equal(pieces.refused, true)
    assert.equal(headerStream(rest!, 0), 4)
    assert.equal(account.heldBytes, 0)
  })

  it('that are dropped with their session give back what they took, once', () => {
    const budget = new BytesBudget()
    const account = budget.open('a', 'b')
    const pieces = new Pieces(16 * mb)
    add(pieces, envelope(1, mb).subarray(0, 50), account)
    pieces.drop(7)
    pieces.drop(7)
    add(pieces, envelope(1, mb).subarray(0, 50), account)
    pieces.dropAll()
    assert.equal(budget.heldBytes, 0)
  })

  const refused: Record<string, Buffer[]> = {
    'without a whole header': [envelope(1, 100).subarray(0, 8)],
    'of an envelope that is longer than it may be': [envelope(1, 101).subarray(0, 50)],
    'of a negative length': [Buffer.from('8400000108ffffffff00', 'hex')],
    'that are empty': [envelope(1, 100).subarray(0, 50), Buffer.alloc(0)],
    'that are longer than their envelope': [envelope(1, 100).subarray(0, 50), Buffer.alloc(60)],
  }
  for (const [name, frames] of Object.entries(refused)) {
    it(`${name} are refused`, () => {
      const pieces = new Pieces(100)
      assert.throws(
        () => {
          for (const bytes of frames) add(pieces, bytes)
        },
        (reason) => reason instanceof RingfenceError && reason.code === 'LINK',
      )
    })
  }
})
