/** One traffic told to both forms of the record as a sidecar tells it, for tests that compare what is read of them. */
import { cpSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { EventSession, EventStatement, TransactionEvent } from '../audit/event.ts'
import type { AuditSession } from '../audit/record.ts'
import { Recorded } from '../audit/recorded.ts'
import { permit, startMs, statementOf, TestLog } from '../audit/sealed/log.fixture.ts'
import type { SealedWriterOptions } from '../audit/sealed/options.ts'
import { AuditWriter } from '../audit/writer.ts'
import { Opcode } from '../cql/protocol.ts'
import type { Decision } from '../policy/engine.ts'
import type { RecordFile } from './record-file.ts'

export const hourMs = 3_600_000
export type Told = { -readonly [F in keyof TransactionEvent]: TransactionEvent[F] }

const refusal = { kind: 'deny', rule: 'default-deny', revision: 7, observed: undefined } as unknown as Decision

const sessions: readonly AuditSession[] = [
  {
    session: 'g1-1',
    workload: 'spiffe://demo.local/svc/orders',
    authentication: 'certificate',
    client: { address: '192.0.2.7', port: 40_123 },
    driver: 'DataStax Python Driver 3.30',
    protocolVersion: 5,
  },
  {
    session: 'g1-2',
    workload: 'spiffe://demo.local/tool/cqlsh',
    person: 'corp/alice\u202e\n"',
    authentication: 'certificate+oidc',
    client: { address: '2001:db8::7', port: 40_124 },
    gateway: 'spiffe://demo.local/ringfence/gateway/g1',
    evidence: {
      hash: 'ab'.repeat(32),
      tokenHash: 'cd'.repeat(32),
      provider: 'corp',
      issuer: 'https://x',
      tokenId: '5f1c',
    },
    protocolVersion: 4,
  } as AuditSession,
  {
    session: 's-3',
    workload: 'spiffe://demo.local/svc/half-\ud83d',
    person: 'corp/bob',
    authentication: 'listener+txn-token',
    transaction: 'txn-1',
    tokenHash: 'ef'.repeat(32),
    client: { address: '192.0.2.9', port: 1 },
    protocolVersion: 3,
  },
]

const statementsAnew = (): readonly EventStatement[] => [
  statementOf(`SELECT * FROM shop.orders WHERE id = 'CANARY-literal'`, ['shop.orders']),
  statementOf('INSERT INTO shop."Odd ""name" (a) VALUES (1)', ['shop."Odd ""name"']),
  statementOf('SELECT email FROM shop.by_day', ['shop.by_day', 'shop.orders']),
  statementOf('BEGIN BATCH INSERT INTO shop.a (k) VALUES (1); UPDATE stock.b SET v = 2 WHERE k = 3; APPLY BATCH', [
    'shop.a',
    'stock.b',
  ]),
  statementOf('SELECT * FROM shop."line\nfeed\u0000\u202e"', ['shop."line\nfeed\u0000\u202e"']),
]

/** What a record remembers of these is of one process. */
const sessionsAnew = (): readonly EventSession[] => sessions.map((who) => ({ notes: undefined, who }))

export class BothForms {
  readonly linesPath: string
  /** Another one after a kill. */
  sealedPath: string
  readonly #sealedOptions: Partial<SealedWriterOptions>
  readonly #lines: AuditWriter
  readonly #recorded: Recorded
  #sessions = sessionsAnew()
  #statements = statementsAnew()
  log: TestLog
  nowMs = startMs

  constructor(folder: string, sealedOptions: Partial<SealedWriterOptions> = {}) {
    this.linesPath = join(folder, 'lines')
    this.sealedPath = join(folder, 'sealed')
    const clock = { now: () => this.nowMs, monotonic: () => 0 } as never
    this.#lines = new AuditWriter({ directory: this.linesPath, proxy: 'sidecar-1', fileBytesMax: 20_000, clock })
    this.#recorded = new Recorded(this.#lines, () => 7)
    this.#sealedOptions = { clock, ...sealedOptions }
    this.log = new TestLog(this.sealedPath, this.#sealedOptions)
  }

  /** Everything that a sidecar may tell, in an order of its own for each `seed`. */
  run(turns: number, seed = 0): void {
    for (let turn = 0; turn < turns; turn++) {
      const under: Told[] = []
      for (let at = 0; at < 7; at++) {
        const event = this.event(turn * 31 + at * 7 + seed)
        if (event.kind === 'request' && event.decision === permit) {
          this.log.record.begun(event)
          under.push(event)
        } else this.#ended(event)
      }
      this.endTurn()
      this.nowMs += 3 + ((turn * 13) % 900)
      if (turn % 5 === 4) this.log.writer.sealNow()
      // They overtake each other, and some end behind a seal.
      for (const event of under.reverse()) this.#ended(event)
      if (turn % 11 === 10) this.#refused()
      this.endTurn()
    }
  }

  /** A request that left, and of which nothing more is heard: only the sealed record can have it. */
  begin(): void {
    const event = this.event(0)
    this.log.record.begun(event)
    this.endTurn()
  }

  /** Another process goes on. @param isKilled it says of what was begun that it is not known */
  restart(isKilled: boolean): void {
    if (!isKilled) this.log.writer.close()
    else {
      // What is left of it goes on elsewhere: nobody killed the writer of here.
      const left = this.sealedPath
      this.sealedPath = `${left}-`
      cpSync(left, this.sealedPath, { recursive: true })
    }
    this.#sessions = sessionsAnew()
    this.#statements = statementsAnew()
    this.log = new TestLog(this.sealedPath, this.#sealedOptions)
  }

  endTurn(): void {
    this.log.record.endTurn()
    this.#recorded.endTurn()
  }

  close(): void {
    this.endTurn()
    this.log.writer.close()
    this.#lines.close()
  }

  event(number: number): Told {
    const session = this.#sessions[Math.trunc(number / 9) % 3]!
    const base: Told = {
      kind: 'request',
      session,
      opcode: [Opcode.QUERY, Opcode.EXECUTE, Opcode.PREPARE][number % 5 === 0 ? 2 : number % 2]!,
      statement: this.#statements[number % this.#statements.length],
      decision: permit,
      rule: '',
      consistency: number % 4 === 0 ? 1 : 6,
      bytesIn: 90 + (number % 100),
      outcome: 'ok',
      code: -1,
      message: '',
      messageIsOurs: false,
      rows: number % 3 === 0 ? -1 : number % 500,
      bytesOut: 1200,
      latencyMicros: 800 + (number % 1000),
      waitedMicros: 0,
    }
    switch (number % 9) {
      case 0:
        return { ...base, outcome: 'error', code: 0x2200, message: `a value 'CANARY' of theirs`, rows: -1 }
      case 1:
        return {
          ...base,
          decision: refusal,
          outcome: 'error',
          code: 0x2100,
          message: 'no',
          messageIsOurs: true,
          rows: -1,
        }
      case 2:
        return { ...base, outcome: 'lost', code: 0, message: 'the node went away', messageIsOurs: true, rows: -1 }
      case 3:
        return whole(base, 'log-in', 'session')
      case 4:
        return whole(base, number % 2 === 0 ? 'log-out' : 'register', 'session')
      case 5:
        return { ...whole(base, 'request', 'overloaded'), opcode: Opcode.BATCH, outcome: 'error', code: 0x1001 }
      default:
        return base
    }
  }

  #ended(event: Told): void {
    this.log.record.ended(event)
    this.#recorded.ended(event)
  }

  #refused(): void {
    const logIn = {
      client: { address: '192.0.2.8', port: 4 },
      driver: 'a driver',
      cause: 'expired',
      evidence: { provider: 'corp', issuer: 'https://x', tokenId: '1', tokenHash: '9f', claimed: 'corp/alice' },
      gateway: undefined,
    } as never
    this.log.record.refused(logIn)
    this.#recorded.refused(logIn)
  }
}

/** Without a statement, and answered here. */
function whole(base: Told, kind: Told['kind'], rule: string): Told {
  return { ...base, kind, rule, opcode: 0, statement: undefined, decision: undefined, rows: -1, latencyMicros: 0 }
}

export function filesOf(directory: string): RecordFile[] {
  return readdirSync(directory)
    .filter((name) => name.startsWith('audit-'))
    .sort()
    .map((name) => join(directory, name))
    .map((path) => ({ path, bytes: statSync(path).size }))
}
