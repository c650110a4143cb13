/**
 * A BATCH message of many statements is judged piece by piece, while its client's other requests wait. It may have tens of thousands of
 * statements, all of different texts, and must not hold up everybody else.
 *
 *   texts that are new ─ some at a time ─▶ Analyst ─▶ judged ─ each part ─▶ decided ─▶ its values checked ─▶ BatchVerdict
 *
 * Rule: the verdict is of one policy and one schema, from the first part to the last; where they change meanwhile, all is decided again.
 */

import { RingfenceError } from '../base/errors.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import type { ProtocolVersion } from '../cql/protocol.ts'
import { BatchView, readBatch } from '../cql/requests.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import type { Decision, Denial, Permit } from '../policy/engine.ts'
import { permitOfAll } from '../policy/engine.ts'
import type { Analysed } from './analyst.ts'
import { batchFacts } from './batch.ts'
import { BoundValues } from './bound.ts'
import { checked, Partitions } from './checks.ts'
import type { IdentityState, Judge, Judged } from './judged.ts'
import { BatchKinds } from './limits/kinds.ts'

/** Fewer statements with less text are judged in one go. */
export const partsInlineMax = 256
/** Of texts that are read together; their facts come back in one message, which takes a millisecond or two to unpack. */
const portionChars = 16 * 1024
/** Parts between two looks at the clock. */
const partsAPiece = 16

const values = new BoundValues()

/** What became of the parts, under the policy and schema of `epoch`. */
export interface BatchVerdict {
  readonly view: BatchView
  readonly epoch: number
  /** The whole, for the record; undefined where a prepared id is not known, which is then here. */
  readonly whole: Judged | undefined
  readonly unknownId: Buffer | undefined
  /** The first part's that is refused, else of all; undefined for a BATCH of nothing. */
  readonly decision: Decision | undefined
  /** That it writes to, where somebody counted; else 1. */
  readonly partitions: number
  /** Its statements as limits count them, where there is one. */
  readonly kinds: BatchKinds | undefined
}

export interface LargeBatchHost {
  readonly judge: Judge
  readonly identity: IdentityState
  readonly version: ProtocolVersion
  readonly keyspaceInForce: string
  readonly analyse: (texts: readonly string[]) => Promise<readonly Analysed[]>
  /** Undefined where the decision has to wait. */
  readonly decide: (part: Judged, consistency: number, bound: BoundValues | undefined) => Decision | undefined
  /** Resolves when the schema was read again, or cannot be. */
  readonly freshSchema: () => Promise<void>
  /** How many partitions it writes to, and what its statements weigh, counts for a limit. */
  readonly limited: boolean
}

/** Each step is a short piece of work; a promise is waited for before the next. */
export type BatchSteps = Generator<Promise<void> | undefined, BatchVerdict>

/** @param request the whole envelope; kept */
export function* judgeLargeBatch(host: LargeBatchHost, request: Buffer): BatchSteps {
  const { judge, identity, version } = host
  const view = new BatchView()
  readBatch(view, wholeEnvelope(request), version)
  yield
  const keyspace = view.keyspace ?? host.keyspaceInForce
  const ofTexts = yield* readTexts(host, view, keyspace)
  const parts: Judged[] = []
  for (const part of view.parts) {
    if (parts.length % partsAPiece === 0) yield
    const known =
      part.text === undefined
        ? identity.prepared.find(request, part.idStart, part.idEnd)?.judged
        : ofTexts.get(part.text)
    if (known === undefined) {
      const unknownId = request.subarray(part.idStart, part.idEnd)
      const nothing = { whole: undefined, decision: undefined, partitions: 1, kinds: undefined }
      return { view, epoch: judge.epoch, unknownId, ...nothing }
    }
    judge.findTables(known)
    parts.push(known)
  }
  yield
  const facts = batchFacts(parts, view.type)
  yield
  const whole = judge.whole(facts, keyspace, parts)
  for (;;) {
    const { epoch } = judge
    const partitions = new Partitions(judge, parts, view)
    const decision = yield* decideAll(host, view, parts, whole, partitions)
    const kinds = host.limited ? new BatchKinds(facts, (child) => judge.partitionKey(child)) : undefined
    if (kinds !== undefined) {
      while (!partitions.countSome(partsAPiece)) yield
      while (!kinds.countSome(partsAPiece)) yield
    }
    if (judge.epoch !== epoch) continue
    const counted = kinds === undefined ? 1 : partitions.count
    return { view, epoch, whole, unknownId: undefined, decision, partitions: counted, kinds }
  }
}

