/** How an agent comes to its first certificate: the one on disk, or one for a join token. */
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { type Credentials, credentialsOf, makeKey } from '../mesh/credentials.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import { enrolWith } from './client.ts'
import type { IdentityFile } from './identity-file.ts'

const skewMsAdvisedMax = 30_000

export interface EnrolmentOptions {
  readonly role: AgentRole
  readonly name: string
  readonly controlUrl: string
  readonly joinToken?: string | undefined
  readonly log: Logger
  readonly clock: Clock
}

/** @throws RingfenceError IDENTITY where nothing on disk is valid and no token is accepted; UNAVAILABLE */
export async function firstCredentials(options: EnrolmentOptions, file: IdentityFile): Promise<Credentials> {
  const { joinToken, log, clock } = options
  const kept = file.read()
  if (kept !== undefined && clock.now() < kept.notAfterMs) return kept
  if (joinToken === undefined) {
    const why =
      kept === undefined ? 'there is no identity yet' : `the identity ${kept.spiffeId} expired and cannot be renewed`
    throw new RingfenceError('IDENTITY', `${why}, and no join token was given`, {
      hint: 'ringfence token generate --spiffe-id … --role …, then start again with --token',
    })
  }
  const { keyPem, csrPem } = await makeKey()
  const { name, role } = options
  const issued = await enrolWith(options.controlUrl, { token: joinToken, csrPem, name, role }, clock)
  const skewMs = issued.nowMs - clock.now()
  if (Math.abs(skewMs) > skewMsAdvisedMax) log.warn({ skewMs }, 'clock differs from the control plane')
  const credentials = credentialsOf(issued.certificatePem, keyPem, issued.bundlePem)
  file.write(credentials)
  log.info({ spiffeId: credentials.spiffeId, notAfterMs: credentials.notAfterMs }, 'enrolled')
  return credentials
}
