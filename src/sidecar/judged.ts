/**
 * Verdicts: text and keyspace become facts once, facts and identity become a decision once per policy revision.
 *
 * Rule: a decision is used only while its revision is the one in force; `Judge.current` is the one place that looks.
 */
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { analyse } from '../cql/statement/analyse.ts'
import type { StatementFacts } from '../cql/statement/facts.ts'
import { resolveKeyspace } from '../cql/statement/resolve.ts'
import type { Decision, Permit, PolicyEngine } from '../policy/engine.ts'
import type { Principal } from '../policy/policy.ts'
import { PreparedTable } from './prepared.ts'
import type { Recorder } from './recorder.ts'
import { namesTopology } from './topology.ts'

/** One statement as one identity sees it. */
export interface Judged {
  readonly text: string
  /** The keyspace in force when it was read; empty for none. */
  readonly keyspace: string
  readonly facts: StatementFacts
  /** See `namesTopology`. */
  readonly namesTopology: boolean
  /** Of the revision it names; see `Judge.current`. */
  decision: Decision
  /** The record's part that is the same for every execution, made once. */
  readonly statementPart: string
  /** Handle in the traffic table for the decision above; −1 until it is used. */
  trafficRow: number
  trafficRevision: number
  /** The record's verdict part of one decision, made when it is first written. */
  verdictOf: Decision | undefined
  verdictPart: string
}

/** What the sidecar remembers of one identity, over all its sessions. */
export class IdentityState {
  readonly principal: Principal
  readonly prepared = new PreparedTable()
  /** Statements sent as text, by keyspace and text. */
  readonly texts = new Map<string, Judged>()
  sessions = 0

  constructor(principal: Principal) {
    this.principal = principal
  }
}

/** Longer texts are judged each time: they would fill the memory and seldom come twice. */
const REMEMBERED_TEXT_MAX = 4096
const TEXTS_PER_IDENTITY_MAX = 2000
const IDENTITIES_MAX = 10_000

export class Judge {
  readonly #engine: PolicyEngine
  readonly #recorder: Recorder
  readonly #identities = new Map<string, IdentityState>()

  constructor(engine: PolicyEngine, recorder: Recorder) {
    this.#engine = engine
    this.#recorder = recorder
  }

  get revision(): number {
    return this.#engine.revision
  }

  identity(principal: Principal): IdentityState {
    let state = this.#identities.get(principal.spiffeId)
    if (state === undefined) {
      state = new IdentityState(principal)
      if (this.#identities.size >= IDENTITIES_MAX) this.#forgetUnused()
    } else {
      this.#identities.delete(principal.spiffeId)
    }
    this.#identities.set(principal.spiffeId, state)
    return state
  }

  /** Reads and judges a statement. Throws `SYNTAX` or `INVALID` for what Cassandra would not understand either. */
  judge(identity: IdentityState, text: string, keyspace: string): Judged {
    // The length in front keeps a keyspace that a client made up from being read as the beginning of a text.
    const key = text.length <= REMEMBERED_TEXT_MAX ? `${keyspace.length}:${keyspace}${text}` : undefined
    const known = key === undefined ? undefined : identity.texts.get(key)
    if (known !== undefined) return known
    const facts = resolveKeyspace(analyse(text), keyspace === '' ? undefined : keyspace)
    const judged = this.#judged(identity, text, keyspace, facts)
    if (key !== undefined) {
      if (identity.texts.size >= Math.min(TEXTS_PER_IDENTITY_MAX, limits.decisionsMax)) identity.texts.clear()
      identity.texts.set(key, judged)
    }
    return judged
  }

  /** Throws `UNAUTHORIZED` when the identity may not USE the keyspace, `INVALID` when that is no name. */
  mayUse(identity: IdentityState, keyspace: string): void {
    permitOf(this.current(identity, this.judge(identity, `USE "${keyspace.replaceAll('"', '""')}"`, '')))
  }

  /** Judges facts that have no text of their own, such as those of a BATCH message. Not remembered. */
  whole(identity: IdentityState, facts: StatementFacts, keyspace: string): Judged {
    return this.#judged(identity, '', keyspace, facts)
  }

  /** The decision of the revision in force. */
  current(identity: IdentityState, judged: Judged): Decision {
    if (judged.decision.revision !== this.#engine.revision) {
      judged.decision = this.#engine.decide(identity.principal, judged.facts)
    }
    return judged.decision
  }

  #judged(identity: IdentityState, text: string, keyspace: string, facts: StatementFacts): Judged {
    return {
      text,
      keyspace,
      facts,
      namesTopology: namesTopology(facts),
      decision: this.#engine.decide(identity.principal, facts),
      statementPart: this.#recorder.statementPart(facts),
      trafficRow: -1,
      trafficRevision: -1,
      verdictOf: undefined,
      verdictPart: '',
    }
  }

  #forgetUnused(): void {
    for (const [key, state] of this.#identities) {
      if (state.sessions > 0) continue
      this.#identities.delete(key)
      return
    }
  }
}

/** The permit, or the refusal as the client sees it. */
export function permitOf(decision: Decision): Permit {
  if (decision.kind === 'permit') return decision
  throw new RingfenceError('UNAUTHORIZED', decision.reason)
}
