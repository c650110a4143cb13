/** Where a policy is in force, told by its text and not by its number. */
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../base/errors.ts'
import type { PolicyConflict } from '../control/proxy-status.ts'
import type { StatusAnswer } from '../control/services/proxies.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import { AdminClient } from './admin-client.ts'
import { UnreadableInput } from './options.ts'

const lookAgainMs = 50

/** Enough of a digest for people to compare. */
export function shortDigest(digest: string): string {
  return digest.slice(0, 12)
}

/** What an operator has to know and do when the control plane was restored from a backup. */
export function conflictText({ names, nextRevision }: PolicyConflict): string {
  return [
    `${names.join(', ')} run a policy that this control plane does not know; was its state restored from a backup?`,
    'They keep it. ringfence policy apply -f policy.yaml puts the policy that you mean in force everywhere,',
    `as revision ${nextRevision}.`,
  ].join(' ')
}

export interface InForce {
  /** Connected proxies that run it. */
  readonly running: readonly string[]
  /** Connected proxies that run something else: what, and why where they said so. */
  readonly others: readonly { readonly name: string; readonly runs: string; readonly why?: string }[]
  /** Proxies that do not report now; they take it when they are back. */
  readonly away: readonly string[]
}

/** Which sidecars and gateways run the text with that digest. */
export function inForce({ proxies }: Pick<StatusAnswer, 'proxies'>, revision: number, digest: string): InForce {
  const running: string[] = []
  const others: { name: string; runs: string; why?: string }[] = []
  const away: string[] = []
  for (const { name, connected, draining, policyRevision = 0, policyDigest, policyFault } of proxies) {
    if (!connected || draining) away.push(name)
    else if (policyDigest === undefined ? policyRevision === revision : policyDigest === digest) running.push(name)
    else
      others.push({
        name,
        runs: runs(policyRevision, policyDigest),
        ...(policyFault !== undefined && { why: policyFault }),
      })
  }
  return { running, others, away }
}

function runs(revision: number, digest: string | undefined): string {
  if (revision === 0) return 'no policy'
  return digest === undefined ? `revision ${revision}` : `revision ${revision} (${shortDigest(digest)})`
}

/** Waits until every connected proxy runs it, at most `waitMs`. */
export async function awaitInForce(
  client: Pick<AdminClient, 'status'>,
  revision: number,
  digest: string,
  waitMs: number,
): Promise<InForce> {
  const until = performance.now() + waitMs
  for (;;) {
    const found = inForce(await client.status(), revision, digest)
    if (found.others.length === 0 || performance.now() >= until) return found
    await sleep(lookAgainMs)
  }
}

export function inForceText({ running, others, away }: InForce): string {
  const connected = running.length + others.length
  const lines = [`in force on ${running.length} of ${connected} connected proxies`]
  for (const { name, runs: other, why = 'its log says why' } of others) lines.push(`${name} runs ${other}: ${why}`)
  if (away.length > 0) lines.push(`${away.join(', ')} ${away.length === 1 ? 'is' : 'are'} away and take it when back`)
  return lines.join('\n')
}

/**
 * The policy that the control plane has in force, as something to compare with.
 * @throws UnreadableInput when it does not answer, so that exit code 1 keeps its meaning for who compares
 */
export async function policyInForce(stateDir: string): Promise<PolicySnapshot> {
  try {
    return await new AdminClient(stateDir).policy()
  } catch (reason) {
    const { message, code } = RingfenceError.from(reason, 'UNAVAILABLE')
    if (code !== 'UNAVAILABLE') throw reason
    const hint = 'is it running, and is --state-dir the same; or name a file to take in its place'
    throw new UnreadableInput(`the policy in force cannot be read: ${message}`, { hint })
  }
}
