/**
 * The envelopes of many clients that leave through one socket: where there is a flow of them, a turn with few waits for the next, so that
 * more leave with one write.
 *
 * Rule: an envelope waits `gatherTurnsMax` turns at most, and none where requests come one by one.
 */

/** As many envelopes are worth a write of their own. */
const gatherEnvelopes = 16
/** How many turns of the event loop the first of fewer waits for more, at most. */
const gatherTurnsMax = 3
/** After a write of fewer nobody waits: requests come one by one, and each is to be quick. */
const flowEnvelopesMin = 4

export class Flow {
  /** Envelopes since the last write. */
  gathered = 0
  #gatheredBefore = 0
  #turnsWaited = 0
  #lastWrite = 0

  /** A turn in which nothing came ends the waiting, and so do enough envelopes or turns. */
  waitsForMore(): boolean {
    if (this.#lastWrite < flowEnvelopesMin || this.gathered >= gatherEnvelopes) return false
    if (this.gathered === this.#gatheredBefore || this.#turnsWaited === gatherTurnsMax) return false
    this.#gatheredBefore = this.gathered
    this.#turnsWaited++
    return true
  }

  /** All of them have left. */
  written(): void {
    this.#lastWrite = this.gathered
    this.gathered = 0
    this.#gatheredBefore = 0
    this.#turnsWaited = 0
  }
}
