/**
 * Logs in by each piece of evidence of `RF_CASES` in turn with Node.js `cassandra-driver`, asks for what is permitted and for what is not, and
 * prints a line for each (`test/e2e/log-ins/cases.ts` says what).
 */
import { readFileSync } from 'node:fs'
import { auth, Client, errors, type QueryOptions, types } from 'cassandra-driver'

const env = process.env
const port = Number(env.RF_PORT)

function credentials(user: string, password: string, behalf: string): { authProvider?: auth.AuthProvider } {
  if (password === '') return {}
  if (behalf === '') return { authProvider: new auth.PlainTextAuthProvider(user, password) }
  return { authProvider: new auth.DsePlainTextAuthProvider(user, password, behalf) }
}

function open(user: string, password: string, certFile: string, keyFile: string, behalf: string): Client {
  const own = certFile === '' ? {} : { cert: readFileSync(certFile), key: readFileSync(keyFile) }
  return new Client({
    contactPoints: [`${env.RF_HOST}:${port}`],
    protocolOptions: { port },
    localDataCenter: env.RF_DC!,
    sslOptions: {
      ca: [readFileSync(env.RF_CA!)],
      ...own,
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
    },
    ...credentials(user, password, behalf),
    queryOptions: { consistency: types.consistencies.localOne },
    socketOptions: { readTimeout: 20_000 },
  })
}

/** All that it says of why there is no session. */
function wordsOf(reason: unknown): string {
  const { name, message, innerErrors = {} } = reason as Error & { innerErrors?: Record<string, Error> }
  return [`${name}: ${message}`, ...Object.values(innerErrors).map((inner) => `${inner.name}: ${inner.message}`)].join(
    ' ',
  )
}

const say = (...words: string[]): boolean =>
  process.stdout.write(`${words.map((word) => word.replace(/\s+/g, ' ')).join('\t')}\n`)

for (const line of readFileSync(env.RF_CASES!, 'utf8').split('\n').filter(Boolean)) {
  const [name = '', user = '', password = '', certFile = '', keyFile = '', behalf = ''] = line.split('\t')
  const client = open(user, password, certFile, keyFile, behalf)
  try {
    await client.connect()
  } catch (reason) {
    say(name, 'refused', wordsOf(reason))
    await client.shutdown()
    continue
  }
  try {
    const token = password === '' ? behalf : ''
    const options: QueryOptions & { executeAs?: string } = token === '' ? {} : { executeAs: token }
    const { rows } = await client.execute(env.RF_PERMITTED!, [], options)
    const denial = await client.execute(env.RF_FORBIDDEN!, [], options).then(
      () => 'it was permitted',
      (reason: unknown) =>
        reason instanceof errors.ResponseError && reason.code === types.responseErrorCodes.unauthorized
          ? `denied: ${reason.message}`
          : `failed: ${wordsOf(reason)}`,
    )
    say(name, 'in', String(rows[0]?.values()[0]), denial)
  } catch (reason) {
    say(name, 'failed', wordsOf(reason))
  }
  await client.shutdown()
}