/** Every text of the batch with its statement; one statement for all texts that come to the same facts. */
function* readTexts(
  { judge, identity, analyse }: LargeBatchHost,
  { parts }: BatchView,
  keyspace: string,
): Generator<Promise<void> | undefined, ReadonlyMap<string, Judged>> {
  const ofTexts = new Map<string, Judged>()
  const ofFacts = new Map<StatementFacts, Judged>()
  let portion = new Set<string>()
  let characters = 0
  for (let at = 0; at < parts.length; at++) {
    if (at % partsAPiece === 0) yield
    const { text } = parts[at]!
    if (text !== undefined && !ofTexts.has(text) && !portion.has(text)) {
      const known = judge.remembered(identity, text, keyspace)
      if (known !== undefined) ofTexts.set(text, known)
      else {
        portion.add(text)
        characters += text.length
      }
    }
    if (portion.size === 0 || (characters < portionChars && at + 1 < parts.length)) continue
    const texts = [...portion]
    portion = new Set()
    characters = 0
    let analysed: readonly Analysed[] = []
    yield analyse(texts).then((answer) => {
      analysed = answer
    })
    for (let each = 0; each < texts.length; each++) {
      if (each % partsAPiece === 0) yield
      ofTexts.set(texts[each]!, judgedOf(analysed[each]!))
    }
  }
  return ofTexts

  function judgedOf(analysed: Analysed): Judged {
    if ('code' in analysed) throw new RingfenceError(analysed.code, analysed.message)
    let judged = ofFacts.get(analysed.facts)
    if (judged === undefined) {
      judged = judge.part(analysed.facts, keyspace)
      ofFacts.set(analysed.facts, judged)
    }
    return judged
  }
}

/** All or nothing: the first denial ends it. */
function* decideAll(
  host: LargeBatchHost,
  view: BatchView,
  parts: readonly Judged[],
  whole: Judged,
  partitions: Partitions,
): Generator<Promise<void> | undefined, Decision | undefined> {
  const { judge } = host
  const permits: Permit[] = []
  let freshEpoch = -1
  for (let at = 0; at < parts.length; at++) {
    if (at % partsAPiece === 0) yield
    const part = parts[at]!
    for (;;) {
      const decision = host.decide(
        part,
        view.consistency,
        values.ofPart(view, view.parts[at]!, part.facts.markers, partitions),
      )
      if (decision?.kind === 'denial') {
        if (decision.invalid !== true || freshEpoch === judge.epoch) return decision
        break
      }
      if (decision !== undefined) {
        permits.push(decision)
        break
      }
      yield
    }
    // A table that is not known may have been made a moment ago: asked for once for all of them.
    if ((part.unknownTable || permits.length === at) && freshEpoch !== judge.epoch) {
      yield host.freshSchema()
      if (freshEpoch === -1 || judge.epoch !== freshEpoch) freshEpoch = judge.epoch
      at = -1
      permits.length = 0
    }
  }
  const counted = permits.some(({ obligations }) => obligations?.checks.some(({ test }) => test.kind === 'partitions'))
  if (counted) while (!partitions.countSome(partsAPiece)) yield
  for (let at = 0; at < parts.length; at++) {
    if (at % partsAPiece === 0) yield
    const bound = values.ofPart(view, view.parts[at]!, parts[at]!.facts.markers, partitions)
    const decision: Permit | Denial = checked(judge, host.identity, permits[at]!, bound)
    if (decision.kind === 'denial') return decision
    permits[at] = decision
  }
  // Conditions of a BATCH answer with more than each of them would alone.
  while (whole.facts.conditional) {
    const decision = host.decide(whole, view.consistency, undefined)
    if (decision?.kind === 'denial') return decision
    if (decision !== undefined) {
      permits.push(decision)
      break
    }
    yield
  }
  return permitOfAll(permits)
}
