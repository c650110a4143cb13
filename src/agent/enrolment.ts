/** How an agent comes to its first certificate: the one on disk, one for a join token, or one for a token of an identity provider. */
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import { skewHint, skewText } from '../mesh/clock-skew.ts'
import { type Credentials, credentialsOf, makeKey } from '../mesh/credentials.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import { enrolWith } from './client.ts'
import type { Exchange } from './exchange.ts'
import type { IdentityFile } from './identity-file.ts'

export interface EnrolmentOptions {
  readonly role: AgentRole
  readonly name: string
  readonly controlUrl: string
  readonly joinToken?: string | undefined
  readonly log: Logger
  readonly clock: Clock
}

/** @throws RingfenceError IDENTITY where nothing on disk is valid and no token is accepted; UNAVAILABLE */
export async function firstCredentials(
  options: EnrolmentOptions,
  file: IdentityFile,
  exchange: Exchange | undefined,
): Promise<Credentials> {
  const { joinToken, clock } = options
  const kept = file.read()
  if (kept !== undefined && clock.now() < kept.notAfterMs && isRenewable(kept, exchange)) return kept
  if (exchange !== undefined) {
    const { credentials, nowMs } = await exchange.credentials(undefined)
    return taken(credentials, nowMs, options, file)
  }
  if (joinToken === undefined) {
    const why = kept === undefined ? 'there is no identity yet' : endOf(kept, clock.now())
    throw new RingfenceError('IDENTITY', `${why}, and no join token was given`, {
      hint: 'ringfence token generate --spiffe-id … --role …, then start again with --token',
    })
  }
  const { keyPem, csrPem } = await makeKey()
  const { name, role } = options
  const issued = await enrolWith(options.controlUrl, { token: joinToken, csrPem, name, role }, clock)
  return taken(credentialsOf(issued.certificatePem, keyPem, issued.bundlePem), issued.nowMs, options, file)
}

function endOf({ spiffeId, notAfterMs }: Credentials, nowMs: number): string {
  return nowMs < notAfterMs
    ? `the identity ${spiffeId} was got for a token and cannot be renewed without one`
    : `the identity ${spiffeId} expired and cannot be renewed`
}

/** One that was got for a token is renewed by a token only, and any other by itself. */
function isRenewable({ leafDer }: Credentials, exchange: Exchange | undefined): boolean {
  return (readLeaf(leafDer).exchanged === undefined) === (exchange === undefined)
}

function taken(
  credentials: Credentials,
  controlNowMs: number,
  { log, clock }: EnrolmentOptions,
  file: IdentityFile,
): Credentials {
  tellSkew(controlNowMs, clock, log)
  file.write(credentials)
  log.info({ spiffeId: credentials.spiffeId, notAfterMs: credentials.notAfterMs }, 'enrolled')
  return credentials
}

/** It goes on: what is issued to it is good at everybody else, and who judges by a wrong clock is to be mended rather than stopped. */
export function tellSkew(controlNowMs: number, clock: Clock, log: Logger): void {
  const aheadMs = clock.now() - controlNowMs
  const text = skewText('the clock of this host', aheadMs)
  if (text !== undefined) log.error({ aheadMs, hint: skewHint }, text)
}
