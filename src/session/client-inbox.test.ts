/** How much of one client is looked at in a turn, whatever the size of the chunks in which it comes. */
import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { envelopeHeaderBytes, Opcode, writeHeader } from '../cql/protocol.ts'
import { sealSegment, segmentHeaderBytes, segmentTrailerBytes } from '../cql/segment.ts'
import { ClientInbox, type Requester } from './client-inbox.ts'
import { LoopShares } from './loop-share.ts'

/** What one of them takes. */
const envelopeMs = 0.05
const perShareMax = limits.loopShareMs / envelopeMs + 8

describe('what a client sends', () => {
  let nowMs: number
  let next: (() => void)[]
  let seen: number
  let inbox: ClientInbox

  beforeEach(() => {
    nowMs = 0
    next = []
    seen = 0
    const shares = new LoopShares({ now: () => nowMs, nextTurn: (run) => void next.push(run) })
    const client: Requester = {
      account: new BytesBudget().open('a', '1'),
      life: 'open',
      isReady: true,
      isHeld: false,
      onEnvelope: () => {
        seen++
        nowMs += envelopeMs
      },
      onDropped() {},
      onLater() {},
      onNoRoom() {},
      onFault: (reason) => assert.fail(String(reason)),
      refuse: (reason) => assert.fail(String(reason)),
    }
    inbox = new ClientInbox(client, shares.share())
  })

  function turn(): void {
    const due = next
    next = []
    for (const run of due) run()
  }

  /** In each turn no more than a share; in the end all. */
  function wholeWithinShares(count: number): void {
    assert.ok(seen <= perShareMax, `${seen} at once`)
    for (let before = seen; seen < count; before = seen) {
      turn()
      assert.ok(seen - before <= perShareMax, `${seen - before} in one turn`)
      assert.ok(seen > before || next.length > 0, 'it gets on')
    }
  }

  it('is looked at within a share of each turn where it comes in one chunk', () => {
    const count = 4_000
    inbox.push(options(count))
    wholeWithinShares(count)
  })

  it('is looked at within a share where a few bytes complete a segment of many envelopes', () => {
    const count = 14_000
    inbox.inbound.useSegments('none')
    const segment = segmentOf(options(count, 5))
    inbox.push(segment.subarray(0, -1000))
    assert.equal(seen, 0)
    inbox.push(segment.subarray(-1000))
    wholeWithinShares(count)
  })

  it('is looked at within a share where a few bytes come behind many that wait', () => {
    const count = 4_000
    inbox.push(options(count))
    const before = seen
    inbox.push(options(10))
    assert.equal(seen, before)
    seen = 0
    wholeWithinShares(count + 10 - before)
  })

  it('is looked at at once where it is little, until the share of the turn is used up', () => {
    for (let chunks = 1; chunks <= 100; chunks++) {
      inbox.push(options(1))
      assert.equal(seen, chunks)
    }
    for (let chunks = 0; chunks < 1_000; chunks++) inbox.push(options(1))
    assert.ok(seen > 500 && seen < 1_000, `a small request counts as some microseconds, and ${seen} went`)
    const before = seen
    inbox.push(options(1))
    assert.equal(seen, before)
    turn()
    turn()
    assert.ok(seen > before)
  })
})

function options(count: number, version = 4): Buffer {
  const all = Buffer.alloc(count * envelopeHeaderBytes)
  for (let at = 0; at < count; at++) {
    writeHeader(all.subarray(at * envelopeHeaderBytes), version, 0, at % 30_000, Opcode.OPTIONS, 0)
  }
  return all
}

function segmentOf(payload: Buffer): Buffer {
  const segment = Buffer.alloc(segmentHeaderBytes + payload.length + segmentTrailerBytes)
  payload.copy(segment, segmentHeaderBytes)
  sealSegment(segment, 0, payload.length, true)
  return segment
}
