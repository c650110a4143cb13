/** What holds for a client whatever door it came by: a driver's connection, a session on a mesh link, and one that a test adds. */
import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { faultsContained } from '../../src/base/contained.ts'
import { RingfenceError } from '../../src/base/errors.ts'
import { queryEnvelope, readyEnvelope, startupEnvelope } from '../../src/cql/encode.ts'
import { envelopeHeaderBytes, headerOpcode, headerStream, Opcode } from '../../src/cql/protocol.ts'
import { proofs } from '../../src/identity/proofs/index.ts'
import { trustOf } from '../../src/identity/proofs/proof.ts'
import type { VerifiedIdentity } from '../../src/identity/verified.ts'
import { FairSender } from '../../src/link/fair-sender.ts'
import { Control } from '../../src/link/protocol.ts'
import type { Backend, Client, ClientInfo } from '../../src/session/backend.ts'
import type { ClientLife } from '../../src/session/client-life.ts'
import { ClientConnection } from '../../src/session/connection.ts'
import { Turn } from '../../src/session/turn.ts'
import { LinkedClient } from '../../src/sidecar/linked-client.ts'
import type { EnforcedSession } from '../../src/sidecar/session.ts'
import { describe } from './client.ts'
import { MemoryDoor } from './memory-door.ts'
import { shownBy } from './passport-of.ts'
import { type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const thrown = { INVALID: new RingfenceError('INVALID', 'no such thing'), OURS: new Error('a fault of our own') }

/** Keeps requests until a test answers them; throws at those that name a fault, at once or later. */
class FakeBackend implements Backend {
  readonly streams: number[] = []
  closedCount = 0

  request(buffer: Buffer, start: number, end: number): Promise<void> | undefined {
    const text = buffer.toString('latin1', start, end)
    // Its type allows that: what gives nothing may be `async`.
    if (text.includes('LATER')) return Promise.reject(thrown.OURS)
    for (const [name, fault] of Object.entries(thrown)) if (text.includes(name)) throw fault
    this.streams.push(headerStream(buffer, start))
    return undefined
  }

  close(): void {
    this.closedCount++
  }
}

/** One client at a door, and what its other end sees. */
interface Visitor {
  readonly client: ClientLife
  readonly backend: FakeBackend
  readonly budget: BytesBudget
  /** Comes in by the door. */
  send(envelope: Buffer): void
  /** What went out by it. */
  answers(): readonly Buffer[]
  isPaused(): boolean
  hasEnded(): boolean
}

interface Door {
  /** How much later than the proof's end a client ends. */
  readonly graceMs: number
  readonly open: (expiresAtMs: number) => Promise<Visitor>
}

const infoOf = (expiresAtMs: number): ClientInfo => ({
  identity: {
    subject: 'spiffe://demo.local/svc/a',
    methods: ['certificate'],
    key: 'a',
    expiresAtMs,
  } as unknown as VerifiedIdentity,
  evidence: undefined,
  address: '192.0.2.1',
  port: 1,
  dialledAddress: '',
  dialledPort: 0,
})

function envelopesIn(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at + envelopeHeaderBytes <= bytes.length; ) {
    const end = at + envelopeHeaderBytes + bytes.readInt32BE(at + 5)
    found.push(bytes.subarray(at, end))
    at = end
  }
  return found
}

async function byConnection(expiresAtMs: number): Promise<Visitor> {
  const [backend, budget] = [new FakeBackend(), new BytesBudget()]
  const written: Buffer[] = []
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(Buffer.from(chunk))
      done()
    },
  })
  const client = new ClientConnection({
    accepted: {
      addresses: { address: '192.0.2.1', port: 1, dialledAddress: '', dialledPort: 0 },
      entry: { info: infoOf(expiresAtMs), refusal: undefined },
      socket,
      reset: () => void socket.destroy(),
    },
    budget,
    turn: new Turn(),
    open: (_client, _startup, ready) => {
      queueMicrotask(ready)
      return backend
    },
    nowMs: Date.now,
    onClosed() {},
  })
  const answers = (): Buffer[] =>
    envelopesIn(Buffer.concat(written)).filter((envelope) => headerOpcode(envelope, 0) !== Opcode.READY)
  socket.push(startupEnvelope(4, 1, new Map([['CQL_VERSION', '3.0.0']])))
  await until('it is ready', () => client.state === 'ready')
  return {
    client,
    backend,
    budget,
    send: (envelope) => void socket.push(envelope),
    answers,
    isPaused: () => socket.isPaused(),
    hasEnded: () => socket.writableEnded || socket.destroyed,
  }
}

