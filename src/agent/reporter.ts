/**
 * Sends what the proxy reports. Traffic that could not be delivered goes out with the next report; what was delivered and refused
 * is never sent again, for it would be refused again.
 */
import type { Clock } from '../base/clock.ts'
import { faultOfAnswer, parseJson } from '../mesh/answer.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { cutReport, type DroppedPart, reportAnswer, reportText } from '../mesh/report.ts'
import type { TrafficRow } from '../mesh/traffic.ts'
import { mergeTraffic } from '../mesh/traffic.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ControlClient } from './client.ts'

export class Reporter {
  /** Makes a report, with the traffic since the one before. */
  make: (() => ProxyReport) | undefined
  /** Every later report says that the proxy is about to stop. */
  draining = false
  readonly #client: () => ControlClient
  readonly #log: Logger
  readonly #clock: Clock
  #unsent: readonly TrafficRow[] = []
  /** Fields whose loss was said last. */
  #droppedSaid = ''

  constructor(client: () => ControlClient, log: Logger, clock: Clock) {
    this.#clock = clock
    this.#client = client
    this.#log = log
  }

  /** False where there is nothing to report yet, or not what is wanted. @throws RingfenceError when it could not be delivered */
  async report(wanted: (report: ProxyReport) => boolean): Promise<boolean> {
    const made = this.make?.()
    if (made === undefined) return false
    const traffic = mergeTraffic(this.#unsent, made.traffic)
    const report = cutReport({
      ...made,
      nowMs: this.#clock.now(),
      ...(this.draining ? { draining: true } : {}),
      traffic,
    })
    this.#unsent = report.traffic
    if (!wanted(report)) return false
    this.#unsent = []
    try {
      const { status, text } = await this.#client().exchange('/v1/report', reportText(report))
      // Too much at once, or too early: this is not about what the report says.
      if (status === 429 || status === 503) throw faultOfAnswer(status, text)
      if (status < 200 || status > 299) {
        this.#sayDropped([{ field: 'report', count: 1 }], faultOfAnswer(status, text).message)
      } else {
        const answer = text === '' ? undefined : reportAnswer.safeParse(parseJson(text)).data
        this.#sayDropped(answer?.dropped ?? [], undefined)
      }
      return true
    } catch (error) {
      this.#unsent = mergeTraffic(report.traffic, this.#unsent)
      throw error
    }
  }

  /** Once for what is dropped of every report. */
  #sayDropped(dropped: readonly DroppedPart[], reason: string | undefined): void {
    const fields = dropped.map(({ field }) => field).join()
    if (fields === this.#droppedSaid) return
    this.#droppedSaid = fields
    if (fields !== '') this.#log.warn({ dropped, reason }, 'control plane did not understand a part of the report')
  }
}
