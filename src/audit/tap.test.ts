/** Who looks is told of what matches, as the record has it; beyond its bounds it is told how much it was not told. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Opcode } from '../cql/protocol.ts'
import type { Decision } from '../policy/engine.ts'
import type { TransactionEvent } from './event.ts'
import type { AuditSession } from './record.ts'
import { permit, statementOf } from './sealed/log.fixture.ts'
import { Taps, tapBounds, tapFilterSchema, tapsMax } from './tap.ts'
import { Tapped } from './tapped.ts'

const denial = { kind: 'denial', rule: 'default-deny', revision: 7 } as unknown as Decision
const observed = { kind: 'permit', rule: 'a', observed: 'b', revision: 7 } as unknown as Decision

function whoOf(path: string, person?: string): AuditSession {
  const client = { address: '192.0.2.7', port: 4 }
  const workload = `spiffe://demo.local/${path}`
  return { session: 's-1', workload, person, authentication: 'certificate', client, protocolVersion: 4 }
}

function eventOf(more: Partial<TransactionEvent> = {}, who = whoOf('svc/orders')): TransactionEvent {
  return {
    kind: 'request',
    session: { notes: undefined, who },
    opcode: Opcode.QUERY,
    statement: statementOf("SELECT * FROM shop.orders WHERE id = 'CANARY'", ['shop.orders']),
    decision: permit,
    rule: '',
    consistency: 1,
    bytesIn: 90,
    outcome: 'ok',
    code: -1,
    message: '',
    messageIsOurs: false,
    rows: 1,
    bytesOut: 120,
    latencyMicros: 800,
    waitedMicros: 100,
    ...more,
  }
}

const refused = {
  client: { address: '192.0.2.8', port: 4 },
  driver: 'a driver',
  cause: 'expired',
  evidence: { hash: 'ab'.repeat(32) },
  gateway: undefined,
} as never

type Told = Readonly<Record<string, unknown>>

/** One who looks, and reads when a test says so. */
class Reader {
  readonly #pieces: AsyncIterator<string>
  readonly #gone = new AbortController()

