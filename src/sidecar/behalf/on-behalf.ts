/**
 * Requests of one session that say on whose behalf they are. Each is found out before its first stage, and served as the workload *and* that person.
 *
 *   custom payload ─ findAsked ─▶ token ─ known by its hash? ─ no ─▶ waits, while it is verified ─▶ served again
 *                                 name ─ does policy let the workload say it? │
 *                                                                             └▶ BehalfSession ─▶ request stages
 *
 * Rule: a request that names somebody is served as that pair or refused, and never as the workload alone. That holds for each time that it is
 * served: what has ended meanwhile is refused.
 */
import { type Cache, createCache } from '../../base/cache.ts'
import { settle } from '../../base/contained.ts'
import { sha256Hex } from '../../base/digest.ts'
import { limits } from '../../base/limits.ts'
import { printable } from '../../base/printable.ts'
import { Flag, Opcode } from '../../cql/protocol.ts'
import { type Behind, behalfMethods, onBehalfOf } from '../../identity/proofs/registry.ts'
import { LogInRefused } from '../../identity/refusal.ts'
import { type Revocation, revokedRule, revokedText } from '../../identity/revoked/revocation.ts'
import { isPersonName } from '../../identity/txn/token.ts'
import type { TokenFacts } from '../../identity/verified.ts'
import { principalOf } from '../../policy/principal.ts'
import { deny, refuseUnrecorded } from '../ending.ts'
import type { Request } from '../request.ts'
import { refusalMs } from '../stages/admit.ts'
import type { Ways } from '../stages/in-order.ts'
import { Step } from '../stages/stage.ts'
import { BehalfSession, type Workload } from './behalf-session.ts'
import { findAsked } from './payload.ts'

/** What a token that is not known yet takes of the client's share of a turn, for the thread that verifies it is everybody's. */
const verifyMs = 0.1
/** In the record: refused for its token, or for a name that policy does not let its workload say. */
const tokenRule = behalfMethods.token
const nameRule = 'impersonate'

/** What is known of a refused one, for the record. */
interface Shown {
  readonly tokenHash?: string | undefined
  readonly transaction?: string | undefined
  readonly claimed?: string | undefined
}

/** Who says so: a name that policy lets its workload say, or a token, and what that was made for. */
interface Said {
  readonly name?: string
  readonly source?: TokenFacts | undefined
}

export class OnBehalf {
  readonly #workload: Workload
  readonly #ways: Ways
  /** By the token's hash, or `=` and the name. */
  readonly #ready: Cache<BehalfSession>

  constructor(workload: Workload, ways: Ways) {
    this.#workload = workload
    this.#ways = ways
    const { judge } = workload.shared
    this.#ready = createCache(limits.behalvesPerSessionMax, ({ identity }) => judge.leave(identity))
  }

  /** The session is over. */
  close(): void {
    this.#ready.clear()
  }

  serve(request: Request): Step {
    const workload = this.#workload
    const { flags, opcode, bytes, start, end } = request
    if ((flags & Flag.CUSTOM_PAYLOAD) === 0) return this.#cameBack(request)
    if (opcode === Opcode.REGISTER || workload.version < 4) return this.#ways.request(request, workload)
    const { kind, name, tokenAt, tokenEnd, fault } = findAsked(bytes, start, end)
    switch (kind) {
      case 'none':
        return this.#ways.request(request, workload)
      case 'faulty':
        return this.#refuse(request, tokenRule, fault)
      case 'token':
        return this.#byToken(request, bytes.subarray(tokenAt, tokenEnd))
      case 'name':
        return this.#byName(request, name)
    }
  }

