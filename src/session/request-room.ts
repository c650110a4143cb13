/**
 * A request counts in its client's account before it has come whole: with the bytes that were collected so far, or, if it is large, with
 * all that it will have.
 *
 *   a large request begins ─▶ room for it: taken ─────────────────────────────▶ whole: it counts where it goes
 *                        └──▶ none: the client is not read ─┬─▶ there is room: taken, and on
 *                                                           └─▶ `roomTimeoutMs` passed: dropped as it comes, and refused
 */
import { type ByteAccount, Verdict } from '../base/bytes-budget.ts'
import { after, type Owner } from '../base/contained.ts'
import type { Inbound } from '../cql/inbound.ts'

/** The client whose requests they are. */
export interface Sender extends Owner {
  /** Another one from when it is known who the client is. */
  readonly account: ByteAccount
  /** There is no room for what it sends, so that nothing more is to be read; or there is again. */
  onNoRoom(none: boolean): void
}

export class RequestRoom {
  readonly #client: Sender
  readonly #inbound: Inbound
  /** Taken for a large request that is coming. */
  #largeBytes = 0
  /** For the bytes of small ones that are not whole. */
  #collectingBytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(client: Sender, inbound: Inbound) {
    this.#client = client
    this.#inbound = inbound
  }

  /** Something is taken, or waits to be: `count` and `whole` have something to do. */
  get counts(): boolean {
    return this.#largeBytes > 0 || this.#collectingBytes > 0 || this.#timer !== undefined
  }

  /** To be called when bytes came. */
  count(): void {
    const bytes = this.#largeBytes > 0 ? 0 : this.#inbound.collectingBytes
    const more = bytes - this.#collectingBytes
    if (more === 0) return
    this.#collectingBytes = bytes
    const { account } = this.#client
    if (more > 0) account.add(more)
    else account.give(-more)
  }

  /** A large request begins. */
  begin(envelopeBytes: number): void {
    const { account } = this.#client
    if (account.take(envelopeBytes) !== Verdict.REFUSE) {
      this.#largeBytes = envelopeBytes
      // What it has room for must be able to come: it would wait for itself.
      this.#made()
      return
    }
    this.#client.onNoRoom(true)
    this.#timer = after(this.#client, 'a request that waits for room', account.roomTimeoutMs, () => this.giveUp())
    account.whenRoom(envelopeBytes, () => {
      this.#largeBytes = envelopeBytes
      this.count()
      this.#made()
    })
  }

  /** An envelope that came compressed is whole but for that. False where there is no room for what it will be. */
  unfold(envelopeBytes: number): boolean {
    const taken = this.#client.account.take(envelopeBytes) !== Verdict.REFUSE
    if (taken) this.#largeBytes += envelopeBytes
    else this.whole()
    return taken
  }

  /** A request that waits for room is dropped as it comes. */
  giveUp(): void {
    if (this.#timer === undefined) return
    this.#inbound.drop()
    this.count()
    this.#made()
  }

  /** An envelope is whole. */
  whole(): void {
    if (this.#largeBytes > 0) {
      this.#client.account.give(this.#largeBytes)
      this.#largeBytes = 0
    }
    if (this.#timer !== undefined) this.#made()
  }

  /** Nothing more comes. */
  close(): void {
    clearTimeout(this.#timer)
    this.#client.account.give(this.#largeBytes + this.#collectingBytes)
    this.#largeBytes = this.#collectingBytes = 0
  }

  #made(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#client.account.stopWaiting()
    this.#client.onNoRoom(false)
  }
}
