/**
 * What the sidecar writes down and counts of each transaction.
 */
import type { AuditSession } from '../audit/record.ts'
import {
  answeredPart,
  appendAnswered,
  appendTransaction,
  errorPart,
  requestPart,
  sessionPart,
  statementPart,
  verdictPart,
} from '../audit/record.ts'
import type { AuditWriter } from '../audit/writer.ts'
import { RingfenceError } from '../base/errors.ts'
import { Opcode } from '../cql/protocol.ts'
import { readError } from '../cql/responses.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Decision, Denial, Permit } from '../policy/engine.ts'
import type { Turn } from '../session/turn.ts'
import type { TrafficTable } from '../telemetry/traffic.ts'
import type { IdentityState, Judged } from './judged.ts'
import type { Request } from './request.ts'
import { targetOf } from './touched.ts'

/** Rules of the mesh itself, beside those of the policy. */
export const NO_SUCH_ID = 'unknown-prepared-id'
export const NODE_REFUSED = 'node-refused'
const NOT_UNDERSTOOD = 'not-understood'
const NODE_AWAY = 'node-away'
const OVERLOADED = 'overloaded'
const TOO_LARGE = 'too-large'
const SESSION = 'session'

/** The middle of a statement's records, for one way of asking. */
interface Answered {
  readonly statement: string
  readonly permit: Permit
  readonly opcode: number
  readonly consistency: number
  readonly part: Buffer
}

export class Recorder {
  readonly #writer: AuditWriter
  readonly #traffic: TrafficTable
  readonly #turn: Turn
  readonly #revision: () => number
  readonly #answered = new WeakMap<Judged, Answered>()

  constructor(writer: AuditWriter, traffic: TrafficTable, turn: Turn, revision: () => number) {
    this.#writer = writer
    this.#traffic = traffic
    this.#turn = turn
    this.#revision = revision
  }

  /** True while records cannot be written; then nothing may be forwarded. */
  get failed(): boolean {
    return this.#writer.failed
  }

  statementPart(facts: StatementFacts, tables: readonly string[]): string {
    return statementPart({
      ...targetOf(facts),
      tables,
      operation: facts.verb,
      statement: facts.redacted,
    })
  }

  /** The record of a session's beginning; gives the part that its transactions share. */
  connected(session: AuditSession): string {
    const part = sessionPart(session)
    this.#session(part, 'CONNECT')
    return part
  }

  disconnected(part: string): void {
    this.#session(part, 'DISCONNECT')
  }

  /** The client asked to be told of events. */
  registered(part: string): void {
    this.#session(part, 'REGISTER')
  }

  /** An answered request. `code` is the CQL error or −1; `rows` a count or −1. */
  done(request: Request, code: number, rows: number, buffer: Buffer, start: number, end: number): void {
    const micros = this.#turn.nowMicros() - request.startedMicros
    const error = code < 0 ? '' : errorPart(code, readError(buffer, start, end).message, 'foreign')
    this.#append(request, code < 0 ? 'ok' : 'error', error, rows, end - start, micros)
    const { session, judged, opcode } = request
    this.#count(session.identity, judged, request.permit!, opcode, micros, code >= 0)
  }

  /** A request whose outcome nobody knows. */
  lost(request: Request, why: string): void {
    const micros = this.#turn.nowMicros() - request.startedMicros
    this.#append(request, 'lost', errorPart(0, why, 'ours'), -1, 0, micros)
    const { session, judged, opcode } = request
    this.#count(session.identity, judged, request.permit!, opcode, micros, true)
  }

  /** A request that was answered here and not by the node. `code` is the CQL error or −1; `rows` a count or −1. */
  answeredHere(
    session: string,
    identity: IdentityState,
    judged: Judged,
    permit: Permit,
    opcode: number,
    consistency: number,
    code: number,
    message: string,
    rows: number,
    bytesIn: number,
    bytesOut: number,
    micros: number,
  ): void {
    const error = code < 0 ? '' : errorPart(code, message, 'foreign')
    const outcome = code < 0 ? 'ok' : 'error'
    this.#write(session, judged, permit, opcode, consistency, outcome, error, rows, bytesIn, bytesOut, micros)
    this.#count(identity, judged, permit, opcode, micros, code >= 0)
  }

  /** A statement that was read and refused. `code` is the CQL error; `consistency` the protocol's code, or −1. */
  denied(
    session: string,
    identity: IdentityState,
    judged: Judged,
    denial: Denial,
    code: number,
    opcode: number,
    consistency: number,
    bytesIn: number,
    bytesOut: number,
  ): void {
    const error = errorPart(code, denial.reason, 'ours')
    this.#write(session, judged, denial, opcode, consistency, 'error', error, -1, bytesIn, bytesOut, 0)
    this.#count(identity, judged, denial, opcode, 0, true)
  }