async function byLink(expiresAtMs: number): Promise<Visitor> {
  const [backend, budget] = [new FakeBackend(), new BytesBudget()]
  const answers: Buffer[] = []
  let isPaused = false
  let hasEnded = false
  const outbox = {
    waitingBytes: 0,
    write(buffer: Buffer, start: number, end: number, stream: number) {
      const copy = Buffer.from(buffer.subarray(start, end))
      copy.writeInt16BE(stream, 2)
      answers.push(copy)
    },
  }
  const client = new LinkedClient({
    link: {
      sender: new FairSender({ outbox, inPieces: true }),
      drop: () => {
        hasEnded = true
      },
      tell: (_number, control) => {
        isPaused = control === Control.PAUSE
      },
    },
    number: 7,
    info: infoOf(expiresAtMs),
    account: budget.open('a', '192.0.2.1'),
    version: 4,
  })
  client.begin(backend as Backend as EnforcedSession)
  return {
    client,
    backend,
    budget,
    send: (envelope) => client.request(envelope, 0, envelope.length),
    answers: () => answers,
    isPaused: () => isPaused,
    hasEnded: () => hasEnded,
  }
}

async function inMemory(expiresAtMs: number): Promise<Visitor> {
  const [backend, budget] = [new FakeBackend(), new BytesBudget()]
  const client = new MemoryDoor(infoOf(expiresAtMs), budget)
  client.use(backend)
  return {
    client,
    backend,
    budget,
    send: (envelope) => client.ask(envelope),
    answers: () => client.answers,
    isPaused: () => !client.reads,
    hasEnded: () => client.ended !== undefined,
  }
}

const doors: Record<string, Door> = {
  'a driver’s connection': { graceMs: 0, open: byConnection },
  'a mesh link': { graceMs: 1000, open: byLink },
  'a door that a test adds': { graceMs: 0, open: inMemory },
}

const query = (stream: number, text = select): Buffer => queryEnvelope(4, stream, text)
const give = (client: Client, stream: number): void => {
  const envelope = readyEnvelope(4, stream)
  envelope[4] = Opcode.RESULT
  client.answer(envelope, 0, envelope.length, stream)
}
const resultOf = (stream: number, bytes: number): Buffer => {
  const envelope = Buffer.concat([readyEnvelope(4, stream), Buffer.alloc(bytes)])
  envelope[4] = Opcode.RESULT
  envelope.writeInt32BE(bytes, 5)
  return envelope
}
const hourMs = 3_600_000

