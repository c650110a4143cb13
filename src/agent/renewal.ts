/** Certificates are renewed long before they end, for an expired one cannot be renewed. */
import { containOwnFault } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { credentialsOf, makeKey } from '../mesh/credentials.ts'
import { issuedCertificate } from '../mesh/enrolment.ts'
import { Repeated } from '../telemetry/repeated.ts'
import type { ControlSession } from './control-session.ts'
import { tellSkew } from './enrolment.ts'
import type { Exchange, Fresh } from './exchange.ts'
import type { IdentityFile } from './identity-file.ts'

/** When a certificate is renewed: at a random point of this part of its life, and at once from the late point. */
const renewFrom = 0.5
const renewTo = 0.67
const renewLate = 0.9
/** A certificate that was just issued is kept for this part of the life that is left, whatever its dates say. */
const keepFrom = 0.4
/** Where many are to be renewed at once, their authority being tainted, within so long: the control plane signs some a second. */
const hurriedMsMax = 30_000
const retryMsMin = 200
const retryMsMax = 30_000

/** How long to wait from `nowMs` before renewing. The issued life counts, back-date and all. */
export function renewalDelayMs(notBeforeMs: number, notAfterMs: number, nowMs: number, random: () => number): number {
  const lifeMs = notAfterMs - notBeforeMs
  if (nowMs >= notBeforeMs + renewLate * lifeMs) return 0
  const atMs = notBeforeMs + (renewFrom + (renewTo - renewFrom) * random()) * lifeMs
  return Math.max(0, atMs - nowMs)
}

/** How a later certificate is got. */
export interface Renew {
  /** What is to be done where the present one has ended. */
  readonly remedy: string
  fresh(session: ControlSession): Promise<Fresh>
}

/** The control plane gives who has a certificate the next one. */
export const byCertificate: Renew = {
  remedy: 'enrol again with a new join token',
  async fresh({ client }) {
    const { keyPem, csrPem } = await makeKey()
    const issued = await client.post('/v1/renew', { csrPem }, issuedCertificate)
    const { certificatePem, bundlePem, bundleSequence, nowMs } = issued
    return { credentials: credentialsOf(certificatePem, keyPem, bundlePem), bundleSequence, nowMs }
  },
}

/** Each is got for a token, so that one that has ended is no loss. */
export function byExchange(exchange: Exchange): Renew {
  return {
    remedy: 'it comes back with the next token that is accepted',
    fresh: ({ credentials }) => exchange.credentials(credentials.current),
  }
}

/** Resolves when the agent stops. */
export async function renewForEver(session: ControlSession, file: IdentityFile, renewal: Renew): Promise<void> {
  const { clock, random, log } = session.options
  let failures = 0
  const refusals = new Repeated(clock)
  let renewed = true
  let retryMs: number | undefined
  while (!session.isStopped) {
    const { notBeforeMs, notAfterMs } = session.credentials.current
    // Certificates are dated back by a minute. Of a short life that is most, so a new one is kept for a part of what is left at least.
    const keptMs = renewed ? keepFrom * (notAfterMs - clock.now()) : 0
    renewed = false
    const pauseMs = retryMs ?? Math.max(keptMs, renewalDelayMs(notBeforeMs, notAfterMs, clock.now(), random))
    if (await session.pauseToRenew(pauseMs)) await session.pause(random() * hurriedMsMax)
    if (session.isStopped) return
    try {
      await renew(session, file, renewal)
      failures = 0
      refusals.over()
      renewed = true
      retryMs = undefined
    } catch (reason) {
      containOwnFault('the renewal of a certificate', reason)
      if (session.isStopped) return
      const fault = RingfenceError.from(reason, 'UNAVAILABLE')
      // Rate-limited: one random moment of the next window, else everybody's retries meet again (Consul's leafcert/generate.go).
      const windowMs = fault.code === 'OVERLOADED' ? retryMsMax : Math.min(retryMsMax, 1_000 * 2 ** failures)
      // Several times before the certificate ends, for then it cannot be renewed.
      const leftMs = notAfterMs - clock.now()
      retryMs = random() * (leftMs > 0 ? Math.max(retryMsMin, Math.min(windowMs, leftMs / 4)) : windowMs)
      failures++
      const expired = clock.now() > notAfterMs
      const text = expired ? `identity expired; ${renewal.remedy}` : 'certificate was not renewed, trying again'
      const repeated = refusals.due(`${text}: ${fault.message}`)
      if (repeated !== undefined) log[expired ? 'error' : 'warn']({ reason: fault.message, notAfterMs, repeated }, text)
    }
  }
}

async function renew(session: ControlSession, file: IdentityFile, renewal: Renew): Promise<void> {
  const fresh = await renewal.fresh(session)
  const { clock, log } = session.options
  if (fresh.nowMs !== undefined) tellSkew(fresh.nowMs, clock, log)
  const credentials = session.withNewestBundle(fresh.credentials, fresh.bundleSequence ?? 0)
  const { spiffeId, notAfterMs } = credentials
  const before = session.credentials.current.spiffeId
  if (spiffeId !== before) throw new RingfenceError('IDENTITY', `control plane renewed ${before} as ${spiffeId}`)
  file.write(credentials)
  log.info({ spiffeId, notAfterMs }, 'certificate renewed')
  session.setCredentials(credentials)
}
