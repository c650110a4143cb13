/**
 * An application with Node.js `cassandra-driver`: writes a row, reads it back, again and again, with the driver's default policies, until its
 * input ends. Prints `{"answered": …, "failed": …, "errors": […]}` twice a second. By password without TLS, or by certificate where RF_CERT names one.
 */
import { readFileSync } from 'node:fs'
import { auth, Client, types } from 'cassandra-driver'

const env = process.env
const [address = '', port = ''] = (env.RF_CONTACT ?? '').split(':')
const client = new Client({
  contactPoints: [address],
  protocolOptions: { port: Number(port) },
  localDataCenter: 'datacenter1',
  queryOptions: { consistency: types.consistencies.localQuorum, prepare: true, isIdempotent: true },
  // The CPU is another process's for seconds at a time while nodes start.
  socketOptions: { connectTimeout: 15_000, readTimeout: 30_000 },
  ...(env.RF_CERT === undefined
    ? { authProvider: new auth.PlainTextAuthProvider(env.RF_USER ?? '', env.RF_PASSWORD ?? '') }
    : {
        sslOptions: {
          ca: [readFileSync(env.RF_CA!)],
          cert: readFileSync(env.RF_CERT),
          key: readFileSync(env.RF_KEY!),
          checkServerIdentity: () => undefined,
        },
      }),
})
/** The first ones tell enough. */
const errorsMax = 20
const errors: string[] = []
let answered = 0
let failed = 0
let stopped = false

/** The driver's texts have a stack in them. */
function firstLine(reason: unknown): string {
  return String(reason).split('\n', 1)[0]!
}

async function work(worker: number): Promise<void> {
  for (let n = 0; !stopped; n++) {
    // Its own: for a while two of these run, the one before a step of the page and the one after it.
    const id = `node ${process.pid} ${worker} ${n % 50}`
    const total = String(n)
    try {
      await client.execute('INSERT INTO shop.orders (id, total) VALUES (?, ?)', [id, total])
      const { rows } = await client.execute('SELECT total FROM shop.orders WHERE id = ?', [id])
      if (rows[0]?.total !== total) throw new Error(`wrote ${total}, read ${JSON.stringify(rows)}`)
      answered += 2
    } catch (reason) {
      const { innerErrors } = reason as { innerErrors?: object }
      const inner = Object.entries(innerErrors ?? {}).map(([host, why]) => ` ${host}: ${firstLine(why)}`)
      failed++
      if (errors.length < errorsMax) errors.push(`${new Date().toISOString()} ${firstLine(reason)}${inner}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

await client.connect()
const workers = [1, 2].map(work)
const show = (): boolean => process.stdout.write(`${JSON.stringify({ answered, failed, errors })}\n`)
const ticks = setInterval(show, 500)
process.stdin.resume().on('end', async () => {
  stopped = true
  await Promise.all(workers)
  clearInterval(ticks)
  show()
  await client.shutdown()
  process.exit(0)
})
