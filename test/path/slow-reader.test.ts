/** Who asks for much and reads little: what it may hold, and that nobody else waits for it. Sizes are those of docs/limits.md. */
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after, before, it, describe as suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BytesBudget, budgetBounds } from '../../src/base/bytes-budget.ts'
import { limits } from '../../src/base/limits.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe, type RawClient } from './client.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'
const large = `${select} WHERE k = 'large'`
const largeBytes = 1024 * 1024
const hugeText = `${select} WHERE k = 'huge'`
const hugeBytes = 100 * 1024 * 1024
const mb = 1e6
/** Hundreds of megabytes pass through every end, all in this process. */
const patienceMs = 60_000

/** What stands between a gateway and a sidecar: bytes stop where a test says so. */
class Network {
  readonly #server
  readonly #fromSidecar: [Socket, Socket][] = []

  constructor(port: number) {
    this.#server = createServer((gateway) => {
      const sidecar = connect(port, '127.0.0.1')
      gateway.pipe(sidecar)
      sidecar.pipe(gateway)
      for (const socket of [gateway, sidecar]) socket.on('error', () => {})
      this.#fromSidecar.push([sidecar, gateway])
    })
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  get linksEver(): number {
    return this.#fromSidecar.length
  }

  /** Towards the gateway. */
  stop(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) sidecar.unpipe(gateway)
  }

  goOn(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) sidecar.pipe(gateway)
  }

  /** Towards the sidecar. */
  stopRequests(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) gateway.unpipe(sidecar)
  }

  goOnRequests(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) gateway.pipe(sidecar)
  }

  close(): void {
    this.#server.close()
    for (const pair of this.#fromSidecar) for (const socket of pair) socket.destroy()
  }
}

let world: World
let sidecar: RunningSidecar
let network: Network
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar()
  network = new Network(sidecar.port)
  const port = await network.listen()
  gateway = await world.gateway([{ ...sidecar, endpoint: { ...sidecar.endpoint, port } }])
  const rows = echo(4, 0, 'x'.repeat(largeBytes))
  let huge: Buffer | undefined
  sidecar.node.intercept = (request: NodeRequest) => {
    if (request.text === hugeText) {
      huge ??= echo(4, 0, 'x'.repeat(hugeBytes))
      request.reply(huge)
    } else if (request.text === large) request.reply(rows)
    return request.text === large || request.text === hugeText
  }
})
after(async () => {
  network.close()
  await world.close()
})

/** Asks for `count` large results at once; they come as what was not asked for, however late. */
function askMuch(client: RawClient, count: number): void {
  for (let stream = 0; stream < count; stream++) client.send(queryEnvelope(4, stream, large))
}

/** The largest resident memory of this process, which holds all there is, above what it was, until `work` is over. */
async function peakOf(work: Promise<unknown>): Promise<number> {
  const before = process.memoryUsage.rss()
  let peak = 0
  let over = false
  void work.then(() => {
    over = true
  })
  while (!over) {
    peak = Math.max(peak, process.memoryUsage.rss() - before)
    await sleep(5)
  }
  return peak
}

/** Milliseconds that each of `count` small requests took, in ascending order. */
async function askLittle(client: RawClient, count: number): Promise<number[]> {
  const tookMs: number[] = []
  for (let i = 0; i < count; i++) {
    const begun = performance.now()
    assert.equal(describe(await client.ask(queryEnvelope(4, i % 100, select))), `echo: ${select}`)
    tookMs.push(performance.now() - begun)
  }
  return tookMs.sort((a, b) => a - b)
}

const tell = (t: TestContext, alone: number[], beside: number[]): void => {
  const p99 = (tookMs: number[]): string => tookMs[Math.floor(tookMs.length * 0.99)]!.toFixed(1)
  t.diagnostic(`the other: p99 ${p99(alone)} ms alone, ${p99(beside)} ms beside it`)
}

/** The next answer to `client`, however long it takes. */
async function patiently(client: RawClient): Promise<string> {
  await until('an answer', () => client.unasked.length > 0 || client.isClosed, patienceMs)
  if (client.unasked.length === 0) return 'closed'
  return describe(client.unasked.shift()!)
}