  /** The node did not act on it, and was sent no payload. It is served as before, or not at all. */
  #cameBack(request: Request): Step {
    const { session } = request
    if (!(session instanceof BehalfSession)) return this.#ways.request(request, this.#workload)
    if (this.#isGood(session)) return this.#as(request, session)
    return this.#refuse(
      request,
      session.name === undefined ? tokenRule : nameRule,
      'what was shown has ended meanwhile',
      {
        tokenHash: session.who.tokenHash,
        transaction: session.who.transaction,
        claimed: session.name,
      },
    )
  }

  #byToken(request: Request, token: Buffer): Step {
    const hash = sha256Hex(token)
    const ready = this.#ready.get(hash)
    if (ready !== undefined && this.#isGood(ready)) return this.#as(request, ready)
    const { shared, client } = this.#workload
    const { txnTokens, turn } = shared
    const found = txnTokens.find(hash, turn.wallMs())
    if (found === undefined) return this.#verify(request, token.toString('utf8'), hash)
    if (found.kind === 'refused') return this.#refuse(request, tokenRule, found.text, { tokenHash: hash })
    const { person, groups, claims, workload, transaction, expiresAtMs, source } = found.token
    const shown = { tokenHash: hash, transaction, claimed: person }
    if (workload !== client.info.identity.subject)
      return this.#refuse(request, tokenRule, 'the token was given to another workload', shown)
    return this.#make(
      request,
      hash,
      { person, groups, claims, method: behalfMethods.token, expiresAtMs, hash },
      shown,
      { source },
    )
  }

  #byName(request: Request, name: string): Step {
    const key = `=${name}`
    const ready = this.#ready.get(key)
    if (ready !== undefined && this.#isGood(ready)) return this.#as(request, ready)
    // What is no name may be a secret that stands in the wrong place.
    if (!isPersonName(name)) {
      const text = 'the custom payload names nobody; a person is written corp/alice'
      return this.#refuse(request, nameRule, text, { tokenHash: sha256Hex(name) })
    }
    const shown = { claimed: name }
    if (!this.#mayName(name)) {
      const text = `no rule lets this workload act on behalf of ${printable(name)} by the name alone; show a transaction token`
      return this.#refuse(request, nameRule, text, shown)
    }
    const behind: Behind = {
      person: name,
      groups: [],
      claims: {},
      method: behalfMethods.name,
      expiresAtMs: Number.POSITIVE_INFINITY,
      hash: sha256Hex(name),
    }
    return this.#make(request, key, behind, shown, { name })
  }

  /** Nothing more is read of the client meanwhile. */
  #verify(request: Request, text: string, hash: string): Step {
    const { waiting, shared, identity } = this.#workload
    identity.share.charge(verifyMs)
    waiting.beginHalted(request)
    settle(
      this.#workload,
      'a transaction token that is verified',
      shared.txnTokens.verify(text, hash, shared.turn.wallMs()),
      () => waiting.letGo(),
      (reason) => waiting.failFirst(reason),
    )
    return Step.WAIT
  }

  #make(request: Request, key: string, behind: Behind, shown: Shown, { name, source }: Said): Step {
    const workload = this.#workload
    const { judge, txnTokens } = workload.shared
    const revoked = this.#revoked(behind.person, shown, source)
    if (revoked !== undefined) return this.#refuse(request, revokedRule, revokedText(revoked.id), shown)
    let view: BehalfSession
    try {
      const identity = onBehalfOf(workload.client.info.identity, behind)
      const state = judge.behalf(principalOf(identity), workload.identity)
      const { generation: keys } = txnTokens
      const { tokenHash, transaction } = shown
      view = new BehalfSession(workload, this.#ways, state, { identity, transaction, tokenHash, source, name, keys })
    } catch (reason) {
      if (!(reason instanceof LogInRefused)) throw reason
      return this.#refuse(request, name === undefined ? tokenRule : nameRule, reason.message, shown)
    }
    judge.enter(view.identity)
    this.#ready.set(key, view)
    return this.#as(request, view)
  }

  #as(request: Request, view: BehalfSession): Step {
    const before = request.session
    if (before !== view) {
      request.session = view
      request.owner = view.owner
      // One that waited has what was found out for the same pair; nothing of another is good.
      if (!(before instanceof BehalfSession && before.identity === view.identity)) {
        request.judged = undefined
        request.batchVerdict = undefined
      }
    }
    return this.#ways.request(request, view)
  }

  #isGood(view: BehalfSession): boolean {
    const { judge, txnTokens, turn } = this.#workload.shared
    if (turn.wallMs() >= view.untilMs) return false
    if (view.name === undefined && view.keys !== txnTokens.generation) return false
    if (view.lookedAt === judge.epoch) return true
    if (view.name !== undefined && !this.#mayName(view.name)) return false
    const { person, transaction, tokenHash } = view.who
    if (person === undefined || this.#revoked(person, { transaction, tokenHash }, view.source) !== undefined)
      return false
    view.lookedAt = judge.epoch
    return true
  }

  /** The person, the token that says so, or what that was made for. Its session is looked at by itself. */
  #revoked(person: string, { transaction, tokenHash }: Shown, source: TokenFacts | undefined): Revocation | undefined {
    const { shared, client } = this.#workload
    const { subject } = client.info.identity
    const token = { id: transaction, hash: tokenHash }
    return shared.revocations.find({ subject, person, token, source }, shared.turn.wallMs())
  }

  #mayName(person: string): boolean {
    const { shared, identity } = this.#workload
    return shared.judge.impersonationRule(identity, person) !== undefined
  }

  #refuse(request: Request, rule: string, text: string, shown: Shown = {}): Step {
    const workload = this.#workload
    const { identity, shared, who } = workload
    refuseUnrecorded(workload)
    request.session = { who: { ...who, ...shown }, notes: undefined }
    request.judged = undefined
    request.rule = rule
    identity.share.charge(refusalMs)
    deny(request, workload, shared.judge.refusal(identity, rule, text))
    return Step.DONE
  }
}