for (const [name, { graceMs, open }] of Object.entries(doors)) {
  const visit = (expiresAtMs = Date.now() + hourMs): Promise<Visitor> => open(expiresAtMs)
  const asked = async (visitor: Visitor, ...streams: number[]): Promise<void> => {
    for (const stream of streams) visitor.send(query(stream))
    await until('the requests are there', () => visitor.backend.streams.length >= streams.length)
  }

  suite(`a client by ${name}`, () => {
    it('has its requests served, and its answers by their streams', async () => {
      const visitor = await visit()
      await asked(visitor, 1, 2, 3)
      assert.deepEqual(visitor.backend.streams, [1, 2, 3])
      assert.equal(visitor.client.inFlight, 3)
      for (const stream of [3, 1, 2]) give(visitor.client, stream)
      await until('they leave', () => visitor.answers().length === 3)
      assert.deepEqual(
        visitor.answers().map((answer) => headerStream(answer, 0)),
        [3, 1, 2],
      )
      assert.equal(visitor.client.inFlight, 0)
      visitor.client.close('over')
    })

    it('is answered what is thrown at a request, and goes on', async () => {
      const visitor = await visit()
      visitor.send(query(4, 'INVALID'))
      await until('it is answered', () => visitor.answers().length === 1)
      assert.equal(describe(visitor.answers()[0]!), '0x2200 no such thing')
      assert.equal(visitor.client.inFlight, 0)
      await asked(visitor, 5)
      assert.equal(visitor.hasEnded(), false)
      visitor.client.close('over')
    })

    it('ends after a fault of ours, and hears no more of it than that', async () => {
      const visitor = await visit()
      visitor.send(query(4, 'OURS'))
      await until('it ends', () => visitor.hasEnded())
      assert.equal(describe(visitor.answers().at(-1)!), '0x0000 internal error in the mesh')
    })

    it('ends after a fault of ours that comes later, and the process goes on', async () => {
      const visitor = await visit()
      const counted = faultsContained()
      visitor.send(query(4, 'LATER'))
      await until('it ends', () => visitor.hasEnded())
      assert.equal(faultsContained(), counted + 1)
    })

    it('ends once, with its backend, and holds nothing then', async () => {
      const visitor = await visit()
      await asked(visitor, 1)
      visitor.client.close('first')
      visitor.client.close('second')
      visitor.client.drain('third')
      assert.equal(visitor.client.reason, 'first')
      await until('all of it ends', () => visitor.hasEnded() && visitor.backend.closedCount === 1)
      await until('nothing is held', () => visitor.budget.heldBytes === 0)
      assert.equal(visitor.client.life, 'closed')
      assert.equal(visitor.backend.closedCount, 1)
    })

    it('holds nothing of an answer that comes when it is gone', async () => {
      const visitor = await visit()
      await asked(visitor, 1)
      visitor.client.close('over')
      await until('all of it ends', () => visitor.hasEnded() && visitor.backend.closedCount === 1)
      const envelope = resultOf(1, 1024 * 1024)
      visitor.client.answer(envelope, 0, envelope.length, 1)
      await sleep(50)
      assert.equal(visitor.budget.heldBytes, 0)
    })

    it('drains: what is in flight is answered, what comes is refused, no event comes', async () => {
      const visitor = await visit()
      await asked(visitor, 1, 2)
      visitor.client.drain('the proxy stops')
      visitor.send(query(3))
      const event = readyEnvelope(4, 0)
      visitor.client.event(event, 0, event.length)
      await until('the third is refused', () => visitor.answers().length === 1)
      assert.equal(
        describe(visitor.answers()[0]!),
        '0x1002 nothing was done, for this connection ends: the proxy stops',
      )
      give(visitor.client, 1)
      await until('the first is answered', () => visitor.answers().length === 2)
      await sleep(50)
      assert.equal(visitor.hasEnded(), false)
      give(visitor.client, 2)
      await until('it ends', () => visitor.hasEnded())
      assert.deepEqual(visitor.backend.streams, [1, 2])
      assert.deepEqual(
        visitor.answers().map((answer) => headerStream(answer, 0)),
        [3, 1, 2],
      )
    })

    it('refuses while it drains whatever its account and its backend say', async () => {
      const visitor = await visit()
      await asked(visitor, 1)
      visitor.client.halt(true)
      visitor.client.drain('the proxy stops')
      visitor.client.halt(true)
      visitor.client.pause()
      visitor.send(query(3))
      await until('it is refused', () => visitor.answers().length === 1)
      give(visitor.client, 1)
      await until('it ends', () => visitor.hasEnded())
      assert.deepEqual(visitor.backend.streams, [1])
    })

    it('that is to go is served until a moment comes in which nothing is in flight', async () => {
      const visitor = await visit()
      await asked(visitor, 1)
      visitor.client.leave('the proxy stops')
      visitor.client.leave('again')
      visitor.send(query(2))
      await until('it is served', () => visitor.backend.streams.length === 2)
      give(visitor.client, 1)
      await sleep(50)
      assert.equal(visitor.hasEnded(), false)
      give(visitor.client, 2)
      await until('it ends', () => visitor.hasEnded(), 500)
      assert.equal(visitor.client.reason, 'the proxy stops')
      assert.equal(visitor.answers().length, 2)
    })

    it('that is to go and asks without a pause is drained after leaveMsMax, or when its time is over', async () => {
      const [visitor, another] = [await visit(), await visit()]
      for (const each of [visitor, another]) await asked(each, 1)
      visitor.client.leave('the proxy stops')
      another.client.leave('the proxy stops', 100)
      await until('its time is over', () => another.client.life === 'draining', 800)
      assert.equal(visitor.client.life, 'open')
      await until('it drains', () => visitor.client.life === 'draining')
      for (const each of [visitor, another]) each.client.close('over')
    })

    it('that drains and sends without a pause ends all the same, and each request is answered once', async () => {
      const visitor = await visit()
      await asked(visitor, 1)
      visitor.client.drain('the proxy stops')
      give(visitor.client, 1)
      let sent = 1
      const timer = setInterval(() => {
        if (visitor.client.life === 'closed') return
        visitor.send(query(++sent % 1000))
      }, 1)
      await until('it ends', () => visitor.hasEnded())
      clearInterval(timer)
      assert.ok(Math.abs(visitor.answers().length - sent) <= 1, `${visitor.answers().length} answers of ${sent}`)
      assert.deepEqual(visitor.backend.streams, [1])
    })

    it('drains at once where nothing is in flight', async () => {
      const visitor = await visit()
      visitor.client.drain('the proxy stops')
      await until('it ends', () => visitor.hasEnded())
      assert.equal(visitor.client.reason, 'the proxy stops')
    })

    it('lives no longer than its proof, and what is in flight then is answered', async () => {
      const expiresAtMs = Date.now() + 500
      const visitor = await visit(expiresAtMs)
      const another = await visit(expiresAtMs)
      await asked(visitor, 1)
      await until('the idle one ends', () => another.client.life === 'closed')
      assert.ok(Date.now() >= expiresAtMs + (graceMs > 0 ? graceMs : -50))
      await until('the other drains', () => visitor.client.life === 'draining')
      assert.ok(Date.now() >= expiresAtMs + graceMs - 5)
      assert.equal(another.client.reason, 'identity expired')
      give(visitor.client, 1)
      await until('it ends', () => visitor.hasEnded())
      assert.equal(visitor.answers().length, 1)
    })

    it('is read from again when the last reason to pause is gone', async () => {
      const { client, budget, isPaused } = await visit()
      client.halt(true)
      assert.equal(isPaused(), true)
      client.pause()
      client.halt(false)
      assert.equal(isPaused(), true, 'its account has still to say so')
      await until('it is read from', () => !isPaused())
      client.halt(true)
      client.halt(false)
      assert.equal(isPaused(), false)
      client.close('over')
      client.halt(true)
      await sleep(50)
      client.halt(false)
      assert.equal(budget.heldBytes, 0)
    })
  })
}

