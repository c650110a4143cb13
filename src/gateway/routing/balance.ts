/**
 * How busy and how well one sidecar is, as one gateway worker sees it: what a request to it costs, and whether it is left out for a while.
 *
 *   serving ──failuresMax in a row, or silent──▶ ejected ──its time is over──▶ returning ──rampMs──▶ serving
 *                                                   ▲──────── failed again, for longer ──┘
 *
 * The cost is the peak EWMA of latency times requests in flight (Finagle's and Linkerd's measure): a slow answer counts at once, and
 * is forgotten over `decayMs`. Times are monotonic microseconds that the caller reads once per turn.
 */

const decayMicros = 10_000_000
/** What an untried sidecar is taken to need. */
const firstLatencyMicros = 1000
const failuresMax = 5
/** Requests are in flight and nothing at all has come back for so long: the node hangs, whatever its connections say. */
const silentMicrosMax = 2_000_000
const ejectionMicros = 5_000_000
const ejectionMicrosMax = 60_000_000
/** A sidecar that returns is ten times as dear as it is, and less so from moment to moment. */
const rampMicros = 10_000_000
const rampFactor = 10

export class Load {
  inFlight = 0
  /** Sessions whose text statements and events go there. */
  primaries = 0
  #latencyMicros = firstLatencyMicros
  #sampledAt = 0
  #failures = 0
  #ejections = 0
  #ejectedUntil = 0
  #returnedAt = Number.NEGATIVE_INFINITY
  #heardAt = 0

  /** One more request is under way. */
  sent(nowMicros: number): void {
    if (this.inFlight++ === 0) this.#heardAt = nowMicros
  }

  /** An answer came, good or bad. */
  heard(nowMicros: number): void {
    this.inFlight--
    this.#heardAt = nowMicros
  }

  /** `count` requests will never be answered: the link is gone, or nobody waits any more. */
  forgotten(count: number): void {
    this.inFlight -= count
  }

  /** One request's latency. */
  sample(latencyMicros: number, nowMicros: number): void {
    if (latencyMicros >= this.#latencyMicros) this.#latencyMicros = latencyMicros
    else {
      const kept = Math.exp((this.#sampledAt - nowMicros) / decayMicros)
      this.#latencyMicros = latencyMicros + (this.#latencyMicros - latencyMicros) * kept
    }
    this.#sampledAt = nowMicros
  }

  /** The sidecar or its node said that it cannot. */
  failed(nowMicros: number): void {
    if (++this.#failures >= failuresMax) this.#eject(nowMicros)
  }

  /** It did what was asked, or refused it for a reason of the request's own. */
  succeeded(): void {
    this.#failures = 0
  }

  /** Whether requests should go elsewhere where they can. */
  ejected(nowMicros: number): boolean {
    if (nowMicros < this.#ejectedUntil) return true
    if (this.inFlight > 0 && nowMicros - this.#heardAt > silentMicrosMax) {
      this.#eject(nowMicros)
      return true
    }
    return false
  }

  /** To be compared with other sidecars' only. */
  cost(nowMicros: number): number {
    const cost = this.#latencyMicros * (this.inFlight + 1)
    const since = nowMicros - this.#returnedAt
    if (since >= rampMicros) return cost
    if (since < 0) return cost * rampFactor
    return cost * (rampFactor - ((rampFactor - 1) * since) / rampMicros)
  }

  #eject(nowMicros: number): void {
    // One that did well for long since its last return is not made to pay for that.
    if (nowMicros - this.#returnedAt > ejectionMicrosMax) this.#ejections = 0
    const micros = Math.min(ejectionMicros * 2 ** this.#ejections, ejectionMicrosMax)
    this.#ejections++
    this.#failures = 0
    this.#ejectedUntil = nowMicros + micros
    this.#returnedAt = this.#ejectedUntil
    this.#heardAt = this.#ejectedUntil
  }
}