/** Resolves when nothing more of it comes to the node: its session is paused, or it has come. */
async function settled(text: string): Promise<void> {
  for (let before = -1, since = performance.now(); performance.now() - since < 1500; await sleep(50)) {
    if (answered(text) === before) continue
    before = answered(text)
    since = performance.now()
  }
}

const answered = (text: string): number => sidecar.node.texts().filter((each) => each === text).length

suite('a client behind a gateway that does not read its large results', () => {
  it('holds them in the gateway, slows nobody on the same link, and has them all when it reads', async (t) => {
    const [slow, other] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    const alone = await askLittle(other, 100)
    slow.socket.pause()
    askMuch(slow, 40)
    await until('the node has answered', () => answered(large) === 40, patienceMs)
    // Behind all of it on the link, so that what follows is beside a reader who has stopped and not behind its results.
    other.send(queryEnvelope(4, 1, select))
    assert.equal(await patiently(other), `echo: ${select}`)
    const beside = await askLittle(other, 100)
    tell(t, alone, beside)
    assert.ok(beside[50]! < 1000, `${beside[50]} ms`)
    slow.socket.resume()
    await until('it has them all', () => slow.unasked.length === 40, patienceMs)
    assert.equal(network.linksEver, 1)
    slow.close()
    other.close()
  })

  it('is paused and then refused what has no room, and goes on when it reads', async (t) => {
    const [slow, other] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    const alone = await askLittle(other, 100)
    slow.socket.pause()
    askMuch(slow, 200)
    const peak = await peakOf(settled(large))
    t.diagnostic(`client, node, sidecar and gateway held ${(peak / mb).toFixed(0)} MB more`)
    tell(t, alone, await askLittle(other, 100))
    assert.ok(peak < 4 * limits.connectionWaitingBytesMax, `${peak / mb} MB`)
    slow.socket.resume()
    await until('all are answered', () => slow.unasked.length === 200, patienceMs)
    const whole = slow.unasked.filter(({ length }) => length > largeBytes)
    const refused = slow.unasked.filter(({ length }) => length < largeBytes)
    assert.ok(whole.length > 80, `${whole.length} of 200`)
    for (const each of refused) assert.match(describe(each), /^0x1001 .*wait/)
    for (const client of [slow, other]) {
      assert.equal(describe(await client.ask(queryEnvelope(4, 1000, select))), `echo: ${select}`)
      client.close()
    }
    assert.equal(network.linksEver, 1, 'the link is the same')
  })

  it('is closed when it takes less than readerBytesPerSecondMin, and only it', async () => {
    const [slow, idle] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'alice')]
    const other = await world.client(gateway.port, 'bob')
    await until('the last clients are gone', () => gateway.feed.report?.().connections === 3)
    askMuch(slow, 60)
    // 64 KB a second, of what the kernel has as well.
    slow.socket.pause()
    const trickle = setInterval(() => slow.socket.read(6400), 100)
    await until('its connection is gone', () => gateway.feed.report?.().connections === 2, patienceMs)
    clearInterval(trickle)
    await until('its session is', () => sidecar.feed.report?.().sessions === 2, patienceMs)
    for (const client of [idle, other]) {
      assert.equal(describe(await client.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
      client.close()
    }
  })
})

