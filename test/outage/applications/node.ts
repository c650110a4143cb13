/**
 * An application with Node.js `cassandra-driver`, which reads a row again and again until its input ends. Its token is in a file that somebody
 * else renews; the driver reads it for each connection. Prints `{"answered": …, "failed": …, "error": …}` four times a second.
 */
import { readFileSync } from 'node:fs'
import { auth, Client, policies, types } from 'cassandra-driver'

const env = process.env

class TokenFromFile extends auth.PlainTextAuthProvider {
  constructor() {
    super('token', '')
  }

  override newAuthenticator(endpoint: string, name: string): auth.Authenticator {
    const token = readFileSync(env.RF_TOKEN_FILE!, 'utf8').trim()
    return new auth.PlainTextAuthProvider('token', token).newAuthenticator(endpoint, name)
  }
}

const port = Number(env.RF_PORT)
const client = new Client({
  contactPoints: [`${env.RF_HOST}:${port}`],
  protocolOptions: { port },
  sslOptions: { ca: [readFileSync(env.RF_CA!)], rejectUnauthorized: true, checkServerIdentity: () => undefined },
  authProvider: new TokenFromFile(),
  queryOptions: { isIdempotent: true, consistency: types.consistencies.localOne },
  socketOptions: { readTimeout: 5_000 },
  policies: {
    // The default doubles its wait up to ten minutes.
    reconnection: new policies.reconnection.ExponentialReconnectionPolicy(1_000, 10_000, false),
    ...(env.RF_DC === undefined ? { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() } : {}),
  },
  // A node that does not say what its tables are has no data centre either.
  ...(env.RF_DC === undefined ? { isMetadataSyncEnabled: false } : { localDataCenter: env.RF_DC }),
})

let answered = 0
let failed = 0
let error: string | undefined
let stopped = false

async function work(): Promise<void> {
  while (!stopped) {
    try {
      await client.execute(env.RF_QUERY!)
      answered++
    } catch (reason) {
      const { innerErrors = {}, message } = reason as Error & { innerErrors?: Record<string, Error> }
      failed++
      error = Object.values(innerErrors)[0]?.message ?? message
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

await client.connect()
const show = (): boolean => process.stdout.write(`${JSON.stringify({ answered, failed, error })}\n`)
const ticks = setInterval(show, 250)
const workers = [work(), work()]
process.stdin.resume().on('end', async () => {
  stopped = true
  await Promise.all(workers)
  clearInterval(ticks)
  show()
  await client.shutdown()
  process.exit(0)
})
