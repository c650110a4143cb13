/**
 * Sends what the proxy reports, once a second, and at once where a policy came into force. Traffic and refusals that could not be delivered
 * go out with the next report; what was delivered and refused is never sent again, for it would be refused again.
 */
import { setImmediate as nextTurnOf } from 'node:timers/promises'
import { containOwnFault, nothingEnds, settle } from '../base/contained.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import { faultOfAnswer, parseJson } from '../mesh/answer.ts'
import type { Observable } from '../mesh/observable.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import { RefusedLogIns, reportedBounds } from '../mesh/refused-log-ins.ts'
import { cutReport, type DroppedPart, reportAnswer, reportText } from '../mesh/report.ts'
import type { RevocationsAsOf } from '../mesh/revocations.ts'
import { mergeTraffic, type TrafficRow } from '../mesh/traffic.ts'
import type { ControlSession } from './control-session.ts'

const reportIntervalMs = 1_000
const leaveMsMax = 2_000
/** After a push the proxy's own acknowledgement is looked for this often, so that the control plane sees when it was applied. */
const acknowledgeIntervalMs = 25

export class Reporter {
  /** Makes a report, with the traffic since the one before. */
  make: (() => ProxyReport) | undefined
  readonly #session: ControlSession
  /** Every later report says that the proxy is about to stop. */
  #draining = false
  #unsent: readonly TrafficRow[] = []
  readonly #refusals = new RefusedLogIns(reportedBounds)
  /** The control plane took none of the last reports: it was away, or this proxy was thrown out. */
  #untaken = false
  /** Fields whose loss was said last. */
  #droppedSaid = ''

  constructor(session: ControlSession) {
    this.#session = session
  }

  /** Resolves when the agent stops. */
  async run(): Promise<void> {
    const { log, random } = this.#session.options
    await this.#session.pause(random() * reportIntervalMs)
    let away = false
    while (!this.#session.isStopped) {
      try {
        await this.#report(() => true)
        away = false
      } catch (reason) {
        containOwnFault('a report', reason)
        this.#untaken = true
        if (!away) log.debug({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'report was not taken')
        away = true
      }
      await this.#session.pause(reportIntervalMs)
    }
  }

  /** Reports as soon as the proxy says that every worker runs the present policy, rather than at the next second. */
  acknowledge(policy: Observable<PolicySnapshot>): void {
    const { revision, source } = policy.current
    const digest = sha256Hex(source)
    this.#acknowledgeThat(
      policy,
      ({ policyRevision, policyDigest }) =>
        policyRevision >= revision && (policyDigest === undefined || policyDigest === digest),
    )
  }

  /** The same of revocations. */
  acknowledgeRevocations(asOf: Observable<RevocationsAsOf>): void {
    const { revocationsDigest: digest } = asOf.current
    this.#acknowledgeThat(asOf, ({ revocationsDigest }) => revocationsDigest === digest)
  }

  #acknowledgeThat(value: Observable<unknown>, runs: (report: ProxyReport) => boolean): void {
    // A control plane that is away hears it with the next report.
    settle(
      nothingEnds,
      'an acknowledgement',
      this.#acknowledge(value, runs),
      () => {},
      (reason) => containOwnFault('an acknowledgement', reason),
    )
  }

  async leave(): Promise<void> {
    this.#draining = true
    try {
      await Promise.race([this.#report(() => true), this.#session.pause(leaveMsMax)])
    } catch (reason) {
      containOwnFault('the last report', reason)
      const { message } = RingfenceError.from(reason, 'UNAVAILABLE')
      this.#session.options.log.info({ reason: message }, 'leaving unheard')
    }
  }

  async #acknowledge(value: Observable<unknown>, runs: (report: ProxyReport) => boolean): Promise<void> {
    const { version } = value
    for (let waitedMs = 0; waitedMs < reportIntervalMs; waitedMs += acknowledgeIntervalMs) {
      if (this.make === undefined || value.version !== version) return
      if (await this.#report(runs)) return
      await this.#session.pause(acknowledgeIntervalMs)
      if (this.#session.isStopped) return
    }
  }

  /** False where there is nothing to report yet, or not what is wanted. @throws RingfenceError when it could not be delivered */
  async #report(wanted: (report: ProxyReport) => boolean): Promise<boolean> {
    const made = this.make?.()
    if (made === undefined) return false
    this.#refusals.take(made)
    const refused = this.#refusals.drain()
    const unsent = this.#unsent
    this.#unsent = []
    // Rows may be thousands, and clients are served in the same loop: after each step it is theirs.
    await nextTurnOf()
    const traffic = mergeTraffic(unsent, made.traffic)
    await nextTurnOf()
    const report = cutReport({
      ...made,
      ...refused,
      nowMs: this.#session.options.clock.now(),
      ...(this.#draining ? { draining: true } : {}),
      traffic,
    })
    if (!wanted(report)) {
      this.#unsent = mergeTraffic(report.traffic, this.#unsent)
      this.#refusals.take(refused)
      return false
    }
    await nextTurnOf()
    try {
      const { status, text } = await this.#session.client.exchange('/v1/report', reportText(report))
      // Too much at once, or too early: this is not about what the report says.
      if (status === 429 || status === 503) throw faultOfAnswer(status, text)
      if (status < 200 || status > 299) {
        this.#untaken = true
        this.#sayDropped([{ field: 'report', count: 1 }], faultOfAnswer(status, text).message)
      } else {
        const answer = text === '' ? undefined : reportAnswer.safeParse(parseJson(text)).data
        this.#sayDropped(answer?.dropped ?? [], undefined)
        if (this.#untaken) this.#session.answersAgain()
        this.#untaken = false
      }
      return true
    } catch (error) {
      this.#unsent = mergeTraffic(report.traffic, this.#unsent)
      this.#refusals.take(refused)
      throw error
    }
  }

  /** Once for what is dropped of every report. */
  #sayDropped(dropped: readonly DroppedPart[], reason: string | undefined): void {
    const fields = dropped.map(({ field }) => field).join()
    if (fields === this.#droppedSaid) return
    this.#droppedSaid = fields
    if (fields !== '')
      this.#session.options.log.warn({ dropped, reason }, 'control plane did not understand a part of the report')
  }
}
