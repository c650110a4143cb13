/**
 * Bytes that wait, added up. Whoever keeps bytes for a client (a request on its way, an answer that is not taken yet) takes them from the
 * client's account, and gives them back when they are gone.
 *
 *   account of one connection ─┬─▶ its identity ─┬─▶ the process
 *                              └─▶ its address ──┘
 *
 * Rule: an identity that takes too much loses by it, and no other does. What an identity may hold is also bounded by what is *left* of the
 * process, so each one that takes all it gets leaves as much again (dynamic thresholds of shared buffers: Choudhury and Hahne, IEEE/ACM
 * Transactions on Networking 6(2), 1998). An address is bounded only for those of its identities that hold more than a share.
 *
 * At `PAUSE` nothing more is to be read of the client until there is room; at `REFUSE` it hears OVERLOADED. Counts only: no object for a take.
 */

import { constrainedMemory } from 'node:process'
import { getHeapStatistics } from 'node:v8'
import { after, contain, nothingEnds } from './contained.ts'
import { assert, RingfenceError } from './errors.ts'
import { limits } from './limits.ts'

export const Verdict = { OK: 0, PAUSE: 1, REFUSE: 2 } as const
export type Verdict = (typeof Verdict)[keyof typeof Verdict]

/** How long after room was made those that wait for it are looked at. */
const wakeMs = 2

export interface BudgetBounds {
  readonly processBytesMax: number
  readonly addressBytesMax: number
  readonly identityBytesMax: number
  readonly connectionBytesMax: number
  /** An identity that holds no more is not told what else its address holds. */
  readonly shareBytes: number
  /** So long a request waits for room before it is refused. */
  readonly roomTimeoutMs: number
}

/** What may wait in a process with this much memory; see docs/limits.md. */
export function budgetBounds(processBytesMax: number = processBytesDefault()): BudgetBounds {
  const identityBytesMax = Math.max(Math.floor(processBytesMax / 4), limits.messageBytesMax * 1.5)
  return {
    processBytesMax,
    addressBytesMax: Math.floor(processBytesMax / 2),
    identityBytesMax,
    connectionBytesMax: Math.min(limits.connectionWaitingBytesMax, identityBytesMax),
    shareBytes: limits.addressShareBytes,
    roomTimeoutMs: limits.roomTimeoutMs,
  }
}

/** A third of the heap's bound, for a process that is given little memory is given a small heap; a quarter of a container. */
function processBytesDefault(): number {
  const bytes = Math.min(getHeapStatistics().heap_size_limit / 3, constrainedMemory() / 4)
  return Math.floor(Math.min(Math.max(bytes, limits.waitingBytesMin), limits.waitingBytesMax))
}

/** What all connections of one identity, or of one address, hold. */
class Holder {
  heldBytes = 0
  accounts = 0
  /** Requests that the node has not answered. */
  inFlight = 0
}

interface Waiter {
  readonly account: ByteAccount
  readonly wantedBytes: number
  readonly resume: () => void
}

export class BytesBudget {
  readonly bounds: BudgetBounds
  heldBytes = 0
  #peakBytes = 0
  readonly #identities = new Map<string, Holder>()
  readonly #addresses = new Map<string, Holder>()
  /** Accounts that wait for room, first come first; each at most once. */
  readonly #waiters = new Map<ByteAccount, Waiter>()
  #armed = false

  constructor(bounds: BudgetBounds = budgetBounds()) {
    this.bounds = bounds
  }

  /** Of a process in which so much may wait; derived from its memory where that is not said. */
  static of(processBytesMax: number | undefined): BytesBudget {
    return new BytesBudget(budgetBounds(processBytesMax))
  }

