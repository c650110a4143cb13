/**
 * Log-ins by a pre-signed GetCallerIdentity. What STS said of a request is remembered for as long as the request lives, so that a pool of
 * connections asks once. Each gateway and sidecar asks for itself.
 */

import { limits } from '../../base/limits.ts'
import type { OutsideAnswer } from '../outside/answer.ts'
import { Asking } from '../outside/asking.ts'
import { LogInRefused } from '../refusal.ts'
import type { SpiffeId } from '../spiffe.ts'
import { type AwsPartition, type AwsPrincipal, awsSubject } from './arn.ts'
import { callerOf } from './caller-identity.ts'
import { stsHosts } from './hosts.ts'
import { readPresigned, type StsRequest } from './presigned.ts'
import { Replays } from './replays.ts'

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

export interface StsProved {
  readonly subject: SpiffeId
  readonly principal: AwsPrincipal
  readonly expiresAtMs: number
}

export class StsLogIns {
  readonly #send: SendToSts
  readonly #asking: Asking<AwsPrincipal>
  readonly #replays: Replays

  /** @param send one HTTPS request to that host, bounded in time, no redirect followed */
  constructor(send: SendToSts, entriesMax: number = limits.presignedRememberedMax) {
    this.#send = send
    this.#asking = new Asking<AwsPrincipal>('AWS STS', entriesMax)
    this.#replays = new Replays(entriesMax)
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
        ? this.#replays.use(principal.arn, key, address, endMs, nowMs)
        : spend(principal.arn, key, endMs)
    if (!isFirst) {
      const whence = spend === undefined ? 'from another address before' : 'before'
      throw new LogInRefused('replayed', `the pre-signed request of ${principal.arn} was used ${whence}`, {
        words: `the pre-signed request was used ${whence}; make a new one (ringfence aws-token)`,
      })
    }
    return { subject: awsSubject(principal, trustDomain), principal, expiresAtMs: endMs }
  }
}
