/**
 * The record of each transaction as a line of the audit's file. It is the barrier: nothing leaves before its line is written.
 */
import { Opcode } from '../cql/protocol.ts'
import type { Decision } from '../policy/engine.ts'
import { type Barrier, type EventKind, type EventStatement, Note, type TransactionEvent } from './event.ts'
import {
  type AuditBytes,
  type AuditParts,
  type AuditSink,
  answeredPart,
  appendAnswered,
  appendTransaction,
  errorPart,
  evidencePart,
  type RefusedLogIn,
  refusedLine,
  requestPart,
  sessionPart,
  statementPart,
  tracePart,
  verdictPart,
} from './record.ts'
import { ruleOf, targetOf, verdictOf } from './verdict.ts'

/** What the record is written with; `AuditWriter` is one. */
export interface AuditOutput extends AuditSink, AuditBytes {
  readonly failed: boolean
  endTurn(): boolean
}

/** The middle of a statement's records, for one way of asking. */
interface Answered {
  readonly decision: Decision
  readonly opcode: number
  readonly consistency: number
  readonly tables: readonly string[]
  readonly part: Buffer
}

interface StatementPart {
  readonly tables: readonly string[]
  readonly part: string
}

interface VerdictPart {
  readonly decision: Decision
  readonly part: string
}

const sessionNote = new Note<string>()
const answeredNote = new Note<Answered>()
const statementNote = new Note<StatementPart>()
const verdictNote = new Note<VerdictPart>()

/** In the record, of what is no request. */
const operations: Readonly<Record<Exclude<EventKind, 'request'>, string>> = {
  'log-in': 'CONNECT',
  'log-out': 'DISCONNECT',
  register: 'REGISTER',
}

export class Recorded implements Barrier {
  readonly #output: AuditOutput
  readonly #revision: () => number

  /** @param revision of the policy in force */
  constructor(output: AuditOutput, revision: () => number) {
    this.#output = output
    this.#revision = revision
  }

  get failed(): boolean {
    return this.#output.failed
  }

  endTurn(): boolean {
    return this.#output.endTurn()
  }

  refused(logIn: RefusedLogIn): void {
    this.#output.append(this.#output.begin() + refusedLine(logIn))
  }

  ended(event: TransactionEvent): void {
    const { session, statement, decision, opcode } = event
    const part = sessionNote.of(session) ?? sessionNote.set(session, sessionPart(session.who))
    const isPlain =
      event.outcome === 'ok' && event.trace === undefined && (opcode === Opcode.EXECUTE || opcode === Opcode.QUERY)
    if (isPlain && statement !== undefined && decision !== undefined) {
      const answered = answeredOf(statement, decision, event)
      appendAnswered(this.#output, part, answered, event)
      return
    }
    appendTransaction(this.#output, partsOf(event, this.#revision()), event)
  }
}

/** Of any line. @param revision of the policy in force */
export function partsOf(event: TransactionEvent, revision: number): AuditParts {
  const { session, statement, decision, opcode } = event
  const part = sessionNote.of(session) ?? sessionNote.set(session, sessionPart(session.who))
  return {
    session:
      event.kind === 'log-in' && session.who.evidence !== undefined
        ? part + evidencePart(session.who.evidence)
        : part + tracePart(event.trace),
    statement: statement === undefined ? nameOf(event) : statementOf(statement) + opcodePart(opcode),
    verdict:
      statement === undefined || decision === undefined
        ? ownVerdict(event, revision)
        : verdictPartOf(statement, decision),
    batchSize: statement?.facts.children.length ?? 0,
    // A PREPARE has no consistency, and what was refused before it was understood has none that is known.
    consistency: opcode === Opcode.PREPARE || statement === undefined ? -1 : event.consistency,
    error: event.code < 0 ? '' : errorPart(event.code, event.message, event.messageIsOurs ? 'ours' : 'foreign'),
  }
}

/** By a rule of the mesh itself. */
export function ownVerdict(event: TransactionEvent, policyRevision: number): string {
  return verdictPart({ verdict: ownVerdictOf(event), rule: event.rule, policyRevision })
}

function ownVerdictOf({ kind, code }: TransactionEvent): 'allow' | 'deny' {
  // Whose session ends by an error was thrown out.
  return kind === 'request' || code >= 0 ? 'deny' : 'allow'
}

/** What its line says. */
export function verdictOfEvent(event: TransactionEvent): 'allow' | 'deny' | 'observe' {
  const { statement, decision } = event
  return statement === undefined || decision === undefined ? ownVerdictOf(event) : verdictOf(decision)
}

/** Made again when the last one was for another decision, opcode or consistency. */
function answeredOf(statement: EventStatement, decision: Decision, event: TransactionEvent): Buffer {
  const { opcode, consistency } = event
  const known = answeredNote.of(statement)
  if (
    known?.decision === decision &&
    known.opcode === opcode &&
    known.consistency === consistency &&
    known.tables === statement.tables
  ) {
    return known.part
  }
  const text = statementOf(statement) + opcodePart(opcode)
  const { children } = statement.facts
  const part = answeredPart(text, verdictPartOf(statement, decision), children.length, consistency)
  answeredNote.set(statement, { decision, opcode, consistency, tables: statement.tables, part })
  return part
}

/** Serialised once for each schema. */
export function statementOf(statement: EventStatement): string {
  const { facts, tables } = statement
  const known = statementNote.of(statement)
  if (known?.tables === tables) return known.part
  const part = statementPart({ ...targetOf(facts), tables, operation: facts.verb, statement: facts.redacted })
  statementNote.set(statement, { tables, part })
  return part
}

/** Serialised once for each decision on a statement. */
function verdictPartOf(statement: EventStatement, decision: Decision): string {
  const known = verdictNote.of(statement)
  if (known?.decision === decision) return known.part
  const part = verdictPart({
    verdict: verdictOf(decision),
    rule: ruleOf(decision),
    policyRevision: decision.revision,
  })
  verdictNote.set(statement, { decision, part })
  return part
}

/** Of what has no statement: what it was. */
export function nameOf({ kind, opcode }: TransactionEvent): string {
  const operation = kind === 'request' ? (opcodeNames.get(opcode) ?? 'UNKNOWN') : operations[kind]
  return statementPart({ keyspace: undefined, table: undefined, operation, statement: undefined })
}

const opcodeNames = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))
const opcodeParts = new Map<number, string>([...opcodeNames].map(([code, name]) => [code, requestPart(name)]))

function opcodePart(opcode: number): string {
  return opcodeParts.get(opcode) ?? ''
}
