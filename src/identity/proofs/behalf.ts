/**
 * A workload's own proof, and on whose behalf its whole session is: the authorization id of SASL PLAIN (RFC 4616) is a transaction token, or a name
 * that policy lets the workload say.
 *
 *   certificate ─┐
 *   or password ─┴▶ the workload ─▶ authorization id ─▶ the person behind it ─▶ both, until the first of the two ends
 *
 * Rule: the workload is proved before anybody looks at the person; a token counts only for the workload that it names. A name is believed here, and only
 * a sidecar, which knows the policy, lets a session begin by it (`sidecar/behalf/by-name.ts`).
 */
import { z } from 'zod'
import { sha256Hex } from '../../base/digest.ts'
import { limits } from '../../base/limits.ts'
import { readLeaf } from '../certificate.ts'
import { KeyRing } from '../jwt/keys.ts'
import { looksLikeToken, shortText, unverifiedClaims } from '../jwt/verify.ts'
import { LogInRefused, type RefusedEvidence } from '../refusal.ts'
import { personOf } from '../spiffe.ts'
import { isPersonName, type TxnToken, verifyTxnToken } from '../txn/token.ts'
import { plainClassName, readPlain } from './plain.ts'
import type { Evidence, Proof, ProofCheck, Proved } from './proof.ts'
import { type Behind, behalfMethods, claimsOfBoth } from './registry.ts'

const shown = z.strictObject({
  /** What proves the workload, where it is asked for: its kind, and what was shown. */
  own: z.strictObject({ kind: z.string().max(32), shown: z.unknown().optional() }).optional(),
  behalf: z.string().min(1).max(limits.txnTokenBytesMax),
})
type Shown = z.infer<typeof shown>

/** By its certificate, which the connection shows; the password is empty. */
export function behalfByCertificate(method: string, certificate: Proof): Proof<Shown> {
  return {
    ...common(method, shown),
    asks: {
      className: plainClassName,
      needs: (connection) => certificate.atConnection?.(connection) !== undefined,
      begin: (connection) => ({
        answer(answer) {
          const plain = readBehalf(answer)
          if (plain === undefined || looksLikeToken(plain.password)) return undefined
          const chain = certificate.atConnection?.(connection)?.chain
          if (chain === undefined) return undefined
          if (plain.password !== '') {
            const words = 'beside a certificate and an authorization id the password is empty'
            throw new LogInRefused('not-supported', words, { words })
          }
          return { chain, shown: { behalf: plain.authorizationId }, claimed: claimedBy(plain.authorizationId, chain) }
        },
      }),
    },
    verify({ chain, shown: { own, behalf } }, check) {
      if (own !== undefined) throw new LogInRefused('other', 'something else than a certificate is shown')
      return verifyBehalf(certificate, { kind: certificate.evidence.name, chain, shown: undefined }, behalf, check)
    },
  }
}

/** By what is asked for as a password. */
export function behalfByPassword(method: string, asked: readonly Proof[]): Proof<Shown> {
  return {
    ...common(method, shown),
    asks: {
      className: plainClassName,
      unavailable: (check) => {
        const reasons = asked.map(({ asks }) => asks?.unavailable?.(check))
        return reasons.includes(undefined) ? undefined : reasons[0]
      },
      begin: (connection) => ({
        answer(answer) {
          const plain = readBehalf(answer)
          if (plain === undefined) return undefined
          const { authorizationId: behalf, user, password } = plain
          for (const { evidence, asks } of asked) {
            const step = asks?.begin(connection).answer(Buffer.from(`\0${user}\0${password}`))
            if (step === undefined || Buffer.isBuffer(step)) continue
            return {
              chain: [],
              shown: { own: { kind: evidence.name, shown: step.shown }, behalf },
              claimed: step.claimed,
            }
          }
          return undefined
        },
      }),
    },
    verify({ chain, shown: { own, behalf } }, check) {
      if (chain.length > 0) throw new LogInRefused('other', 'a certificate is shown that is not claimed')
      const proof = asked.find(({ evidence }) => evidence.name === own?.kind)
      const read = proof?.evidence.schema.safeParse(own?.shown)
      if (proof === undefined || read?.success !== true)
        throw new LogInRefused('other', 'what is shown beside the authorization id is not understood')
      return verifyBehalf(proof, { kind: proof.evidence.name, chain: [], shown: read.data }, behalf, check)
    },
  }
}