  constructor(taps: Taps, query: Record<string, string>) {
    const pieces = taps.follow(tapFilterSchema.parse(query), this.#gone.signal)
    assert.ok(pieces, 'there is room for it')
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** The next piece, as lines; undefined at the end. */
  async read(): Promise<Told[] | undefined> {
    return linesOf(await this.readText())
  }

  async readText(): Promise<string | undefined> {
    const { done, value } = await this.#pieces.next()
    return done === true ? undefined : String(value)
  }

  leave(): void {
    this.#gone.abort()
  }
}

function linesOf(piece: string | undefined): Told[] | undefined {
  const lines = piece?.split('\n')
  if (lines !== undefined) assert.equal(lines.pop(), '', 'whole lines')
  return lines?.map((line) => JSON.parse(line) as Told)
}

function start(): { tapped: Tapped; taps: Taps; clock: { ms: number } } {
  const clock = { ms: Date.UTC(2026, 0, 1) }
  const tapped = new Tapped()
  return { tapped, taps: new Taps({ tapped, proxy: 'node1', revision: () => 7, nowMs: () => clock.ms }), clock }
}

/** Which of these events one is told of who asks for that, by their rows. */
async function toldOf(query: Record<string, string>, events: readonly TransactionEvent[]): Promise<unknown[]> {
  const { tapped, taps } = start()
  const reader = new Reader(taps, query)
  assert.deepEqual(
    (await reader.read())?.map(({ event }) => event),
    ['looking'],
  )
  for (const [rows, event] of events.entries()) tapped.ended({ ...event, rows })
  // What waits is taken now; where nothing does, it waits until it leaves.
  const pending = reader.read()
  reader.leave()
  return ((await pending) ?? []).map(({ rows }) => rows)
}

describe('the filter', () => {
  const alice = eventOf({}, whoOf('tool/cqlsh', 'corp/alice'))
  const bob = eventOf({}, whoOf('tool/cqlsh', 'corp/bob'))
  const orders = eventOf()
  const odd = eventOf({ statement: statementOf('SELECT * FROM shop."Odd"', ['shop."Odd"']) })
  const view = eventOf({ statement: statementOf('SELECT * FROM shop.by_day', ['shop.by_day', 'shop.orders']) })
  const stock = eventOf({ statement: statementOf('SELECT * FROM stock.b', ['stock.b']) })
  const none = eventOf({ statement: undefined, decision: undefined, rule: 'overloaded', outcome: 'error', code: 1 })
  const denied = eventOf({ decision: denial, outcome: 'error', code: 0x2100, latencyMicros: 0 })
  const seen = eventOf({ decision: observed })
  const failed = eventOf({ outcome: 'error', code: 0x2200, message: "a value 'CANARY'" })
  const lost = eventOf({ outcome: 'lost', code: 0 })
  const slow = eventOf({ latencyMicros: 40_000, waitedMicros: 10_000 })
  const logIn = eventOf({ kind: 'log-in', opcode: 0, statement: undefined, decision: undefined, rule: 'session' })

  const cases: readonly (readonly [string, Record<string, string>, TransactionEvent[], TransactionEvent[]])[] = [
    ['nothing named', {}, [alice, bob, orders, none, denied, failed, lost, logIn], []],
    ['a person', { person: 'alice' }, [alice], [bob, orders, none]],
    ['a person in full', { person: 'corp/alice' }, [alice], [bob, orders]],
    ['people by letters', { person: 'corp/*' }, [alice, bob], [orders]],
    ['a workload', { workload: 'svc/orders' }, [orders, logIn], [alice, bob]],
    ['a workload in full', { workload: 'spiffe://demo.local/tool/cqlsh' }, [alice, bob], [orders]],
    ['a part of a name', { workload: 'rders' }, [], [orders]],
    ['a keyspace', { keyspace: 'shop' }, [orders, odd, view], [stock, none, logIn]],
    ['a table', { keyspace: 'shop', table: 'orders' }, [orders, view], [odd, stock, none]],
    ['a table in quotes', { keyspace: 'shop', table: 'Odd' }, [odd], [orders, view]],
    ['what is refused', { verdict: 'deny' }, [denied, none], [orders, seen, failed, lost, logIn]],
    ['what is observed', { verdict: 'observe' }, [seen], [orders, denied]],
    ['what is permitted', { verdict: 'allow' }, [orders, failed, logIn], [denied, seen, none]],
    ['what fails', { errors: 'true' }, [denied, none, failed, lost], [orders, seen, logIn]],
    ['what takes long', { slowMs: '50' }, [slow], [orders, denied]],
    ['what takes longer', { slowMs: '50.001' }, [], [slow]],
    ['all that is named', { person: 'alice', keyspace: 'shop', verdict: 'deny' }, [], [alice, denied]],
  ]
  for (const [words, query, wanted, others] of cases) {
    it(`tells of ${words}, and of nothing else`, async () => {
      const told = await toldOf(query, [...wanted, ...others])
      assert.deepEqual(told, [...wanted.keys()])
    })
  }

  it('says what it does not know', () => {
    for (const query of [{ who: 'alice' }, { table: 'orders' }, { verdict: 'no' }, { slowMs: 'x' }, { person: '' }]) {
      assert.equal(tapFilterSchema.safeParse(query).success, false, JSON.stringify(query))
    }
  })

  it('has refused log-ins where nobody is named, for nobody came in', async () => {
    for (const [query, count] of [
      [{}, 1],
      [{ verdict: 'deny', errors: 'true' }, 1],
      [{ verdict: 'allow' }, 0],
      [{ person: 'alice' }, 0],
      [{ workload: 'svc/orders' }, 0],
      [{ keyspace: 'shop' }, 0],
      [{ slowMs: '1' }, 0],
    ] as const) {
      const { tapped, taps } = start()
      const reader = new Reader(taps, query)
      await reader.read()
      tapped.refused(refused)
      const pending = reader.read()
      reader.leave()
      const events = (await pending)?.map(({ event }) => event) ?? []
      assert.deepEqual(events, count === 1 ? ['log-in refused'] : [], JSON.stringify(query))
    }
  })

  it('tells no value and no literal, and who is strange in plain letters', async () => {
    const { tapped, taps } = start()
    const reader = new Reader(taps, {})
    await reader.read()
    tapped.ended({ ...failed, session: { notes: undefined, who: whoOf('svc/a', 'corp/\u202e\u001b[2J') } })
    const text = (await reader.readText()) ?? ''
    assert.match(text, /"person":"corp\/\\u202e\\u001b\[2J"/)
    assert.match(text, /^[ -~]*\n$/)
    assert.doesNotMatch(text, /CANARY/)
    reader.leave()
  })
})

describe('the bounds', () => {
  it('let so many look, and another when one has left; then nothing is told', async () => {
    const { tapped, taps } = start()
    const readers = Array.from({ length: tapsMax }, () => new Reader(taps, {}))
    assert.equal(taps.follow({}, new AbortController().signal), undefined)
    readers[0]!.leave()
    readers.push(new Reader(taps, {}))
    assert.equal(taps.size, tapsMax)
    for (const reader of readers) reader.leave()
    assert.equal(taps.size, 0)
    tapped.ended(eventOf())
    for (const reader of readers) assert.equal((await reader.read())?.[0]?.event, 'looking')
    for (const reader of readers) assert.equal(await reader.read(), undefined)
  })

  it('are not taken by who left before it was heard', async () => {
    const { taps } = start()
    const pieces = taps.follow({}, AbortSignal.abort())
    assert.equal(taps.size, 0)
    assert.equal((await pieces?.[Symbol.asyncIterator]().next())?.done, true)
  })

  it('leave out what is more than so many lines in a second, and say how many', async () => {
    const { tapped, taps, clock } = start()
    const reader = new Reader(taps, {})
    await reader.read()
    const { linesPerSecondMax } = tapBounds
    // The timer of who looks keeps no process alive.
    const alive = setInterval(() => {}, 1_000)
    let lines = 0
    // It reads at once, so that only the second is in its way.
    for (let n = 0; n < linesPerSecondMax; n += 100) {
      for (let at = 0; at < 100; at++) tapped.ended(eventOf())
      lines += (await reader.read())?.length ?? 0
    }
    assert.equal(lines, linesPerSecondMax)
    for (let n = 0; n < 50; n++) tapped.ended(eventOf())
    // Nothing else comes in that second, so that is told by itself.
    const told = await reader.read()
    assert.deepEqual(
      told?.map(({ event, count, proxy }) => [event, count, proxy]),
      [['left out', 50, 'node1']],
    )
    tapped.ended(eventOf())
    clock.ms += 1_000
    tapped.ended(eventOf({ rows: 5 }))
    const next = await reader.read()
    assert.deepEqual(
      next?.map(({ rows, event, count }) => rows ?? [event, count]),
      [5, ['left out', 1]],
    )
    reader.leave()
    clearInterval(alive)
  })

  it('leave out what a slow reader has no room for, and others hear of it all', async () => {
    const { tapped, taps, clock } = start()
    const slow = new Reader(taps, {})
    const quick = new Reader(taps, {})
    await quick.read()
    const sent = 2_000
    let lines = 0
    for (let n = 0; n < sent; n++) {
      clock.ms += 2
      tapped.ended(eventOf())
      lines += (await quick.read())?.length ?? 0
    }
    assert.equal(lines, sent)
    assert.equal((await slow.read())?.[0]?.event, 'looking')
    const told = (await slow.read()) ?? []
    const bytes = told.slice(0, -1).reduce((sum, line) => sum + Buffer.byteLength(JSON.stringify(line)) + 1, 0)
    assert.ok(bytes < tapBounds.waitingBytesMax + 4_096, `${bytes} bytes wait`)
    assert.deepEqual([told.at(-1)?.event, told.at(-1)?.count], ['left out', sent - told.length + 1])
    assert.ok(told.length > 100)
    slow.leave()
    quick.leave()
  })
})
