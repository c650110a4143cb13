/** Who asks for much and reads little: what it may hold, and that nobody else waits for it. Sizes are those of docs/limits.md. */
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after, before, it, describe as suite, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../../src/base/limits.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe, type RawClient } from './client.ts'
import { echo, type NodeRequest } from './fake-node.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const SELECT = 'SELECT * FROM shop.items'
const LARGE = `${SELECT} WHERE k = 'large'`
const LARGE_BYTES = 1024 * 1024
const MB = 1e6
/** Hundreds of megabytes pass through every end, all in this process. */
const PATIENCE_MS = 60_000

/** What stands between a gateway and a sidecar: bytes towards the gateway stop where a test says so. */
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

  stop(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) sidecar.unpipe(gateway)
  }

  goOn(): void {
    for (const [sidecar, gateway] of this.#fromSidecar) sidecar.pipe(gateway)
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
  const rows = echo(4, 0, 'x'.repeat(LARGE_BYTES))
  sidecar.node.intercept = (request: NodeRequest) => {
    if (request.text === LARGE) request.reply(rows)
    return request.text === LARGE
  }
})
after(async () => {
  network.close()
  await world.close()
})

/** Asks for `count` large results at once; they come as what was not asked for, however late. */
function askMuch(client: RawClient, count: number): void {
  for (let stream = 0; stream < count; stream++) client.send(queryEnvelope(4, stream, LARGE))
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
    assert.equal(describe(await client.ask(queryEnvelope(4, i % 100, SELECT))), `echo: ${SELECT}`)
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
  await until('an answer', () => client.unasked.length > 0 || client.isClosed, PATIENCE_MS)
  if (client.unasked.length === 0) return 'closed'
  return describe(client.unasked.shift()!)
}

const answered = (text: string): number => sidecar.node.texts().filter((each) => each === text).length

suite('a client behind a gateway that does not read its large results', () => {
  it('holds them in the gateway, slows nobody on the same link, and has them all when it reads', async (t) => {
    const [slow, other] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    const alone = await askLittle(other, 100)
    slow.socket.pause()
    askMuch(slow, 40)
    await until('the node has answered', () => answered(LARGE) === 40, PATIENCE_MS)
    // Behind all of it on the link, so that what follows is beside a reader who has stopped and not behind its results.
    other.send(queryEnvelope(4, 1, SELECT))
    assert.equal(await patiently(other), `echo: ${SELECT}`)
    const beside = await askLittle(other, 100)
    tell(t, alone, beside)
    assert.ok(beside[50]! < 1000, `${beside[50]} ms`)
    slow.socket.resume()
    await until('it has them all', () => slow.unasked.length === 40, PATIENCE_MS)
    assert.equal(network.linksEver, 1)
    slow.close()
    other.close()
  })

  it('is closed at outboxBytesMax, and only it', async (t) => {
    const [slow, other] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    const alone = await askLittle(other, 100)
    await until('the last clients are gone', () => gateway.feed.report?.().connections === 2)
    slow.socket.pause()
    askMuch(slow, 200)
    const peak = await peakOf(
      until('its connection is gone', () => gateway.feed.report?.().connections === 1, PATIENCE_MS),
    )
    t.diagnostic(`client, node, sidecar and gateway held ${(peak / MB).toFixed(0)} MB more`)
    tell(t, alone, await askLittle(other, 100))
    slow.socket.resume()
    await until('the client is told', () => slow.isClosed, PATIENCE_MS)
    assert.ok(slow.unasked.length < 200)
    // The node that is not real holds its answers as well, until the sidecar has read them.
    assert.ok(peak < 4 * limits.outboxBytesMax, `${peak / MB} MB`)
    assert.equal(describe(await other.ask(queryEnvelope(4, 1, SELECT))), `echo: ${SELECT}`)
    assert.equal(network.linksEver, 1, 'the link is the same')
    other.close()
  })
})

suite('a gateway that falls behind', () => {
  it('costs the session whose answers wait its connection, not the link and those who share it', async () => {
    const [much, little] = [await world.client(gateway.port, 'alice'), await world.client(gateway.port, 'bob')]
    await askLittle(little, 1)
    sidecar.node.requests.length = 0
    network.stop()
    askMuch(much, 300)
    await until('the node has answered', () => answered(LARGE) === 300, PATIENCE_MS)
    little.send(queryEnvelope(4, 1, SELECT))
    await until('a session is ended', () => sidecar.feed.report?.().sessions !== 2, PATIENCE_MS)
    network.goOn()
    assert.equal(await patiently(little), `echo: ${SELECT}`)
    await until('the client is told', () => much.isClosed, PATIENCE_MS)
    assert.ok(much.unasked.length < 300, `${much.unasked.length} of 300`)
    assert.equal(network.linksEver, 1, 'the link is the same')
    const again = await world.client(gateway.port, 'alice')
    assert.equal(describe(await again.ask(queryEnvelope(4, 1, SELECT))), `echo: ${SELECT}`)
  })
})
