/**
 * Transaction tokens: who shows the token of a person, of an identity provider of the policy, gets one for the workload that it is itself; a
 * gateway, one for the workload behind it.
 */
import { randomUUID } from 'node:crypto'
import type { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import type { TokenIdentity } from '../../identity/providers/in-force.ts'
import { LogInRefused } from '../../identity/refusal.ts'
import { revokedText } from '../../identity/revoked/revocation.ts'
import { factsOf } from '../../identity/revoked/revocations.ts'
import { parseSpiffeId, type SpiffeId } from '../../identity/spiffe.ts'
import { makeTxnToken, workloadOf } from '../../identity/txn/token.ts'
import { type MadeTxnToken, type txnOrder, txnTokensPath } from '../../mesh/transaction-tokens.ts'
import { type Member, nameOf } from '../callers.ts'
import type { ControlParts } from './parts.ts'

/** JSON may write a byte as six. */
export const txnOrderBytesMax = 2 * limits.authMessageBytesMax

/** @throws RingfenceError IDENTITY, OVERLOADED */
export async function makeToken(
  parts: ControlParts,
  caller: Member,
  { token, workload: wanted, transaction = randomUUID(), lifeMs, method, route }: z.infer<typeof txnOrder>,
): Promise<MadeTxnToken> {
  const { txnKeys, txnBudgets, store, ca, clock, log } = parts
  const { spiffeId: own } = caller.peer
  const isGateway = store.agent(own)?.role === 'gateway'
  const asked = wanted === undefined ? own : parseSpiffeId(wanted)
  if (asked !== own && !isGateway)
    throw new RingfenceError('IDENTITY', `${own} may have transaction tokens for itself only, and asked for ${asked}`)
  const workload = workloadOf(asked, ca.trustDomain)
  const revoked = parts.revocations.current.find({ subject: workload }, clock.now())
  if (revoked !== undefined) throw new RingfenceError('IDENTITY', `${workload}: ${revokedText(revoked.id)}`)
  // Before a signature is looked at.
  txnBudgets.take(own)
  const nowMs = clock.now()
  const found = await verified(parts, own, token, nowMs)
  const { person, groups = [], claims = {}, hash } = found
  if (person === undefined) throw new RingfenceError('IDENTITY', 'the token that was shown is not of a person')
  const expiresAtMs = Math.floor(Math.min(nowMs + lifeMs, found.expiresAtMs) / 1000) * 1000
  const source = factsOf(found).token
  const behind = { person, groups, claims, workload, transaction, expiresAtMs, source }
  const made = await makeTxnToken(txnKeys.signer, behind, { method, route }, nowMs)
  log.debug({ person, workload, transaction, evidence: hash, by: nameOf(caller) }, 'transaction token made')
  return { token: made, transaction, expiresAtMs }
}

/** Refused tokens are bounded by who shows them: a member of the mesh, wherever it calls from. @throws LogInRefused */
async function verified(
  { providers, logInRefusals, revocations, ca }: ControlParts,
  member: SpiffeId,
  token: string,
  nowMs: number,
): Promise<TokenIdentity> {
  try {
    logInRefusals.beforeAttempt(member, undefined)
    const found = await providers.current.verify(token, ca.trustDomain, nowMs, member)
    const revoked = revocations.current.find(factsOf(found), nowMs)
    if (revoked === undefined) return found
    const { provider, issuer, tokenId, hash, person: claimed } = found
    throw new LogInRefused('revoked', revokedText(revoked.id), {
      evidence: { provider, issuer, tokenId, hash, claimed },
    })
  } catch (reason) {
    if (reason instanceof LogInRefused) {
      const where = { address: member, port: 0, listener: txnTokensPath, driverName: undefined }
      logInRefusals.answer('words', { ...where, reason, claimed: undefined })
    }
    throw reason
  }
}
