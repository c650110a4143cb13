/**
 * What an agent does when the mesh's authorities change: it trusts other roots at once, and gets itself another certificate where the one that signed its own
 * is tainted. Proxies are pushed it; all others ask.
 */
import { containOwnFault } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { readLeaf } from '../identity/certificate.ts'
import { certificatesOf } from '../identity/chain.ts'
import { type Authorities, authoritiesPath, wireAuthorities } from '../mesh/authorities.ts'
import type { ControlSession } from './control-session.ts'
import type { IdentityFile } from './identity-file.ts'

/** Half a minute is left then for the renewal itself (`taintedLeafMsMax`). */
const askMsMin = 15_000
const askMsMax = 20_000

/** Where credentials are kept over restarts, or a part of them. */
export interface Keeper extends Pick<IdentityFile, 'write'> {
  /** What it has is older than what was told, though the credentials are the same. */
  isBehind?(): boolean
}

/** Trusts the roots of `told`, unless newer ones are in force, and hurries a renewal that is wanted. */
export function takeAuthorities(session: ControlSession, file: Keeper, told: Authorities): void {
  const { bundleSequence, bundlePem } = told
  const { log } = session.options
  // Without a root TLS would take those of the public.
  if (bundleSequence === 0 || certificatesOf(bundlePem).length === 0) return
  const before = session.credentials.current
  const now = session.withNewestBundle({ ...before, bundlePem }, bundleSequence)
  const isOther = now.bundlePem !== before.bundlePem
  if (isOther) {
    session.setCredentials(now)
    log.info({ bundleSequence }, 'other roots are trusted')
  }
  if (isOther || file.isBehind?.() === true) {
    try {
      file.write(now)
    } catch (err) {
      log.error({ err }, 'other roots were not written to disk; the next renewal does so')
    }
  }
  hurryWhereTainted(session, told)
}

export function hurryWhereTainted(session: ControlSession, { tainted }: Authorities): void {
  const { leafDer, spiffeId } = session.credentials.current
  const { authority } = readLeaf(leafDer)
  if (!tainted.some((one) => one.authority === authority) || !session.hurry(leafDer)) return
  session.options.log.warn({ spiffeId, authority }, 'the authority of the certificate is tainted: it is renewed now')
}

/** For who is pushed nothing. Resolves when the agent stops. */
export async function askForAuthorities(session: ControlSession, file: Keeper): Promise<void> {
  const { random, log } = session.options
  let isAway = false
  while (!session.isStopped) {
    await session.pause(askMsMin + random() * (askMsMax - askMsMin))
    if (session.isStopped) return
    try {
      takeAuthorities(session, file, await session.client.post(authoritiesPath, {}, wireAuthorities))
      isAway = false
    } catch (reason) {
      containOwnFault('the question for authorities', reason)
      // An older control plane knows no such question.
      if (!isAway) log.debug({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'authorities not told')
      isAway = true
    }
  }
}
