/** Who has a session, as `/sessions` shows it. */
import type { VerifiedIdentity } from '../../identity/verified.ts'

export interface ShownSession {
  readonly door: 'driver' | 'link'
  readonly address: string
  readonly port: number
  /** SPIFFE id. */
  readonly workload: string
  readonly person?: string | undefined
  readonly methods: readonly string[]
  readonly gateway?: string | undefined
  /** When its proof ends. */
  readonly until?: string | undefined
}

export interface ShownSessions {
  readonly sessions: readonly ShownSession[]
  /** There are so many more. */
  readonly more: number
}

const shownMax = 1_000

interface Client {
  readonly identity: VerifiedIdentity
  readonly address: string
  readonly port: number
}

export function shownSession(door: ShownSession['door'], { identity, address, port }: Client): ShownSession {
  const { subject, person, methods, expiresAtMs } = identity
  const ends = Number.isFinite(expiresAtMs) ? { until: new Date(expiresAtMs).toISOString() } : {}
  return { door, address, port, workload: subject, person, methods, ...ends }
}

export function boundedSessions(all: Iterable<ShownSession>): ShownSessions {
  const sessions: ShownSession[] = []
  let more = 0
  for (const session of all) {
    if (sessions.length < shownMax) sessions.push(session)
    else more++
  }
  return { sessions, more }
}

export function joinSessions(parts: readonly ShownSessions[]): ShownSessions {
  const { sessions, more } = boundedSessions(parts.flatMap((part) => part.sessions))
  return { sessions, more: parts.reduce((sum, part) => sum + part.more, more) }
}
