/**
 * Verdicts: text and keyspace become facts once, facts and identity become a decision once per policy revision and schema.
 *
 * Rule: a decision is used only while the policy and the schema that gave it are in force; `Judge.settled`, `Judge.current` and
 * `Judge.inForce` are the places that look.
 */
import { tablesMissing } from '../audit/record.ts'
import { SharedCache } from '../base/cache.ts'
import { contained } from '../base/contained.ts'
import { assert, RingfenceError } from '../base/errors.ts'
import { analyse } from '../cql/statement/analyse.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import { tooManyObjectsRule } from '../policy/denial.ts'
import type { Decision, Denial, Permit, PolicyEngine, Visibility } from '../policy/engine.ts'
import { isPermitOf } from '../policy/engine.ts'
import { type Pace, unpaced } from '../policy/pace.ts'
import { type Principal, principalKey } from '../policy/principal.ts'
import type { RequestContext, SchemaView } from '../policy/request.ts'
import { LoopShares } from '../session/loop-share.ts'
import type { AnsweredColumns } from './answered.ts'
import { describedBy, missingMessage } from './describe/missing.ts'
import { HiddenViews, hiddenView } from './hidden-views.ts'
import { IdentityState } from './identity-state.ts'
import { nothingDescribed, nothingThere } from './nothing-there.ts'
import { findTables, type Judged, textKey, undecided } from './statement.ts'
import { type StatementBounds, StatementMemory } from './statement-memory.ts'
import type { SchemaSource } from './touched.ts'

export { IdentityState } from './identity-state.ts'
export type { Judged } from './statement.ts'

/** Longer texts are judged each time: they would fill the memory and seldom come twice. */
const rememberedTextMax = 4096
/** That have no session. */
const identitiesMax = 10_000
const contextsPerStatementMax = 64
/** So many always fit into a record, for Cassandra's names have at most 48 and 222 characters. */
const tablesRecordedMin = 64

const traces = 'SELECT session_id FROM system_traces.sessions WHERE session_id = ?'

export class Judge {
  readonly #engine: PolicyEngine
  readonly #schema: SchemaSource
  readonly #shares = new LoopShares()
  readonly #identities = new SharedCache<IdentityState>(identitiesMax, (state) => state.forgetStatements())
  readonly #memory: StatementMemory
  readonly #hiddenViews: HiddenViews
  readonly #nowMs: () => number
  #epoch = 0
  #installsSeen = -1
  #schemaSeen = -1

  /** @param nowMs the wall clock that contexts have too, so that what was decided in a turn is in force to its end */
  constructor(engine: PolicyEngine, schema: SchemaSource, nowMs: () => number, bounds?: StatementBounds) {
    this.#nowMs = nowMs
    this.#memory = new StatementMemory(() => this.#identities.values(), bounds)
    this.#engine = engine
    this.#hiddenViews = new HiddenViews(engine)
    this.#schema = schema
  }

  get revision(): number {
    return this.#engine.revision
  }

