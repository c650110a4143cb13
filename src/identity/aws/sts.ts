/**
 * Log-ins by a pre-signed GetCallerIdentity. What STS said of a request is remembered for as long as the request lives, so that a pool of
 * connections asks once. Each gateway and sidecar asks for itself.
 *
 *   request ─▶ STS: who signed it ─▶ used here by another address? ─▶ used in the mesh by another address? ─▶ in
 *
 * Rule: the mesh says no, and never yes: where it cannot be asked, what this process saw counts alone.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { limits } from '../../base/limits.ts'
import type { OutsideAnswer } from '../outside/answer.ts'
import { Asking } from '../outside/asking.ts'
import { LogInRefused } from '../refusal.ts'
import type { SpiffeId } from '../spiffe.ts'
import { type AwsPartition, type AwsPrincipal, awsSubject } from './arn.ts'
import { callerOf } from './caller-identity.ts'
import { stsHosts } from './hosts.ts'
import { readPresigned, type StsRequest } from './presigned.ts'
import { type PresignedUse, Replays } from './replays.ts'

export interface StsProvider {
  /** What `x-ringfence-server` must be, so that a request that was signed for another mesh is none of ours. */
  readonly serverId: string
  readonly partition: AwsPartition
  /** Only these; else all of the partition. */
  readonly regions: readonly string[] | undefined
  readonly accounts: readonly string[]
  /** Its hosts may have addresses of a private network: an endpoint of one's own VPC. */
  readonly allowPrivate: boolean
  readonly leewayMs: number
}

type SendToSts = (request: StsRequest, allowPrivate: boolean) => Promise<OutsideAnswer>

/** Where what is shown counts once: notes that it was used, and says false where it was before. @throws RingfenceError OVERLOADED */
export type Spend = (principal: string, key: string, endMs: number) => boolean

/** Whether the address is the first in the whole mesh that uses a request, or the same again. It ends by itself, or fails. */
export type AskFirstUse = (use: PresignedUse) => Promise<boolean>

export interface StsBounds {
  readonly entriesMax: number
  /** So long does a log-in wait for what the mesh says. */
  readonly firstUseMsMax: number
}

export interface StsCheck {
  readonly nowMs: number
  readonly trustDomain: string
  /** Of the client, with its /64 for one of IPv6. */
  readonly address: string
  /** In the place of the address. */
  readonly spend?: Spend | undefined
  /** As `ProofCheck.from`. */
  readonly from?: string | undefined
}

/** It was used in the mesh by another address. */
const anothers = new Error('used by another')

export interface StsProved {
  readonly subject: SpiffeId
  readonly principal: AwsPrincipal
  readonly expiresAtMs: number
}

export class StsLogIns {
  readonly #send: SendToSts
  readonly #asking: Asking<AwsPrincipal>
  readonly #replays: Replays
  readonly #askFirstUse: AskFirstUse | undefined
  readonly #firstUses: Asking<'first'>
  readonly #firstUseMsMax: number

  /**
   * @param send one HTTPS request to that host, bounded in time, no redirect followed
   * @param askFirstUse undefined where nobody is asked
   */
  constructor(send: SendToSts, askFirstUse?: AskFirstUse, bounds: Partial<StsBounds> = {}) {
    const { entriesMax = limits.presignedRememberedMax, firstUseMsMax = limits.firstUseMsMax } = bounds
    this.#send = send
    this.#asking = new Asking<AwsPrincipal>('AWS STS', entriesMax)
    this.#replays = new Replays(entriesMax)
    this.#askFirstUse = askFirstUse
    this.#firstUses = new Asking<'first'>('the control plane', entriesMax, {
      askedMax: limits.firstUsesAskedMax,
      waitingMax: limits.outsideWaitingMax,
    })
    this.#firstUseMsMax = firstUseMsMax
  }

  /** @throws LogInRefused */
  async verify(password: string, provider: StsProvider, check: StsCheck): Promise<StsProved> {
    const { serverId, partition, regions, accounts, allowPrivate, leewayMs } = provider
    const { nowMs, trustDomain, address, from = address, spend } = check
    const hosts = stsHosts(partition, regions)
    const { request, key, endMs } = readPresigned(password, { serverId, hosts, nowMs, leewayMs })
    const principal = await this.#asking.of(
      key,
      from,
      nowMs,
      async () => callerOf(await this.#send(request, allowPrivate)),
      () => endMs,
    )
    if (principal.partition !== partition || !accounts.includes(principal.account)) {
      throw new LogInRefused('account', `${principal.arn} is of an account that may not log in here`)
    }
    const isFirst =
      spend === undefined
        ? await this.#isFirst({ principal: principal.arn, key, address, endMs }, from, nowMs)
        : spend(principal.arn, key, endMs)
    if (!isFirst) {
      const whence = spend === undefined ? 'from another address before' : 'before'
      throw new LogInRefused('replayed', `the pre-signed request of ${principal.arn} was used ${whence}`, {
        words: `the pre-signed request was used ${whence}; make a new one (ringfence aws-token)`,
      })
    }
    return { subject: awsSubject(principal, trustDomain), principal, expiresAtMs: endMs }
  }

  async #isFirst(use: PresignedUse, from: string, nowMs: number): Promise<boolean> {
    if (!this.#replays.use(use, nowMs)) return false
    const ask = this.#askFirstUse
    if (ask === undefined) return true
    const asking = async (): Promise<'first'> => {
      if (await ask(use)) return 'first'
      throw anothers
    }
    const { key, address, endMs } = use
    const said = this.#firstUses.of(`${key} ${address}`, from, nowMs, asking, () => endMs)
    try {
      // A question that is late goes on, so that no more of them are asked at once than may be.
      await Promise.race([said, sleep(this.#firstUseMsMax, undefined, { ref: false })])
      return true
    } catch (reason) {
      if (reason !== anothers) return true
      // Whose it is may come here, too.
      this.#replays.forget(use)
      return false
    }
  }
}
