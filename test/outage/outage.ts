/**
 * The identity provider is away, under load. Two applications of each driver come in by tokens at each door: the token of the one outlives the
 * outage, so that its session does too; that of the other ends within it, so that it is refused until the provider is back.
 *
 *   applications start ─ the provider signs by a second key, the first one goes ─ away ─ back, with a third key ─ all answer again?
 *
 * Counted: requests that failed in a session that was to live on, log-ins by keys that are known while nobody answers for them, and how long each
 * application took to be back. Nothing is restarted.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { signed, type TestKey } from '../../src/identity/jwt/tokens.fixture.ts'
import type { Program } from '../e2e/drivers/toolchain.ts'
import { describe, RawClient } from '../path/client.ts'
import type { Client, IdentityProvider } from '../path/identity-provider.ts'
import { Application } from './application.ts'
import { TokenFile } from './token-file.ts'

export const backMsMax = 60_000
const knownMsMax = 60_000
/** Many start at once. */
const startMsMax = 120_000
/** What is looked at at most, so that the figure of one who is late is known too. */
const watchedMsMax = 180_000
const logInEveryMs = 1_000
const settleMs = 3_000
/** An application says four times a second what it has. */
const saidMsMax = 1_500

export interface OutageDoor {
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface OutageOptions {
  readonly doors: readonly OutageDoor[]
  /** Started with `clientsFor`, and signs by the first of `keys`. */
  readonly provider: IdentityProvider
  /** Three. */
  readonly keys: readonly TestKey[]
  readonly caFile: string
  readonly programs: Readonly<Record<string, Program>>
  /** What the applications are given beside their door and token: `RF_QUERY`, `RF_DC`. */
  readonly env: Readonly<Record<string, string>>
  readonly minutes: number
  /** For token files. */
  readonly folder: string
  readonly say: (line: string) => void
}

export interface ApplicationOutcome {
  readonly name: string
  readonly kind: 'its token outlives the outage' | 'its token ends within the outage'
  readonly answered: number
  readonly failed: number
  /** While the provider was away; of those whose token outlives that. At a session's end a request may fail, whoever is away. */
  readonly failedInSession: number | undefined
  /** By how much its last answer was before its token's end, where that is within the outage. */
  readonly endedEarlyMs: number | undefined
  /** From the provider's return to the next answer; undefined where none came. */
  readonly backMs: number | undefined
  readonly restarted: boolean
  readonly words: string
}

export interface OutageOutcome {
  readonly applications: readonly ApplicationOutcome[]
  /** Log-ins by fresh tokens, by keys that were known, while the provider was away. */
  readonly logIns: { readonly in: number; readonly refused: readonly string[] }
  /** From the first token by the second key to the first log-in by it. */
  readonly newKeyKnownMs: number
}

/** Two clients of the provider: how long their tokens live follows from how long it will be away. */
export function clientsFor(minutes: number): Client[] {
  const seconds = minutes * 60
  return [
    { id: 'kept', groups: ['analysts'], seconds: Math.ceil(seconds + 900) },
    { id: 'ending', groups: ['analysts'], seconds: Math.max(4, Math.ceil(seconds / 4)) },
  ]
}

export async function runOutage(options: OutageOptions): Promise<OutageOutcome> {
  const { provider, keys, minutes, folder, doors, say } = options
  const [, second, third] = keys
  if (second === undefined || third === undefined) throw new Error('three keys are needed')
  const applications: { readonly one: Application; readonly kind: ApplicationOutcome['kind'] }[] = []
  const files: TokenFile[] = []
  const start = (id: 'kept' | 'ending', file: TokenFile): void => {
    const kind = id === 'kept' ? 'its token outlives the outage' : 'its token ends within the outage'
    for (const door of doors) {
      for (const [driver, program] of Object.entries(options.programs)) {
        const env = { RF_HOST: door.host, RF_PORT: String(door.port), RF_CA: options.caFile, RF_TOKEN_FILE: file.path }
        const one = new Application(`${driver}, ${door.name}`, program, { ...options.env, ...env })
        applications.push({ one, kind })
      }
    }
  }
  const fileOf = async (id: 'kept' | 'ending'): Promise<TokenFile> => {
    const file = await TokenFile.open(join(folder, `${id}.jwt`), () => provider.token(id))
    files.push(file)
    return file
  }
  const all = (): readonly Application[] => applications.map(({ one }) => one)
  try {
    await untilIn(options, () => provider.token('ending'), startMsMax)
    const ending = await fileOf('ending')
    start('ending', ending)
    await untilAnswered(all(), performance.now(), startMsMax)
    say(`${all().length} applications are at work`)

    provider.use([second, keys[0]!])
    const newKeyKnownMs = await untilIn(options, () => provider.token('ending'), knownMsMax)
    say(`tokens by a second key come in after ${seconds(newKeyKnownMs)}`)
    provider.use([second])
    const kept = await fileOf('kept')
    start('kept', kept)
    await untilAnswered(all(), performance.now(), startMsMax)
    say(`${all().length} applications are at work`)

    provider.away()
    // It answers what it had read before.
    await ending.settled()
    const awayAtMs = performance.now()
    const renewals = ending.count
    const endedAtMs = awayAtMs + (ending.endsAtMs - Date.now())
    say(
      `the provider is away, for ${minutes} minutes; a token that lives ${seconds(endedAtMs - awayAtMs)} more is not renewed`,
    )
    const logIns = await logInsUntil(options, second, awayAtMs + minutes * 60_000)
    if (ending.count !== renewals) throw new Error('the provider was not away')

    provider.use([third, second])
    const backAtMs = performance.now()
    say('the provider is back, and signs by a third key')
    await untilAnswered(all(), backAtMs, watchedMsMax).catch((reason: Error) => say(reason.message))
    await sleep(settleMs)
    const outcomes = applications.map(({ one, kind }): ApplicationOutcome => {
      const isKept = kind === 'its token outlives the outage'
      const lastMs = one.answeredLastBefore(Math.min(backAtMs, endedAtMs + saidMsMax))
      const backMs = one.answeredAfter(backAtMs)
      return {
        name: one.name,
        kind,
        answered: one.answered,
        failed: one.failed,
        failedInSession: isKept ? one.failedBetween(awayAtMs, backAtMs) : undefined,
        endedEarlyMs: isKept || endedAtMs > backAtMs ? undefined : Math.max(0, endedAtMs - (lastMs ?? 0)),
        backMs: backMs === undefined ? undefined : backMs - backAtMs,
        restarted: !one.running,
        words: one.words,
      }
    })
    return { applications: outcomes, logIns, newKeyKnownMs }
  } finally {
    for (const file of files) file.stop()
    await Promise.all(all().map((one) => one.stop()))
  }
}

/** In words, what is not as it should be. */
export function faultsOf({ applications, logIns, newKeyKnownMs }: OutageOutcome): string[] {
  const faults: string[] = []
  if (newKeyKnownMs > knownMsMax) faults.push(`a new key was known after ${seconds(newKeyKnownMs)} only`)
  if (logIns.in === 0) faults.push('nobody logged in while the provider was away')
  for (const words of logIns.refused) faults.push(`a log-in by a known key was refused: ${words}`)
  for (const { name, kind, failedInSession, endedEarlyMs, backMs, restarted, words } of applications) {
    const who = `${name} (${kind})`
    if (restarted) faults.push(`${who} ended: ${words}`)
    if (failedInSession !== undefined && failedInSession > 0)
      faults.push(`${who}: ${failedInSession} requests failed in a session that was good: ${words}`)
    if (endedEarlyMs !== undefined && endedEarlyMs > saidMsMax)
      faults.push(`${who}: its last answer was ${seconds(endedEarlyMs)} before its token's end`)
    if (backMs === undefined) faults.push(`${who} did not come back: ${words}`)
    else if (backMs > backMsMax) faults.push(`${who} came back after ${seconds(backMs)} only: ${words}`)
  }
  return faults
}

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

/** A fresh session at a door; in words why not. */
async function logInAt({ host, port }: OutageDoor, caFile: string, token: string): Promise<string | undefined> {
  let client: RawClient | undefined
  try {
    client = await RawClient.connect({ host, port, credentials: { bundlePem: readFileSync(caFile, 'utf8') } })
    const asked = await client.startup()
    if (headerOpcode(asked, 0) !== Opcode.AUTHENTICATE) return describe(asked)
    const answer = await client.logIn('token', token)
    return headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS ? undefined : describe(answer)
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason)
  } finally {
    client?.close()
  }
}