  /**
   * The workload of a session with a person behind it. Its own are verdicts, texts and pages; the share of the loop and the rate of new
   * statements are the workload's, which would else have as many as it can name people.
   */
  behalf(principal: Principal, workload: IdentityState): IdentityState {
    const state = this.identity(principal)
    state.share = workload.share
    state.workload = workload
    state.prepared.lend(workload.prepared, (judged) => this.#again(judged))
    return state
  }

  identity(principal: Principal): IdentityState {
    const key = principalKey(principal)
    let state = this.#identities.get(key)
    if (state === undefined) {
      state = new IdentityState(principal, this.#memory, this.#shares.share())
      this.#identities.add(state)
    }
    return state
  }

  /** A session of the identity begins. */
  enter(identity: IdentityState): void {
    this.#identities.enter(identity)
    if (identity.workload !== undefined) this.#identities.enter(identity.workload)
  }

  leave(identity: IdentityState): void {
    this.#identities.leave(identity)
    if (identity.workload !== undefined) this.#identities.leave(identity.workload)
  }

  /** What was judged before in the same words; long texts are not remembered. */
  remembered(identity: IdentityState, text: string, keyspace: string): Judged | undefined {
    return text.length <= rememberedTextMax ? identity.text(textKey(text, keyspace)) : undefined
  }

  /**
   * Reads a statement; `current` decides on it. Throws `SYNTAX` or `INVALID` for what Cassandra would not understand either.
   * @param facts of the text, where it was analysed already
   */
  read(identity: IdentityState, text: string, keyspace: string, facts: StatementFacts = analyse(text)): Judged {
    const resolved = resolveKeyspace(facts, keyspace === '' ? undefined : keyspace)
    const judged = this.#undecided(text, keyspace, facts.unqualified, resolved)
    if (text.length <= rememberedTextMax) {
      identity.rememberText(textKey(text, keyspace), judged)
    }
    return judged
  }

  /** Throws `UNAUTHORIZED` when the identity may not USE the keyspace, `INVALID` when that is no name. */
  mayUse(identity: IdentityState, keyspace: string, request: RequestContext): void {
    permitOf(this.use(identity, keyspace, request).decision)
  }

  /** USE of a keyspace, decided. Throws `INVALID` when that is no name. */
  use(identity: IdentityState, keyspace: string, request: RequestContext): { judged: Judged; decision: Decision } {
    const judged = this.#useOf(identity, keyspace)
    return { judged, decision: this.current(identity, judged, request) }
  }

  /** As `ready`, for a session that begins in a keyspace. What is wrong with its name is told when it is used. */
  readyToUse(identity: IdentityState, keyspace: string, request: RequestContext): Promise<void> | undefined {
    let judged: Judged
    try {
      judged = this.#useOf(identity, keyspace)
    } catch {
      return this.ready(identity)
    }
    return this.ready(identity, (pace) => this.currentWithin(pace, identity, judged, request))
  }

  #useOf(identity: IdentityState, keyspace: string): Judged {
    const text = `USE "${keyspace.replaceAll('"', '""')}"`
    return this.remembered(identity, text, '') ?? this.read(identity, text, '')
  }

  /** Whether the identity may read what the node writes down when a request asks to be traced (attack C12). */
  mayTrace(identity: IdentityState, requestOf: (facts: StatementFacts) => RequestContext): boolean {
    const judged = this.remembered(identity, traces, '') ?? this.read(identity, traces, '')
    return this.current(identity, judged, requestOf(judged.facts)).kind === 'permit'
  }

  /** One of many statements of a BATCH message. Not remembered, for its text is not likely to come again. Throws as `read` does. */
  part(facts: StatementFacts, keyspace: string): Judged {
    const resolved = resolveKeyspace(facts, keyspace === '' ? undefined : keyspace)
    return this.#undecided('', keyspace, facts.unqualified, resolved)
  }

  /** The facts of a BATCH message, which has no text of its own. Not remembered. */
  whole(facts: StatementFacts, keyspace: string, parts: readonly Judged[]): Judged {
    const tables = new Set<string>()
    let last: Judged | undefined
    for (const part of parts) {
      if (part === last) continue
      last = part
      this.findTables(part)
      for (const table of part.tables) tables.add(table)
    }
    return this.#undecided('', keyspace, false, facts, [...tables])
  }

  /** Undefined where the record can tell every table that is touched; else the refusal. */
  untold(identity: IdentityState, { facts, tables }: Judged): Denial | undefined {
    // A keyspace that goes takes all its tables along, and its name says so.
    if (tables.length <= tablesRecordedMin || facts.verb === 'DROP KEYSPACE' || tablesMissing(tables) === 0)
      return undefined
    return this.refusal(
      identity,
      tooManyObjectsRule,
      `the record cannot tell all ${tables.length} tables that this touches`,
    )
  }

  /** True when `judged.decision` may be used as it stands. */
  settled(identity: IdentityState, judged: Judged): boolean {
    this.#look()
    return judged.epoch === this.#epoch && identity.epoch === this.#epoch && !identity.contextual
  }

  /** True for a permit of the policy and the schema in force, which the clock has not ended since. */
  inForce(permit: Permit): boolean {
    this.#look()
    return isPermitOf(permit, this.#epoch, this.#nowMs)
  }

  /** The decision of the policy and schema in force, for this request. */
  current(identity: IdentityState, judged: Judged, request: RequestContext): Decision {
    const decision = this.currentWithin(unpaced, identity, judged, request)
    assert(decision !== undefined, 'what has no pace does not wait')
    return decision
  }

  /** As `current`, at a pace: undefined where it has to wait, and be asked for again. */
  currentWithin(pace: Pace, identity: IdentityState, judged: Judged, request: RequestContext): Decision | undefined {
    if (this.settled(identity, judged)) return judged.decision
    if (identity.epoch !== this.#epoch && !this.#engine.readyWithin(pace, identity.principal)) return undefined
    this.#refresh(identity)
    const isNew = judged.epoch !== this.#epoch
    if (isNew) {
      judged.byContext = undefined
      this.findTables(judged)
    }
    let decision: Decision | undefined
    if (identity.contextual) decision = this.#inContext(pace, identity, judged, request)
    else if (isNew) decision = this.#decide(pace, identity, judged, request)
    else decision = judged.decision
    if (decision === undefined) return undefined
    if (isNew) judged.unknownTable = this.#unknownTable(judged.facts)
    judged.epoch = this.#epoch
    judged.decision = decision
    return decision
  }

  /**
   * Undefined where all that decides on the identity is at hand; else when it is. It is gathered within the identity's share of each turn: a
   * policy may have thousands of rules for it, and what decides at once would look at all of them in one go.
   *
   * @param decide decides at a pace on what is about to be decided at once; gives undefined where that has to wait
   */
  ready(identity: IdentityState, decide?: (pace: Pace) => unknown): Promise<void> | undefined {
    const { share } = identity
    const within = (): boolean => this.#readyWithin(identity) && (decide === undefined || decide(share) !== undefined)
    if (within()) return undefined
    return new Promise((resolve, reject) => {
      const gather = contained({ onFault: reject }, 'rules that are gathered', () => {
        if (within()) resolve()
        else share.later(gather)
      })
      share.later(gather)
    })
  }

  #readyWithin(identity: IdentityState): boolean {
    this.#look()
    if (identity.epoch !== this.#epoch && !this.#engine.readyWithin(identity.share, identity.principal)) return false
    this.#refresh(identity)
    return this.#visibilityWithin(identity.share, identity) !== undefined
  }

  /** Somebody was thrown out: no permit of before is good, and whatever waits is decided on again. */
  endEpoch(): void {
    this.#epoch++
  }

  /** Another number with each policy and each schema; what was decided under one is good while it stays. */
  get epoch(): number {
    this.#look()
    return this.#epoch
  }

  /** The decision of the policy in force, were the schema as the node's answer has it. Not remembered: the schema is about to be read. */
  withColumns(identity: IdentityState, { facts }: Judged, shown: AnsweredColumns, request: RequestContext): Decision {
    const { view } = this.#schema
    const { keyspace, table, columns } = shown
    const seen: SchemaView = {
      table: (inKeyspace, name) => {
        const info = view.table(inKeyspace, name)
        if (info === undefined || inKeyspace !== keyspace || name !== table) return info
        return { ...info, columns: [...new Set([...info.columns, ...columns])] }
      },
      indexedTable: (inKeyspace, index) => view.indexedTable(inKeyspace, index),
      hasFunction: (inKeyspace, name) => view.hasFunction?.(inKeyspace, name) === true,
    }
    return this.#engine.decide(identity.principal, facts, request, seen)
  }

  /** The partition key of the table that a statement reads or writes, where it is known. */
  partitionKey({ keyspace, table }: StatementFacts): readonly string[] | undefined {
    if (keyspace === undefined || table === undefined) return undefined
    return this.#schema.view.table(keyspace, table)?.partitionKey
  }

  visibility(identity: IdentityState): Visibility {
    this.#look()
    this.#refresh(identity)
    identity.visibility ??= this.#engine.visibility(identity.principal)
    return identity.visibility
  }

  /** See `PolicyEngine.impersonationRule`. */
  impersonationRule(workload: IdentityState, person: string): string | undefined {
    return this.#engine.impersonationRule(workload.principal, person)
  }

  #visibilityWithin(pace: Pace, identity: IdentityState): Visibility | undefined {
    identity.visibility ??= this.#engine.visibilityWithin(pace, identity.principal)
    return identity.visibility
  }

  /** A refusal that does not come from the rules on objects. `text` is for the client. */
  refusal(identity: IdentityState, rule: string, text: string): Denial {
    return this.#engine.denial(rule, `${identity.principal.spiffeId}: ${text}`)
  }

  /** The answer that takes a refusal's place where what is asked for exists for nobody. */
  nothingThere({ facts, text, keyspace }: Judged): Denial | undefined {
    const { view } = this.#schema
    const { revision } = this.#engine
    if (!facts.verb.startsWith('DESCRIBE')) return nothingThere(facts, view, revision)
    const described = describedBy(text)
    const message = described === undefined ? undefined : missingMessage(described, keyspace)
    return message === undefined ? undefined : nothingDescribed(described!, view, message, revision)
  }

  #again({ text, keyspace, keyspaceCounts, facts, bytes }: Judged): Judged {
    return { ...this.#undecided(text, keyspace, keyspaceCounts, facts), bytes }
  }

  #undecided(
    text: string,
    keyspace: string,
    keyspaceCounts: boolean,
    facts: StatementFacts,
    tables?: readonly string[],
  ): Judged {
    return undecided({ text, keyspace, keyspaceCounts, facts }, this.#schema, tables)
  }

  #decide(pace: Pace, identity: IdentityState, judged: Judged, request: RequestContext): Decision | undefined {
    const { facts } = judged
    const { principal } = identity
    const { view } = this.#schema
    const epoch = this.#epoch
    const asked = { judged, principal, request, epoch, schema: view }
    const known = this.#hiddenViews.underWay(asked)
    if (known !== undefined) return this.#hiddenViews.decide(pace, asked, known, this.visibility(identity))
    // First: a decision of many turns would be lost if this had to wait after it.
    if (judged.large && this.#visibilityWithin(pace, identity) === undefined) return undefined
    const decision =
      this.untold(identity, judged) ?? this.#engine.decideWithin(pace, principal, facts, request, view, epoch)
    if (decision === undefined || (decision.kind === 'permit' && facts.verb === 'SELECT')) return decision
    const visibility = this.#visibilityWithin(pace, identity)
    if (visibility === undefined) return undefined
    const hidden = hiddenView(facts, view, visibility)
    if (hidden !== undefined) return this.#hiddenViews.decide(pace, asked, hidden, visibility)
    return decision.kind === 'permit' ? decision : (this.nothingThere(judged) ?? decision)
  }

  /** See `findTables`. */
  findTables(judged: Judged): void {
    findTables(judged, this.#schema)
  }

  /** The decision for requests alike, taken when the first of them comes. */
  #inContext(pace: Pace, identity: IdentityState, judged: Judged, request: RequestContext): Decision | undefined {
    judged.byContext ??= new Map()
    const key = this.#engine.contextKey(identity.principal, request)
    let decision = judged.byContext.get(key)
    // The same hours of another day have the same key.
    if (decision === undefined || (decision.kind === 'permit' && !this.inForce(decision))) {
      decision = this.#decide(pace, identity, judged, request)
      if (decision === undefined) return undefined
      // No LRU: it would weigh more than the few decisions that a statement has, and there is one for each statement.
      if (judged.byContext.size >= contextsPerStatementMax) judged.byContext.clear()
      judged.byContext.set(key, decision)
    }
    return decision
  }

  /** A new policy or a new schema begins a new epoch. */
  #look(): void {
    if (this.#installsSeen === this.#engine.installs && this.#schemaSeen === this.#schema.epoch) return
    // Not told by the revision: a restored control plane may give its number to another text.
    this.#installsSeen = this.#engine.installs
    this.#schemaSeen = this.#schema.epoch
    this.#epoch++
  }

  #refresh(identity: IdentityState): void {
    if (identity.epoch === this.#epoch) return
    identity.epoch = this.#epoch
    identity.contextual = this.#engine.isContextual(identity.principal)
    identity.visibility = undefined
  }

  #unknownTable(facts: StatementFacts): boolean {
    for (const { permission, resource } of facts.accesses) {
      if (resource.kind !== 'table' || resource.keyspace === undefined) continue
      if (permission !== 'SELECT' && permission !== 'MODIFY') continue
      if (this.#schema.view.table(resource.keyspace, resource.table) === undefined) return true
    }
    return false
  }
}

/** The permit, or the refusal as the client sees it. */
export function permitOf(decision: Decision): Permit {
  if (decision.kind === 'permit') return decision
  throw new RingfenceError('UNAUTHORIZED', decision.reason)
}