  /** A request that was refused before there was a verdict on it, or in spite of one. `code` is the CQL error. */
  refused(session: string, opcode: number, rule: string, code: number, message: string, bytesIn: number): void {
    const statement = statementPart({
      keyspace: undefined,
      table: undefined,
      operation: opcodeName(opcode),
      statement: undefined,
    })
    const verdict = verdictPart({ verdict: 'deny', rule, policyRevision: this.#revision() })
    const error = errorPart(code, message, 'foreign')
    appendTransaction(this.#writer, session, statement, verdict, 0, -1, 'error', error, -1, bytesIn, 0, 0)
    this.#turn.wake()
  }

  #session(part: string, operation: string): void {
    const statement = statementPart({
      keyspace: undefined,
      table: undefined,
      operation,
      statement: undefined,
    })
    const verdict = verdictPart({ verdict: 'allow', rule: SESSION, policyRevision: this.#revision() })
    appendTransaction(this.#writer, part, statement, verdict, 0, -1, 'ok', '', -1, 0, 0, 0)
    this.#turn.wake()
  }

  #append(
    request: Request,
    outcome: 'ok' | 'error' | 'lost',
    error: string,
    rows: number,
    bytesOut: number,
    micros: number,
  ): void {
    const { session, judged, opcode, consistency, bytesIn } = request
    const permit = request.permit!
    if (outcome === 'ok' && (opcode === Opcode.EXECUTE || opcode === Opcode.QUERY)) {
      const part = this.#answeredPart(judged, permit, opcode, consistency)
      appendAnswered(this.#writer, session.sessionPart, part, rows, bytesIn, bytesOut, micros)
      this.#turn.wake()
      return
    }
    const part = session.sessionPart
    this.#write(part, judged, permit, opcode, consistency, outcome, error, rows, bytesIn, bytesOut, micros)
  }

  /** The line of one statement with its verdict. A PREPARE has no consistency, whatever is given. */
  #write(
    session: string,
    judged: Judged,
    decision: Decision,
    opcode: number,
    consistency: number,
    outcome: 'ok' | 'error' | 'lost',
    error: string,
    rows: number,
    bytesIn: number,
    bytesOut: number,
    micros: number,
  ): void {
    appendTransaction(
      this.#writer,
      session,
      judged.statementPart + opcodePart(opcode),
      verdictOf(judged, decision),
      judged.facts.children.length,
      opcode === Opcode.PREPARE ? -1 : consistency,
      outcome,
      error,
      rows,
      bytesIn,
      bytesOut,
      micros,
    )
    this.#turn.wake()
  }

  /** Made again when the last one was for another decision, opcode or consistency. */
  #answeredPart(judged: Judged, permit: Permit, opcode: number, consistency: number): Buffer {
    const known = this.#answered.get(judged)
    if (
      known?.permit === permit &&
      known.opcode === opcode &&
      known.consistency === consistency &&
      known.statement === judged.statementPart
    ) {
      return known.part
    }
    const statement = judged.statementPart + opcodePart(opcode)
    const part = answeredPart(statement, verdictOf(judged, permit), judged.facts.children.length, consistency)
    this.#answered.set(judged, { statement: judged.statementPart, permit, opcode, consistency, part })
    return part
  }

  #count(
    identity: IdentityState,
    judged: Judged,
    decision: Decision,
    opcode: number,
    micros: number,
    failed: boolean,
  ): void {
    if (opcode === Opcode.PREPARE && decision.kind === 'permit') return
    if (judged.trafficRow >= 0 && judged.trafficOf === decision) {
      if (this.#traffic.record(judged.trafficRow, micros, failed)) return
    }
    const { principal } = identity
    judged.trafficRow = this.#traffic.row({
      workload: principal.spiffeId,
      person: principal.person,
      keyspace: judged.facts.keyspace,
      table: judged.facts.table,
      operation: judged.facts.verb,
      verdict: verdictWord(decision),
      rule: ruleOfDecision(decision),
    })
    judged.trafficOf = decision
    this.#traffic.record(judged.trafficRow, micros, failed)
  }
}

/** What stopped a request, by our own error: a queue that is full is not a node that is away, though a driver hears the same code. */
export function ruleOfFault(reason: unknown): string {
  switch (reason instanceof RingfenceError ? reason.code : undefined) {
    case 'OVERLOADED':
      return OVERLOADED
    case 'UNAVAILABLE':
    case 'UPSTREAM':
      return NODE_AWAY
    case 'TOO_LARGE':
      return TOO_LARGE
    default:
      return NOT_UNDERSTOOD
  }
}

/** Serialised once for each decision on a statement. */
function verdictOf(judged: Judged, decision: Decision): string {
  if (judged.verdictOf !== decision) {
    judged.verdictOf = decision
    judged.verdictPart = verdictPart({
      verdict: verdictWord(decision),
      rule: ruleOfDecision(decision),
      policyRevision: decision.revision,
    })
  }
  return judged.verdictPart
}

/** `observe`: let through although a rule in observe mode would have refused it. */
function verdictWord(decision: Decision): 'allow' | 'deny' | 'observe' {
  if (decision.kind === 'denial') return 'deny'
  return decision.observed === undefined ? 'allow' : 'observe'
}

function ruleOfDecision(decision: Decision): string {
  return decision.kind === 'permit' && decision.observed !== undefined ? decision.observed : decision.rule
}

const opcodeNames = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))
const opcodeParts = new Map<number, string>([...opcodeNames].map(([code, name]) => [code, requestPart(name)]))

function opcodeName(opcode: number): string {
  return opcodeNames.get(opcode) ?? 'UNKNOWN'
}

function opcodePart(opcode: number): string {
  return opcodeParts.get(opcode) ?? ''
}