/** Resolves with how long it took until tokens come in at every door. */
async function untilIn({ doors, caFile }: OutageOptions, token: () => Promise<string>, msMax: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const one = await token()
    const refused = (await Promise.all(doors.map((door) => logInAt(door, caFile, one)))).find((words) => words)
    const ms = performance.now() - began
    if (refused === undefined) return ms
    if (ms > msMax) throw new Error(`no log-in in ${seconds(msMax)}: ${refused}`)
    await sleep(500)
  }
}

/** At each door each second, by a token that nobody has seen: the key is known, and that is all that there is. */
async function logInsUntil(
  { doors, caFile, provider }: OutageOptions,
  key: TestKey,
  untilMs: number,
): Promise<OutageOutcome['logIns']> {
  const refused: string[] = []
  let count = 0
  for (let serial = 0; performance.now() < untilMs; serial++) {
    const iat = Math.floor(Date.now() / 1000)
    const claims = {
      iss: provider.issuer,
      aud: 'ringfence',
      sub: 'kept',
      iat,
      exp: iat + 60,
      jti: `away-${serial}`,
      groups: ['analysts'],
    }
    const token = signed(key, claims)
    for (const door of doors) {
      const words = await logInAt(door, caFile, token)
      if (words === undefined) count++
      else refused.push(`${door.name}: ${words}`)
    }
    await sleep(Math.max(0, Math.min(logInEveryMs, untilMs - performance.now())))
  }
  return { in: count, refused }
}

async function untilAnswered(applications: readonly Application[], fromMs: number, msMax: number): Promise<void> {
  for (;;) {
    const ended = applications.find(({ running }) => !running)
    if (ended !== undefined) throw new Error(`${ended.name} ended: ${ended.words}`)
    const waiting = applications.filter((one) => one.answeredAfter(fromMs) === undefined)
    if (waiting.length === 0) return
    if (performance.now() - fromMs > msMax)
      throw new Error(
        `no answer in ${seconds(msMax)}: ${waiting.map(({ name, words }) => `${name} (${words})`).join(', ')}`,
      )
    await sleep(100)
  }
}
