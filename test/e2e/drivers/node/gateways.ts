/**
 * A reader with Node.js `cassandra-driver` that shows what its driver knows: reads by key without a pause, with the driver's default
 * retry policy, and prints a line of JSON ten times a second (`Watched` of ../../gateways.e2e.test.ts) until its input ends.
 */
import { readFileSync } from 'node:fs'
import { Client, policies, types } from 'cassandra-driver'

const env = process.env
const text = `SELECT v FROM ${env.RF_KEYSPACE}.rows WHERE k = ?`
const client = new Client({
  contactPoints: (env.RF_CONTACTS ?? '').split(','),
  localDataCenter: env.RF_DC ?? '',
  protocolOptions: { port: Number((env.RF_CONTACTS ?? '').split(':')[1]) },
  // This driver works the ring out once, when it starts, so its token-aware policy would go on with the hosts it knew then.
  policies: { loadBalancing: new policies.loadBalancing.DCAwareRoundRobinPolicy(env.RF_DC ?? '') },
  queryOptions: { consistency: types.consistencies.localOne, prepare: true, isIdempotent: true },
  sslOptions: {
    ca: [readFileSync(env.RF_CA!)],
    cert: readFileSync(env.RF_CERT!),
    key: readFileSync(env.RF_KEY!),
    checkServerIdentity: () => undefined,
  },
})
const by = new Map<string, number>()
const errors: string[] = []
let answered = 0
let retried = 0
let stopped = false

async function read(first: number): Promise<void> {
  for (let k = first; !stopped; k = (k + 1) % 20) {
    try {
      const { rows, info } = await client.execute(text, [k])
      if (rows[0]?.v !== `value ${k}`) throw new Error(`asked for ${k}, got ${JSON.stringify(rows)}`)
      answered++
      if (Object.values<unknown>(info.triedHosts).some(isLoss)) retried++
      by.set(info.queriedHost, (by.get(info.queriedHost) ?? 0) + 1)
    } catch (reason) {
      errors.push(String(reason))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** A connection that was lost with the request on it; a host that was passed over is not one. */
function isLoss(tried: unknown): boolean {
  return tried instanceof Error && 'isSocketError' in tried && tried.isSocketError === true
}

await client.connect()
const readers = [0, 5, 10, 15].map(read)
const ticks = setInterval(() => {
  const hosts = [...client.hosts.keys()].sort()
  process.stdout.write(`${JSON.stringify({ hosts, answered, retried, errors, by: Object.fromEntries(by) })}\n`)
}, 100)
process.stdin.resume().on('end', async () => {
  stopped = true
  await Promise.all(readers)
  clearInterval(ticks)
  await client.shutdown()
  process.exit(0)
})