suite('twelve clients of one identity that ask for much and read nothing', () => {
  const processBytes = 128 * 1024 * 1024
  for (const way of ['through a gateway', 'at a sidecar'] as const) {
    it(`hold a share of the process together, ${way}, and go on when they read`, async (t) => {
      const budgets = [new BytesBudget(budgetBounds(processBytes)), new BytesBudget(budgetBounds(processBytes))]
      const own = await world.sidecar({ name: `twelve-${way.replaceAll(' ', '-')}`, budget: budgets[0]! })
      own.node.intercept = sidecar.node.intercept
      const { port } = way === 'at a sidecar' ? own : await world.gateway([own], { budget: budgets[1]! })
      const other = await world.client(port, 'bob')
      const many = await Promise.all(Array.from({ length: 12 }, () => world.client(port, 'alice')))
      for (const client of many) {
        client.socket.pause()
        askMuch(client, 5)
      }
      const answeredAll = (): boolean => own.node.texts().filter((text) => text === large).length === 60
      await until('the node has answered', answeredAll, patienceMs)
      const begun = performance.now()
      other.send(queryEnvelope(4, 1, select))
      assert.equal(await patiently(other), `echo: ${select}`)
      const tookMs = performance.now() - begun
      for (const client of many) client.socket.resume()
      await until('all are answered', () => many.every(({ unasked }) => unasked.length === 5), patienceMs)
      const whole = many.flatMap(({ unasked }) => unasked).filter(({ length }) => length > largeBytes)
      const peaks = budgets.map(({ peakBytes }) => peakBytes)
      t.diagnostic(
        `${whole.length} of 60 MiB; sidecar, gateway held ${peaks.map((peak) => peak / mb)} MB; the other ${tookMs} ms`,
      )
      for (const { peakBytes, bounds } of budgets) assert.ok(peakBytes < bounds.identityBytesMax * 1.5, `${peakBytes}`)
      for (const client of [...many, other]) {
        assert.equal(describe(await client.ask(queryEnvelope(4, 100, select))), `echo: ${select}`)
        client.close()
      }
      await until('all is given back', () => budgets.every(({ heldBytes }) => heldBytes === 0), patienceMs)
    })
  }
})

suite('a long envelope on a link', () => {
  it('lets others by: an answer', async () => {
    const [much, little] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    await askLittle(little, 1)
    sidecar.node.requests.length = 0
    network.stop()
    much.send(queryEnvelope(4, 1, hugeText))
    await until('the node has answered', () => answered(hugeText) === 1, patienceMs)
    await sleep(500)
    const before = much.socket.bytesRead
    little.send(queryEnvelope(4, 1, select))
    await until('the node has answered', () => answered(select) === 1, patienceMs)
    network.goOn()
    assert.equal(await patiently(little), `echo: ${select}`)
    const beside = much.socket.bytesRead - before
    assert.ok(beside < hugeBytes / 4, `${beside} bytes of the other came first`)
    await until('it has it', () => much.unasked.length === 1, patienceMs)
    assert.equal(much.unasked[0]!.length > hugeBytes, true)
    for (const client of [much, little]) client.close()
  })

  it('lets others by: a request', async () => {
    const [much, little] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    await askLittle(little, 1)
    sidecar.node.requests.length = 0
    network.stopRequests()
    const insert = `INSERT INTO shop.items (k, v) VALUES ('a', ?)`
    much.send(queryEnvelope(4, 1, insert, { values: [Buffer.alloc(15 * 1024 * 1024, 1)] }))
    await sleep(500)
    little.send(queryEnvelope(4, 1, select))
    await sleep(100)
    network.goOnRequests()
    assert.equal(await patiently(little), `echo: ${select}`)
    assert.equal(await patiently(much), `echo: ${insert}`)
    assert.deepEqual(
      sidecar.node.texts().filter((text) => [insert, select].includes(text)),
      [select, insert],
    )
    for (const client of [much, little]) client.close()
  })
})

suite('a gateway that falls behind', () => {
  it('costs the session whose answers wait those that have no room, not the link and those who share it', async () => {
    const [much, little] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    await askLittle(little, 1)
    sidecar.node.requests.length = 0
    network.stop()
    askMuch(much, 300)
    await settled(large)
    little.send(queryEnvelope(4, 1, select))
    await until('the node has answered', () => answered(select) === 1, patienceMs)
    network.goOn()
    assert.equal(await patiently(little), `echo: ${select}`)
    await until('all are answered', () => much.unasked.length === 300, patienceMs)
    const whole = much.unasked.filter(({ length }) => length > largeBytes)
    assert.ok(whole.length > 80, `${whole.length} of 300`)
    assert.equal(network.linksEver, 1, 'the link is the same')
    assert.equal(describe(await much.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
  })
})