function common(method: string, schema: z.ZodType<Shown>): Pick<Proof<Shown>, 'method' | 'proves' | 'evidence'> {
  return { method, proves: [], evidence: { name: method, schema } }
}

/** Undefined where no authorization id is given. */
function readBehalf(answer: Buffer): ReturnType<typeof readPlain> {
  const plain = readPlain(answer)
  if (plain === undefined || plain.authorizationId === '') return undefined
  if (plain.authorizationId.length > limits.txnTokenBytesMax) {
    const words = `an authorization id has at most ${limits.txnTokenBytesMax} bytes`
    throw new LogInRefused('too-long', words, { words })
  }
  return plain
}

/** With whose certificate it is: what one workload claims in vain is not to be in the way of another that may claim it. */
function claimedBy(behalf: string, [leaf]: readonly Buffer[]): string {
  const { req_wl: workload, sub } = looksLikeToken(behalf) ? (unverifiedClaims(behalf) ?? {}) : { sub: behalf }
  return JSON.stringify(['on behalf of', shortText(sub), shortText(workload), claimerOf(leaf)])
}

function claimerOf(leaf: Buffer | undefined): string {
  try {
    return leaf === undefined ? '' : readLeaf(leaf).spiffeId
  } catch {
    return 'a certificate that is refused'
  }
}

async function verifyBehalf(
  proof: Proof,
  evidence: Evidence & { readonly shown: unknown },
  behalf: string,
  check: ProofCheck,
): Promise<Proved> {
  const own = await proof.verify(evidence, check)
  if (own.person !== undefined || personOf(own.subject) !== undefined) {
    const words = 'only a workload acts on behalf of somebody'
    throw new LogInRefused('not-supported', `${own.subject} is a person: ${words}`, { words })
  }
  const { behind, transaction } = looksLikeToken(behalf) ? await byToken(behalf, own, check) : byName(behalf)
  const { person, groups, claims, method, expiresAtMs, hash } = behind
  return {
    ...own,
    person,
    groups,
    ...claimsOfBoth(own.claims, claims),
    methods: [...(own.methods ?? [proof.method]), method],
    expiresAtMs: Math.min(own.expiresAtMs, expiresAtMs),
    hashed: `${sha256Hex(own.hashed)} ${hash}`,
    behind: transaction,
  }
}

type Found = { readonly behind: Behind; readonly transaction?: Proved['behind'] }

async function byToken(text: string, { subject }: Proved, { trust, nowMs }: ProofCheck): Promise<Found> {
  const hash = sha256Hex(text)
  const evidence: RefusedEvidence = { hash, claimed: shortText(unverifiedClaims(text)?.sub) }
  const token = await verified()
  const { person, groups, claims, workload, transaction: id, source, expiresAtMs } = token
  if (workload !== subject) {
    const words = 'the transaction token was given to another workload'
    throw new LogInRefused('claims', words, { words, evidence })
  }
  const behind: Behind = { person, groups, claims, method: behalfMethods.token, expiresAtMs, hash }
  return { behind, transaction: { id, hash, source } }

  async function verified(): Promise<TxnToken> {
    try {
      return await verifyTxnToken(text, trust.txnKeys ?? KeyRing.none, trust.trustDomain, nowMs)
    } catch (reason) {
      throw reason instanceof LogInRefused ? reason.with(evidence) : reason
    }
  }
}

function byName(name: string): Found {
  const hash = sha256Hex(name)
  if (!isPersonName(name)) {
    const words = 'the authorization id names nobody; a person is written corp/alice'
    throw new LogInRefused('malformed', words, { words, evidence: { hash } })
  }
  const { name: method } = behalfMethods
  return {
    behind: { person: name, groups: [], claims: {}, method, expiresAtMs: Number.POSITIVE_INFINITY, hash },
  }
}
