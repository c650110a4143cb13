/** How the control plane is asked for a transaction token (`identity/txn/token.ts`). */
import { z } from 'zod'
import { limits } from '../base/limits.ts'
import { txnTokenLifeMsMax, txnTokenLifeMsMin } from '../identity/txn/token.ts'

export const txnTokensPath = '/v1/transaction-tokens'

const word = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x21-\x7e]+$/, 'expected printable ASCII without spaces')

export const txnOrder = z.strictObject({
  /** Of the person; verified there, by the keys of its provider. */
  token: z.string().max(limits.authMessageBytesMax),
  /** The caller's own id where it is left out. */
  workload: z.string().optional(),
  /** Chosen there where it is left out. */
  transaction: word.optional(),
  lifeMs: z.int().min(txnTokenLifeMsMin).max(txnTokenLifeMsMax).default(txnTokenLifeMsMax),
  method: word.optional(),
  route: word.optional(),
})

export const madeTxnToken = z.object({ token: z.string(), transaction: z.string(), expiresAtMs: z.number() })
export type MadeTxnToken = z.infer<typeof madeTxnToken>
