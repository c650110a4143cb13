/** Requests that waited for a primary sidecar: tens of thousands of one client are passed on, or refused, within its share of each turn. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BytesBudget } from '../base/bytes-budget.ts'
import { limits } from '../base/limits.ts'
import { queryEnvelope } from '../cql/encode.ts'
import { LoopShares } from '../session/loop-share.ts'
import { type Passing, passing } from './passing.ts'
import { Primary } from './primary.ts'
import type { SessionState } from './session-state.ts'
import type { UpstreamSession } from './upstream-session.ts'

const count = limits.heldRequestsMax - 1
/** What one is said to take. */
const requestMs = 0.01
const perTurnMax = limits.loopShareMs / requestMs + 1

class Relinking {
  nowMs = 0
  /** Streams, in the order in which they were passed on; and refused. */
  readonly sent: number[] = []
  readonly refused: number[] = []
  drained = false
  #next: (() => void)[] = []
  readonly #links: PromiseWithResolvers<{ readonly link: object } | undefined>[] = []
  readonly upstream = {
    usable: true,
    sidecar: { load: { primaries: 0, ejected: () => false } },
    leave() {},
    send: ({ stream }: Passing) => {
      this.nowMs += requestMs
      this.sent.push(stream)
    },
  }
  readonly primary: Primary

  constructor() {
    const shares = new LoopShares({ now: () => this.nowMs, nextTurn: (run) => void this.#next.push(run) })
    const client = {
      account: new BytesBudget().open('a', '1'),
      pause() {},
      drain: () => {
        this.drained = true
      },
      fault: (_reason: unknown, stream: number) => {
        this.nowMs += requestMs
        this.refused.push(stream)
      },
    }
    const sidecar = { link: {} }
    const state = {
      client,
      statements: { share: shares.share() },
      services: {
        nowMicros: () => this.nowMs * 1000,
        links: {
          sidecars: [],
          chooseWithin: () => {
            const one = Promise.withResolvers<typeof sidecar | undefined>()
            this.#links.push(one)
            return one.promise
          },
        },
      },
      upstreams: { open: () => this.upstream },
      keyspace: '',
      closed: false,
      streamOver() {},
    } as unknown as SessionState
    const owner = { onFault: (reason: unknown) => assert.fail(String(reason)) }
    this.primary = new Primary(state, owner, (request) => this.primary.send(request))
  }

  ask(stream: number): void {
    const envelope = queryEnvelope(4, stream, 'SELECT 1')
    this.primary.send(passing(envelope, 0, envelope.length))
  }

  /** A sidecar is found for whoever waits, or none. */
  async link(found: boolean): Promise<void> {
    this.#links.shift()!.resolve(found ? { link: {} } : undefined)
    await settled()
    if (found) this.primary.onOpened(this.upstream as unknown as UpstreamSession)
    await settled()
    // The end of the turn in which it came: whoever has had a share of it is not served once more.
    this.turn()
  }

  turn(): void {
    const due = this.#next
    this.#next = []
    for (const run of due) run()
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('requests that waited for a sidecar', () => {
  it('are passed on within a share of each turn, in order, and what comes meanwhile goes behind them', async () => {
    const relinking = new Relinking()
    for (let stream = 0; stream < count; stream++) relinking.ask(stream)
    assert.equal(relinking.sent.length, 0)
    await relinking.link(true)
    let turns = 0
    for (let before = 0; relinking.sent.length < count; before = relinking.sent.length, turns++) {
      if (turns > 0) relinking.turn()
      assert.ok(relinking.sent.length - before <= perTurnMax, `${relinking.sent.length - before} in one turn`)
      assert.ok(relinking.sent.length > before, 'it gets on')
      if (turns === 1) relinking.ask(count)
    }
    while (relinking.sent.length <= count) relinking.turn()
    assert.deepEqual(
      relinking.sent,
      Array.from({ length: count + 1 }, (_, stream) => stream),
    )
    assert.ok(turns > 50)
    relinking.ask(7)
    assert.equal(relinking.sent.at(-1), 7, 'then nobody waits')
  })

  it('go on waiting in order where the sidecar is lost in their midst', async () => {
    const relinking = new Relinking()
    for (let stream = 0; stream < 2_000; stream++) relinking.ask(stream)
    await relinking.link(true)
    const before = relinking.sent.length
    assert.ok(before > 0 && before < 2_000)
    relinking.upstream.usable = false
    relinking.turn()
    assert.equal(relinking.sent.length, before)
    relinking.upstream.usable = true
    await relinking.link(true)
    while (relinking.sent.length < 2_000) relinking.turn()
    assert.deepEqual(
      relinking.sent,
      Array.from({ length: 2_000 }, (_, stream) => stream),
    )
  })

  it('are refused within a share of each turn where there is none, each once, and the client is told to go', async () => {
    const relinking = new Relinking()
    for (let stream = 0; stream < count; stream++) relinking.ask(stream)
    await relinking.link(false)
    assert.ok(relinking.drained)
    for (let before = 0; relinking.refused.length < count; before = relinking.refused.length) {
      if (before > 0) relinking.turn()
      assert.ok(relinking.refused.length - before <= perTurnMax, `${relinking.refused.length - before} in one turn`)
      assert.ok(relinking.refused.length > before)
    }
    relinking.turn()
    assert.deepEqual(
      relinking.refused,
      Array.from({ length: count }, (_, stream) => stream),
    )
    assert.equal(relinking.sent.length, 0)
  })

  it('are nobody’s once the client is gone', async () => {
    const relinking = new Relinking()
    for (let stream = 0; stream < 2_000; stream++) relinking.ask(stream)
    await relinking.link(true)
    const before = relinking.sent.length
    relinking.primary.close()
    relinking.turn()
    relinking.turn()
    assert.equal(relinking.sent.length, before)
  })
})
