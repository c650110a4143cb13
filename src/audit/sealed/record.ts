/**
 * The sealed record as the barrier: what a request intends is written before it leaves, what became of it before its answer goes back.
 *
 * Rule: on the way of a request nothing is made: numbers of its session and statement are noted there, and the frames are written in place.
 */
import { Opcode } from '../../cql/protocol.ts'
import type { Decision } from '../../policy/engine.ts'
import { type Barrier, type EventSession, Note, type TransactionEvent } from '../event.ts'
import {
  errorPart,
  evidencePart,
  type RefusedLogIn,
  refusedLine,
  sessionPart,
  tracePart,
  verdictPart,
} from '../record.ts'
import { nameOf, ownVerdict, statementOf } from '../recorded.ts'
import { ruleOf, verdictOf } from '../verdict.ts'
import { Definitions } from './definitions.ts'
import { flag, frameKind } from './format.ts'
import type { SealedWriter } from './writer.ts'

/** Numbers, and the generation in which they are good. */
interface Defined {
  generation: number
  number: number
}

interface Asked extends Defined {
  decision: Decision | undefined
  opcode: number
  consistency: number
  tables: readonly string[]
}

const sessionNote = new Note<Defined>()
const askedNote = new Note<Asked>()

export class SealedRecord implements Barrier {
  readonly #writer: SealedWriter
  readonly #revision: () => number
  readonly #definitions: Definitions
  /** Only where the disk is waited for. */
  readonly commit?: () => Promise<boolean>

  /** @param revision of the policy in force */
  constructor(writer: SealedWriter, revision: () => number, waitsForDisk: boolean) {
    this.#writer = writer
    this.#revision = revision
    this.#definitions = new Definitions(writer)
    if (waitsForDisk) this.commit = () => writer.commit()
  }

  get failed(): boolean {
    return this.#writer.failed
  }

  endTurn(): boolean {
    return this.#writer.endTurn()
  }

  refused(logIn: RefusedLogIn): void {
    // What stands behind the beginning of a line, up to its end.
    this.#writer.event(JSON.parse(`{${refusedLine(logIn).slice(1, -2)}}`) as object)
  }

  begun(event: TransactionEvent): void {
    // Served again: the node did not act on it, and its intent stands.
    if (event.recordNumber !== undefined && event.recordNumber > 0) return
    const writer = this.#writer
    const frames = writer.reserve()
    const session = this.#sessionOf(event.session)
    const asked = this.#askedOf(event)
    frames.begin(frameKind.intent)
    event.recordNumber = writer.nextNumber()
    event.recordAsked = asked
    frames.number(session)
    frames.number(asked)
    frames.number(event.bytesIn)
    writer.end()
  }

  ended(event: TransactionEvent): void {
    const writer = this.#writer
    const frames = writer.reserve()
    const session = this.#sessionOf(event.session)
    const asked = this.#askedOf(event)
    const intent = event.recordNumber ?? 0
    const isKnown = intent > writer.numberDefined && asked === event.recordAsked
    const evidence = event.kind === 'log-in' ? event.session.who.evidence : undefined
    const hasError = event.code >= 0
    const flags =
      (event.outcome === 'lost' ? flag.lost : 0) |
      (event.outcome === 'error' ? flag.refused : 0) |
      (hasError ? flag.error : 0) |
      (isKnown ? 0 : flag.refs) |
      (evidence === undefined ? 0 : flag.evidence) |
      (event.trace === undefined ? 0 : flag.trace)
    if (intent > 0) {
      frames.begin(frameKind.outcome)
      frames.byte(flags)
      frames.number(writer.number - intent)
      event.recordNumber = 0
    } else {
      frames.begin(frameKind.whole)
      frames.byte(flags)
      writer.nextNumber()
    }
    if (!isKnown) {
      frames.number(session)
      frames.number(asked)
      frames.number(event.bytesIn)
    }
    frames.number(event.rows + 1)
    frames.number(event.bytesOut)
    frames.number(event.latencyMicros)
    if (hasError)
      frames.lengthAndText(errorPart(event.code, event.message, event.messageIsOurs ? 'ours' : 'foreign').slice(1))
    if (evidence !== undefined) frames.lengthAndText(evidencePart(evidence).slice(1))
    if (event.trace !== undefined) frames.lengthAndText(tracePart(event.trace).slice(1))
    writer.end()
  }

  #sessionOf(session: EventSession): number {
    const { generation } = this.#writer
    const known = sessionNote.of(session)
    if (known?.generation === generation) return known.number
    const number = this.#definitions.text(frameKind.session, sessionPart(session.who).slice(1))
    sessionNote.set(session, { generation, number })
    return number
  }

  #askedOf(event: TransactionEvent): number {
    const { statement, decision, opcode } = event
    if (statement === undefined) return this.#defineAsked(event, -1)
    const consistency = opcode === Opcode.PREPARE ? -1 : event.consistency
    const known = askedNote.of(statement)
    if (
      known !== undefined &&
      known.generation === this.#writer.generation &&
      known.decision === decision &&
      known.opcode === opcode &&
      known.consistency === consistency &&
      known.tables === statement.tables
    ) {
      return known.number
    }
    const number = this.#defineAsked(event, consistency)
    const { generation } = this.#writer
    askedNote.set(statement, { generation, number, decision, opcode, consistency, tables: statement.tables })
    return number
  }

  #defineAsked(event: TransactionEvent, consistency: number): number {
    const { statement, decision, opcode } = event
    const definitions = this.#definitions
    const verdict =
      statement === undefined || decision === undefined
        ? ownVerdict(event, this.#revision())
        : verdictPart({ verdict: verdictOf(decision), rule: ruleOf(decision), policyRevision: decision.revision })
    const text = statement === undefined ? nameOf(event) : statementOf(statement)
    return definitions.asked(
      definitions.text(frameKind.statement, text.slice(1)),
      definitions.text(frameKind.verdict, verdict.slice(1)),
      statement === undefined ? 0 : opcode,
      consistency,
      statement?.facts.children.length ?? 0,
    )
  }
}