suite('a door that a test adds to a sidecar', () => {
  let world: World
  let running: RunningSidecar
  let info: ClientInfo

  before(async () => {
    world = await World.make()
    running = await world.sidecar()
    const credentials = await world.credentials('svc/alice')
    const { evidence } = shownBy(credentials)
    const identity = await proofs.verify(evidence, {
      nowMs: Date.now(),
      trust: trustOf(credentials),
      gateway: undefined,
      named: undefined,
      address: '127.0.0.1',
    })
    info = { ...infoOf(0), identity }
  })
  after(() => world.close())

  async function enter(): Promise<MemoryDoor> {
    const client = new MemoryDoor(info, new BytesBudget())
    const opening = {
      client,
      name: 'in memory',
      version: client.version,
      keyspace: '',
      driver: 'none',
      gateway: undefined,
    }
    const session = running.sidecar.openSession(opening)
    client.use(session)
    await session.open()
    return client
  }

  it('has its requests judged, answered and recorded as those of any other', async () => {
    const client = await enter()
    for (const [stream, text] of [select, 'SELECT * FROM secret.items'].entries()) client.ask(query(stream, text))
    await until('both are answered', () => client.answers.length === 2)
    const byStream = client.answers.toSorted((one, other) => headerStream(one, 0) - headerStream(other, 0))
    assert.equal(describe(byStream[0]!), `echo: ${select}`)
    assert.match(describe(byStream[1]!), /^0x2100 /)
    client.close('over')
    const said = () => running.records().filter(({ session }) => session === 'in memory')
    await until('all of it is on record', () => said().length === 4)
    assert.deepEqual(
      said()
        .map(({ operation, outcome }) => `${operation} ${outcome}`)
        .sort(),
      ['CONNECT ok', 'DISCONNECT ok', 'SELECT error', 'SELECT ok'],
    )
    assert.ok(said().every(({ workload }) => workload === info.identity.subject))
  })
})

suite('a driver’s connection that is to go', () => {
  it('is read until it ends, for what came in between would be read by nobody', async () => {
    const visitor = await byConnection(Date.now() + hourMs)
    visitor.send(query(1))
    await until('the request is there', () => visitor.backend.streams.length === 1)
    visitor.client.leave('a test')
    give(visitor.client, 1)
    // In each turn until the end.
    while (!visitor.hasEnded()) {
      assert.equal(visitor.isPaused(), false)
      await new Promise(setImmediate)
    }
    assert.equal(visitor.answers().length, 1)
  })
})
