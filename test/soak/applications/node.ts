/**
 * An application with Node.js `cassandra-driver`, which writes a row and reads it back through several clients until its input ends. Each client reads
 * its certificate for each connection (docs/drivers/node.md). Prints `{"clients": {name: {requests, failed, opened, said: {text: count}}}}` each second.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, policies, types } from 'cassandra-driver'
import { FailureCounts, plain } from '../failures.ts'

const env = process.env
/** So that an outage counts by how long it is, and not by how quickly a driver says no. */
const failedPauseMs = 250
let stopped = false
/** What the driver throws in a promise of its own (docs/drivers/node.md). */
let driverFaults = 0
process.on('unhandledRejection', () => driverFaults++)

interface Order {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly certs: string
  readonly perSecond: number
}

class Running {
  readonly order: Order
  readonly #client: Client
  requests = 0
  failed = 0
  opened = 0
  readonly #failures = new FailureCounts()

  constructor(order: Order) {
    this.order = order
    const file = (name: string): Buffer => readFileSync(`${order.certs}/${name}`)
    const opens = (): void => void this.opened++
    this.#client = new Client({
      contactPoints: [`${order.host}:${order.port}`],
      protocolOptions: { port: order.port },
      localDataCenter: env.RF_DC!,
      sslOptions: {
        // Getters, so that each connection has the newest files.
        get cert() {
          opens()
          return file('svid.pem')
        },
        get key() {
          return file('key.pem')
        },
        get ca() {
          return [file('bundle.pem')]
        },
        rejectUnauthorized: true,
      },
      queryOptions: { prepare: true, isIdempotent: true, consistency: types.consistencies.localQuorum },
      policies: { reconnection: new policies.reconnection.ExponentialReconnectionPolicy(250, 10_000, false) },
      // The CPU is another process's for seconds at a time.
      socketOptions: { connectTimeout: 15_000, readTimeout: 60_000 },
    })
  }

  get said(): Record<string, number> {
    return this.#failures.said
  }

  connect(): Promise<void> {
    return this.#client.connect()
  }

  async work(): Promise<void> {
    const { name, perSecond } = this.order
    for (let n = 0; !stopped; n++) {
      const id = `${env.RF_ROWS ?? ''}${name} ${n % 50}`
      const failedBefore = this.failed
      const written = await this.#ask('INSERT INTO soak.orders (id, total) VALUES (?, ?)', [id, String(n)])
      const read = await this.#ask('SELECT total FROM soak.orders WHERE id = ?', [id])
      const isLost = written !== undefined && read !== undefined && read.rows[0]?.total !== String(n)
      if (isLost) this.#fail(new Error(`wrote ${n}, read another`))
      await sleep(2_000 / perSecond + (this.failed > failedBefore ? failedPauseMs : 0))
    }
    await this.#client.shutdown()
  }

  async #ask(text: string, values: string[]): Promise<types.ResultSet | undefined> {
    this.requests++
    try {
      return await this.#client.execute(text, values)
    } catch (reason) {
      this.#fail(reason)
      return undefined
    }
  }

  #fail(reason: unknown): void {
    this.failed++
    const { innerErrors } = reason as { innerErrors?: object }
    // Of each host one: in whatever order they were asked it is one text.
    const inner = new Set(Object.values(innerErrors ?? {}).map((why) => plain(firstLine(why))))
    this.#failures.add([firstLine(reason), ...[...inner].sort()].join('; '))
  }
}

/** The driver's texts have a stack in them. */
function firstLine(reason: unknown): string {
  return String(reason).split('\n', 1)[0]!
}

const clients = (JSON.parse(env.RF_CLIENTS!) as Order[]).map((order) => new Running(order))
for (const client of clients) await client.connect()
const show = (): void => {
  const counts = clients.map(({ order: { name }, requests, failed, opened, said }) => [
    name,
    { requests, failed, opened, said },
  ])
  process.stdout.write(`${JSON.stringify({ clients: Object.fromEntries(counts), driverFaults })}\n`)
}
const ticks = setInterval(show, 1_000)
const working = clients.map((client) => client.work())
process.stdin.resume().on('end', async () => {
  stopped = true
  await Promise.all(working)
  clearInterval(ticks)
  show()
  process.exit(0)
})