  /** The account of one connection; `close` ends it. An empty `address` is nobody's, such as the peer's of a Unix socket. */
  open(identity: string, address: string): ByteAccount {
    return new ByteAccount(
      this,
      identity,
      holderOf(this.#identities, identity),
      address,
      holderOf(this.#addresses, address),
    )
  }

  /** What one identity holds over all its connections. */
  heldByIdentity(identity: string): number {
    return this.#identities.get(identity)?.heldBytes ?? 0
  }

  /** Identities and addresses that are remembered. */
  get holders(): number {
    return this.#identities.size + this.#addresses.size
  }

  /** The most that was ever held. */
  get peakBytes(): number {
    return this.#peakBytes
  }

  /** Part of `ByteAccount.take`. */
  changed(bytes: number): void {
    this.heldBytes += bytes
    if (this.heldBytes > this.#peakBytes) this.#peakBytes = this.heldBytes
    if (bytes < 0 && this.#waiters.size > 0) this.#arm()
  }

  /** Part of `ByteAccount.whenRoom`. */
  wait(account: ByteAccount, wantedBytes: number, resume: () => void): void {
    this.#waiters.set(account, { account, wantedBytes, resume })
    this.#arm()
  }

  /** Part of `ByteAccount.stopWaiting`. */
  stopWaiting(account: ByteAccount): void {
    this.#waiters.delete(account)
  }

  /** Part of `ByteAccount`: it, or its last bytes, are gone. */
  forget(identity: string, address: string): void {
    forgetUnused(this.#identities, identity)
    forgetUnused(this.#addresses, address)
  }

  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    // The more there are to look at, the less often.
    after(nothingEnds, 'waiting for room', wakeMs + this.#waiters.size / 200, () => this.#wake()).unref()
  }

  #wake(): void {
    this.#armed = false
    for (const [account, { wantedBytes, resume }] of this.#waiters) {
      if (wantedBytes > 0 ? account.take(wantedBytes) === Verdict.REFUSE : account.crowded) continue
      this.#waiters.delete(account)
      contain(nothingEnds, 'a client that waited for room', resume)
    }
  }
}

/** What one connection holds. */
export class ByteAccount {
  heldBytes = 0
  readonly #budget: BytesBudget
  readonly #identityName: string
  readonly #identity: Holder
  readonly #addressName: string
  readonly #address: Holder
  #closed = false

  /** Made by `BytesBudget.open`. */
  constructor(budget: BytesBudget, identityName: string, identity: Holder, addressName: string, address: Holder) {
    this.#budget = budget
    this.#identityName = identityName
    this.#identity = identity
    this.#addressName = addressName
    this.#address = address
    identity.accounts++
    address.accounts++
  }

  /** The same for all connections of one identity while any of them is open. */
  get identity(): object {
    return this.#identity
  }

  /** Requests of the identity that the node has not answered, over all its connections. */
  get inFlight(): number {
    return this.#identity.inFlight
  }

  /** One more is in flight, or with −1 one less. */
  countInFlight(more: 1 | -1): void {
    this.#identity.inFlight += more
  }

  get roomTimeoutMs(): number {
    return this.#budget.bounds.roomTimeoutMs
  }

  /** OK and PAUSE: they are taken. REFUSE: nothing was taken. */
  take(bytes: number): Verdict {
    const verdict = this.#verdict(bytes)
    if (verdict !== Verdict.REFUSE) this.#change(bytes)
    return verdict
  }

  /** Takes what is there already, whatever the bounds say. The verdict is about what is held then. */
  add(bytes: number): Verdict {
    this.#change(bytes)
    return this.#verdict(0)
  }

  /** Gives back what was taken; also after `close`, for what waits may outlive its client. */
  give(bytes: number): void {
    assert(bytes <= this.heldBytes, 'no more is given back than was taken')
    this.#change(-bytes)
    if (this.#closed && this.heldBytes === 0) this.#forget()
  }

  /** A quarter of what the connection may hold is held, or half of what its identity or its address may. */
  get crowded(): boolean {
    return this.#verdict(0) !== Verdict.OK
  }

  /**
   * Calls `resume` once, when the account is not crowded any more, or, where `wantedBytes` are given, when there is room for them: they are
   * taken then. Who waited before waits no longer.
   */
  whenRoom(wantedBytes: number, resume: () => void): void {
    if (!this.#closed) this.#budget.wait(this, wantedBytes, resume)
  }

  stopWaiting(): void {
    this.#budget.stopWaiting(this)
  }

  /** The connection is gone. What it still holds stays counted until it is given back. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.stopWaiting()
    if (this.heldBytes === 0) this.#forget()
  }

  #change(more: number): void {
    this.heldBytes += more
    this.#identity.heldBytes += more
    this.#address.heldBytes += more
    this.#budget.changed(more)
  }

  #verdict(more: number): Verdict {
    const { bounds } = this.#budget
    const own = this.heldBytes + more
    const identity = this.#identity.heldBytes + more
    const address = this.#address.heldBytes + more
    const leftBytes = bounds.processBytesMax - this.#budget.heldBytes - more
    const identityMax = Math.min(leftBytes, bounds.identityBytesMax)
    if (own > bounds.connectionBytesMax || identity > identityMax || leftBytes < 0) return Verdict.REFUSE
    // Many identities may come by one address: who holds little is not told that another holds much.
    const addressCounts = identity > bounds.shareBytes
    if (addressCounts && address > bounds.addressBytesMax) return Verdict.REFUSE
    const crowded = own * 4 > bounds.connectionBytesMax || identity * 2 > identityMax
    return crowded || (addressCounts && address * 2 > bounds.addressBytesMax) ? Verdict.PAUSE : Verdict.OK
  }

  #forget(): void {
    this.#identity.accounts--
    this.#address.accounts--
    this.#budget.forget(this.#identityName, this.#addressName)
  }
}

function holderOf(holders: Map<string, Holder>, name: string): Holder {
  let holder = holders.get(name)
  if (holder === undefined) {
    holder = new Holder()
    holders.set(name, holder)
  }
  return holder
}

function forgetUnused(holders: Map<string, Holder>, name: string): void {
  const holder = holders.get(name)
  if (holder?.accounts === 0) holders.delete(name)
}

/** What a client hears whose bytes were refused. */
export function overloaded(): RingfenceError {
  return new RingfenceError(
    'OVERLOADED',
    'more requests and answers wait for this client than may; read answers or send less at once',
  )
}
