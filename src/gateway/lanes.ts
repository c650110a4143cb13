/** The lanes of one session: to each sidecar one at the most that takes requests. Those that are being left are in nobody's hand but their link's. */
import { RingfenceError } from '../base/errors.ts'
import type { Client, StartupInfo } from '../session/backend.ts'
import { Lane, type LaneHost } from './lane.ts'
import type { GatewayLink } from './link.ts'
import { passportFor } from './passport.ts'
import type { Place } from './place.ts'

/** A lane that was not to be had is not asked for again so soon. */
const RETRY_MICROS = 5_000_000
/** A lane that nothing went by for so long is given up. */
const IDLE_MICROS_MAX = 300_000_000

export interface LanesOptions {
  readonly client: Client
  readonly startup: StartupInfo
  /** Names the client's connection in the record. */
  readonly session: string
  readonly nowMicros: () => number
  readonly host: LaneHost
}

export class Lanes {
  readonly #options: LanesOptions
  /** By `Place.index`. */
  readonly #lanes: (Lane | undefined)[] = []
  /** By `Place.index`: not before then. */
  readonly #retryAt: number[] = []
  #closed = false
  #answersPaused = false

  constructor(options: LanesOptions) {
    this.#options = options
  }

  /** The lane to `place`, if it takes requests now; else one is opened for those that come later, with `keyspace` in force. */
  at(place: Place, keyspace: string): Lane | undefined {
    const lane = this.#lanes[place.index]
    if (lane?.usable === true && lane.link === place.link) return lane
    if (lane === undefined || lane.state !== 'opening') this.#openLater(place, keyspace)
    return undefined
  }

  /** One more lane in the place of the one that is left. `events`: what the client hears by it. Throws `IDENTITY`. */
  open(place: Place, link: GatewayLink, keyspace: string, events: readonly string[]): Lane {
    const { client, startup, session, host } = this.#options
    const passport = passportFor(client.info, startup, link, Date.now())
    const { version } = startup
    this.#lanes[place.index]?.leave()
    const inForce = keyspace === '' ? {} : { keyspace }
    const lane = new Lane(place, link, client, host, { passport, session, version, ...inForce, events: [...events] })
    if (this.#answersPaused) lane.pauseAnswers(true)
    lane.usedMicros = this.#options.nowMicros()
    this.#lanes[place.index] = lane
    return lane
  }

  /** Leaves `lane`, and opens another to the same sidecar. */
  replace(lane: Lane, keyspace: string): void {
    lane.leave()
    this.#openLater(lane.place, keyspace)
  }

  /** The first that takes requests and of which `wanted` is true. */
  find(wanted: (lane: Lane) => boolean): Lane | undefined {
    return this.#lanes.find((lane) => lane?.usable === true && wanted(lane))
  }

  /** To be called for a lane that closed by itself. */
  gone(lane: Lane): void {
    const { index } = lane.place
    if (this.#lanes[index] === lane) this.#lanes[index] = undefined
    if (!lane.wasOpen) this.#retryAt[index] = this.#options.nowMicros() + RETRY_MICROS
  }

  /** The client takes no answers for now, or does again. */
  pauseAnswers(paused: boolean): void {
    this.#answersPaused = paused
    for (const lane of this.#lanes) lane?.pauseAnswers(paused)
  }

  /** Gives up what nothing goes by, `kept` excepted. */
  giveUpIdle(kept: Lane | undefined): void {
    const before = this.#options.nowMicros() - IDLE_MICROS_MAX
    for (const lane of this.#lanes) {
      if (lane !== undefined && lane !== kept && lane.inFlight === 0 && lane.usedMicros < before) lane.leave()
    }
  }

  close(): void {
    this.#closed = true
    for (const lane of this.#lanes) lane?.close()
  }

  #openLater(place: Place, keyspace: string): void {
    const { link } = place
    const now = this.#options.nowMicros()
    if (link?.usable !== true || this.#closed || now < (this.#retryAt[place.index] ?? 0)) return
    try {
      this.open(place, link, keyspace, [])
    } catch (reason) {
      // The client's certificate has ended, say; then its connection is about to.
      if (!(reason instanceof RingfenceError)) throw reason
      this.#retryAt[place.index] = now + RETRY_MICROS
    }
  }
}
