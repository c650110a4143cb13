/** What a PREPARED tells a gateway of a statement: its id, who has it, and where its partition key is bound. */
import { RingfenceError } from '../base/errors.ts'
import { copyOf, type Envelope, wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { envelopeHeaderBytes, Flag, headerFlags, headerOpcode, headerStream, writeHeader } from '../cql/protocol.ts'
import { PrepareView, readPrepare } from '../cql/requests.ts'
import { readError, readPrepared } from '../cql/responses.ts'
import type { Passing } from './passing.ts'
import type { Router } from './routing/router.ts'
import { KeyMarkers } from './routing/routing-key.ts'
import { Statement, type StatementTable } from './routing/statements.ts'
import type { SessionState } from './session-state.ts'
import type { UpstreamSession } from './upstream-session.ts'

/** A longer PREPARE is not remembered: its EXECUTEs go to the primary. */
const prepareBytesMax = 16 * 1024
/** Of one session, under way: more are not remembered. */
const preparesMax = 256

const view = new PrepareView()

/** The PREPAREs of one session that wait for their answers. */
export class Learning {
  readonly #state: SessionState
  /** Copies, by stream. */
  readonly #asked = new Map<number, Buffer>()

  constructor(state: SessionState) {
    this.#state = state
  }

  /** A PREPARE is about to be sent. */
  asked(request: Passing): void {
    if (request.byteCount > prepareBytesMax || this.#asked.size >= preparesMax) return
    this.#asked.set(request.stream, copyOf(request))
  }

  /** PREPARED came. */
  prepared(upstream: UpstreamSession, answer: Passing): void {
    const asked = this.#asked.get(answer.stream)
    if (asked === undefined) return
    const { services, statements, startup } = this.#state
    const prepared = { router: services.router, table: statements, upstream, version: startup.version, given: asked }
    learnStatement(prepared, answer)
  }

  /** UNPREPARED came: the sidecar has that statement no longer. */
  unprepared(upstream: UpstreamSession, answer: Passing): void {
    const { preparedId } = readError(answer)
    if (preparedId === undefined) return
    this.#state.statements.ids.find(preparedId, 0, preparedId.length)?.forget(upstream.link)
  }

  /** Nothing more comes on that stream. */
  over(stream: number): void {
    if (this.#asked.size > 0) this.#asked.delete(stream)
  }
}

/** A PREPARE, whose answer came. */
interface Prepared {
  readonly router: Router
  readonly table: StatementTable
  /** On which the answer came. */
  readonly upstream: UpstreamSession
  readonly version: ProtocolVersion
  /** The client's envelope, which is kept. */
  readonly given: Buffer
}

/**
 * Where its client has had its share of this turn the statement is learned in a later one. Until then its
 * EXECUTEs go to the primary.
 */
function learnStatement(prepared: Prepared, answer: Envelope): void {
  const { share } = prepared.table
  if (share.begin()) {
    try {
      learn(prepared, answer)
    } finally {
      share.end()
    }
    return
  }
  const kept = wholeEnvelope(copyOf(answer))
  share.later(() => {
    try {
      learnStatement(prepared, kept)
    } catch (reason) {
      // What cannot be read is not learned; its client has the answer already.
      if (!(reason instanceof RingfenceError)) throw reason
    }
  })
}

function learn(prepared: Prepared, answer: Envelope): void {
  const { router, table, upstream, version, given } = prepared
  const { id, bind } = readPrepared(answer, version)
  readPrepare(view, wholeEnvelope(given), version)
  const prepare = plain(given, view.payloadEnd)
  const known = table.ids.find(id, 0, id.length)
  if (known?.prepare.subarray(fixedBytes).equals(prepare.subarray(fixedBytes))) {
    known.nowOn(upstream.link)
    return
  }
  const route = router.texts.of(view.text, view.keyspace ?? upstream.keyspace, table.share)
  if (route.mayUse) return
  // v3 does not say which markers are the key; there they come from the text and the table, as soon as that is known.
  const names = bind.columns.map(({ name }) => name)
  const keyed =
    version >= 4
      ? {
          keyspace: bind.keyspace || route.keyspace,
          table: bind.table || route.table,
          reads: route.reads,
          key: KeyMarkers.of(bind.pkIndexes, names),
        }
      : route
  const inForce = route.unqualified && view.keyspace === undefined ? upstream.keyspace : undefined
  const statement = new Statement(id, prepare, inForce, keyed)
  router.statements.add(table, statement)
  statement.nowOn(upstream.link)
}

/** Version, flags and stream differ between two PREPAREs of one statement. */
const fixedBytes = 4

/** Without the custom payload and the tracing of one request: the PREPARE is sent again for others. Its bytes are ours to change. */
function plain(given: Buffer, payloadEnd: number): Buffer {
  const prepare =
    payloadEnd < 0 ? given : Buffer.concat([given.subarray(0, envelopeHeaderBytes), given.subarray(payloadEnd)])
  const flags = headerFlags(prepare, 0) & ~(Flag.CUSTOM_PAYLOAD | Flag.TRACING)
  const bodyBytes = prepare.length - envelopeHeaderBytes
  writeHeader(prepare, prepare[0]!, flags, headerStream(prepare, 0), headerOpcode(prepare, 0), bodyBytes)
  return prepare
}
