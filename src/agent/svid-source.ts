/**
 * A proxy's certificate from a SPIFFE Workload API, in the place of enrolment and renewal: its SVID, key and roots are told by a stream, and in force at once.
 *
 *   X509SVIDResponse ─▶ the one SVID of this role ─▶ chain, key, trust domain ─▶ credentials ─▶ everybody who observes them
 *
 * Rules: what is not whole, of another trust domain or of another id is refused, and what is in force stays. The key is in memory only. Roots of other trust
 * domains (`federated_bundles`) are trusted for nothing: no policy can name them.
 */
import { createPrivateKey } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { after, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { verifyChain } from '../identity/chain.ts'
import { parseSpiffeId, pathSegmentsOf, trustDomainOf } from '../identity/spiffe.ts'
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import { meshPaths } from '../mesh/roles.ts'
import { followWorkloadApi } from '../mesh/workload-api/client.ts'
import { certificatesInDer, pemOf } from '../mesh/workload-api/der.ts'
import type { X509SvidResponse } from '../mesh/workload-api/messages.ts'
import type { Logger } from '../telemetry/log.ts'
import type { ControlSession } from './control-session.ts'

export interface SvidFrom {
  /** Of the Unix socket of the Workload API. */
  readonly socketPath: string
  /** That the SVID is to be of; that of the first one where it is not said. */
  readonly trustDomain?: string | undefined
  /** Roots by which the control plane is known, beside those that the Workload API gives; PEM. */
  readonly controlRootsPem?: string | undefined
}

export interface SvidSourceOptions extends SvidFrom {
  readonly role: 'gateway' | 'sidecar'
  readonly log: Logger
  readonly clock: Clock
  readonly random: () => number
}

/** Whoever starts it starts it again; it may be registered meanwhile. */
const firstMsMax = 30_000

export class SvidSource {
  readonly #options: SvidSourceOptions
  readonly #stopped = new AbortController()
  readonly #first = Promise.withResolvers<Credentials>()
  readonly #loop: Promise<void>
  #lastFault: RingfenceError | undefined
  #current: Credentials | undefined
  #session: ControlSession | undefined

  constructor(options: SvidSourceOptions) {
    this.#options = options
    const { socketPath, clock, random, log } = options
    // It is waited for by `first`, if at all.
    this.#first.promise.catch(() => {})
    this.#loop = followWorkloadApi({
      call: 'fetchX509SVID',
      socketPath,
      take: (answer) => this.#take(answer),
      failed: (fault) => {
        this.#lastFault = fault
      },
      signal: this.#stopped.signal,
      clock,
      random,
      log,
    })
  }

  /** @throws RingfenceError IDENTITY, UNAVAILABLE where there is no good one for so long; then it asks no more */
  async first(msMax: number = firstMsMax): Promise<Credentials> {
    const late = Promise.withResolvers<never>()
    const timer = after(nothingEnds, 'the wait for an SVID', msMax, () => {
      late.reject(noSvid(this.#lastFault ?? new RingfenceError('UNAVAILABLE', 'the Workload API says nothing')))
    })
    try {
      return await Promise.race([this.#first.promise, late.promise])
    } catch (reason) {
      this.#stopped.abort()
      throw reason
    } finally {
      clearTimeout(timer)
    }
  }

  /** What comes from now on is in force in `session`. Resolves when that stops. */
  async follow(session: ControlSession): Promise<void> {
    this.#session = session
    session.onStop(() => this.#stopped.abort())
    // It may have come between the first one and now.
    if (this.#current !== undefined) session.takeSvid(this.#current)
    await this.#loop
  }

  #take(answer: X509SvidResponse): void {
    const credentials = this.#readOrRefuse(answer)
    const { spiffeId, notAfterMs } = credentials
    const isFirst = this.#current === undefined
    this.#current = credentials
    this.#options.log.info({ spiffeId, notAfterMs }, isFirst ? 'SVID taken' : 'another SVID taken')
    if (isFirst) this.#first.resolve(credentials)
    this.#session?.takeSvid(credentials)
  }

  /** One that is refused at the start is somebody's to mend, and does not get better by waiting. */
  #readOrRefuse(answer: X509SvidResponse): Credentials {
    try {
      return this.#read(answer)
    } catch (reason) {
      if (this.#current === undefined) this.#first.reject(noSvid(RingfenceError.from(reason, 'IDENTITY')))
      throw reason
    }
  }

  /** @throws RingfenceError IDENTITY */
  #read({ svids }: X509SvidResponse): Credentials {
    const { role, clock, trustDomain: expected } = this.#options
    const ours = svids.filter(({ spiffeId }) => isOfRole(spiffeId, role))
    const [svid, ...others] = ours
    const names = (svid === undefined ? svids : ours).map(({ spiffeId }) => spiffeId).join(', ')
    if (svid === undefined || others.length > 0) {
      const what = svid === undefined ? `none of the SVIDs is of a ${role}` : `${ours.length} SVIDs are of a ${role}`
      const hint = `one entry of this process is to have an id below /ringfence/${meshPaths[role]}/`
      throw refused(`${what}: ${names === '' ? 'there is none' : names}`, hint)
    }
    const [leaf, ...above] = certificatesInDer(svid.x509Svid)
    const roots = certificatesInDer(svid.bundle)
    if (leaf === undefined || roots.length === 0) throw refused('an SVID without certificate or without roots')
    const credentials = credentialsOf(pemOf([leaf, ...above]), keyPemOf(svid.x509SvidKey), pemOf(roots))
    if (credentials.spiffeId !== svid.spiffeId) throw refused('an SVID is announced by another id than it has')
    const trustDomain = trustDomainOf(credentials.spiffeId)
    if (expected !== undefined && trustDomain !== expected)
      throw refused(`${credentials.spiffeId} is not of the trust domain ${expected}`)
    const before = this.#current?.spiffeId
    if (before !== undefined && before !== credentials.spiffeId)
      throw refused(`${credentials.spiffeId} in the place of ${before}`, 'start this proxy again to be another')
    verifyChain(
      leaf.raw,
      above.map(({ raw }) => raw),
      credentials.bundlePem,
      clock.now(),
    )
    return credentials
  }
}

function isOfRole(spiffeId: string, role: SvidSourceOptions['role']): boolean {
  try {
    const [owner, part, ...rest] = pathSegmentsOf(parseSpiffeId(spiffeId))
    return owner === 'ringfence' && part === meshPaths[role] && rest.length > 0
  } catch {
    return false
  }
}

function keyPemOf(pkcs8: Uint8Array): string {
  try {
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
    return key.export({ type: 'pkcs8', format: 'pem' }).toString()
  } catch {
    // The reason may quote it.
    throw refused('the key of an SVID can’t be read')
  }
}

function noSvid({ code, message, hint }: RingfenceError): RingfenceError {
  return new RingfenceError(code, `no SVID was got: ${message}`, hint === undefined ? {} : { hint })
}

function refused(what: string, hint?: string): RingfenceError {
  return new RingfenceError('IDENTITY', what, hint === undefined ? {} : { hint })
}
