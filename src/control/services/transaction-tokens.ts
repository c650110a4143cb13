/**
 * Transaction tokens: who shows the token of a person, of an identity provider of the policy, gets one for the workload that it is itself; a
 * gateway, one for the workload behind it.
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { makeTxnToken, txnTokenLifeMsMax, txnTokenLifeMsMin, workloadOf } from '../../identity/txn/token.ts'
import { type Member, nameOf } from '../callers.ts'
import type { ControlParts } from './parts.ts'

const word = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x21-\x7e]+$/, 'expected printable ASCII without spaces')

export const txnOrder = z.strictObject({
  /** Of the person; verified here, by the keys of its provider. */
  token: z.string().max(limits.authMessageBytesMax),
  /** The caller's own id where it is left out. */
  workload: z.string().optional(),
  /** Chosen here where it is left out. */
  transaction: word.optional(),
  lifeMs: z.int().min(txnTokenLifeMsMin).max(txnTokenLifeMsMax).default(txnTokenLifeMsMax),
  method: word.optional(),
  route: word.optional(),
})
export const madeTxnToken = z.object({ token: z.string(), transaction: z.string(), expiresAtMs: z.number() })
/** JSON may write a byte as six. */
export const txnOrderBytesMax = 2 * limits.authMessageBytesMax

/** @throws RingfenceError IDENTITY */
export async function makeToken(
  { txnKeys, providers, store, ca, clock, log }: ControlParts,
  caller: Member,
  { token, workload: wanted, transaction = randomUUID(), lifeMs, method, route }: z.infer<typeof txnOrder>,
): Promise<z.infer<typeof madeTxnToken>> {
  const { spiffeId: own } = caller.peer
  const isGateway = store.agent(own)?.role === 'gateway'
  const asked = wanted === undefined ? own : parseSpiffeId(wanted)
  if (asked !== own && !isGateway)
    throw new RingfenceError('IDENTITY', `${own} may have transaction tokens for itself only, and asked for ${asked}`)
  const workload = workloadOf(asked, ca.trustDomain)
  const nowMs = clock.now()
  const found = await providers.current.verify(token, ca.trustDomain, nowMs)
  const { person, groups = [], claims = {}, hash } = found
  if (person === undefined) throw new RingfenceError('IDENTITY', 'the token that was shown is not of a person')
  const expiresAtMs = Math.floor(Math.min(nowMs + lifeMs, found.expiresAtMs) / 1000) * 1000
  const behind = { person, groups, claims, workload, transaction, expiresAtMs }
  const made = await makeTxnToken(txnKeys.signer, behind, { method, route }, nowMs)
  log.debug({ person, workload, transaction, evidence: hash, by: nameOf(caller) }, 'transaction token made')
  return { token: made, transaction, expiresAtMs }
}
