/** A certificate of one's own and what is asked for besides: who comes in has shown both, and stays as long as both are good. */
import { z } from 'zod'
import { sha256Hex } from '../../base/digest.ts'
import { LogInRefused } from '../refusal.ts'
import type { Connected, Evidence, Proof, ProofCheck, Proved } from './proof.ts'

const shown = z.strictObject({ kind: z.string().max(32), shown: z.unknown().optional() })

/** @param asked kinds that are asked for by one class name; each answer is of the first that knows it */
export function bothOf(method: string, shows: Proof, asked: readonly Proof[]): Proof<z.infer<typeof shown>> {
  const className = asked[0]?.asks?.className ?? ''
  const certificatesOf = (connection: Connected): readonly Buffer[] | undefined =>
    shows.atConnection?.(connection)?.chain
  return {
    method,
    proves: [],
    evidence: { name: method, schema: shown },
    asks: {
      className,
      unavailable: (check) => {
        const reasons = asked.map(({ asks }) => asks?.unavailable?.(check))
        return reasons.includes(undefined) ? undefined : reasons[0]
      },
      needs: (connection) => certificatesOf(connection) !== undefined,
      begin(connection) {
        const chain = certificatesOf(connection) ?? []
        return {
          answer(answer) {
            for (const { evidence, asks } of asked) {
              const step = asks?.begin(connection).answer(answer)
              if (step === undefined) continue
              if (Buffer.isBuffer(step))
                throw new LogInRefused('not-supported', 'a log-in of several rounds beside a certificate')
              return { chain, shown: { kind: evidence.name, shown: step.shown }, claimed: step.claimed }
            }
            return undefined
          },
        }
      },
    },
    verify({ chain, shown: given }, check) {
      const other = asked.find(({ evidence }) => evidence.name === given.kind)
      const read = other?.evidence.schema.safeParse(given.shown)
      if (other === undefined || read?.success !== true)
        throw new LogInRefused('other', 'what is shown beside the certificate is not understood')
      const evidence: Evidence & { shown: unknown } = { kind: given.kind, chain: [], shown: read.data }
      return verifyBoth(shows, other, chain, evidence, check)
    },
  }
}

async function verifyBoth(
  shows: Proof,
  other: Proof,
  chain: readonly Buffer[],
  evidence: Evidence & { readonly shown: unknown },
  check: ProofCheck,
): Promise<Proved> {
  const first = await shows.verify({ kind: shows.evidence.name, chain, shown: undefined }, check)
  // Whoever has a token can get one, so it would add nothing to what is shown beside it.
  if (first.token !== undefined)
    throw new LogInRefused('not-supported', 'the certificate was got for a token, and is no second proof', {
      words: 'a certificate that was got for a token is no second proof beside a token',
    })
  const second = await other.verify(evidence, check)
  const { subject } = first
  // A token about a workload is about the one that has the certificate, or it is somebody else's.
  const isAboutAnother = second.person === undefined && second.role === undefined && second.subject !== subject
  if (isAboutAnother)
    throw new LogInRefused('claims', `the token is about ${second.subject}, the certificate is of ${subject}`)
  return {
    subject,
    person: second.person ?? first.person,
    groups: second.groups,
    role: second.role,
    claims: second.claims,
    claimsOf: second.person === undefined ? undefined : { workload: {}, person: second.claims ?? {} },
    methods: [...(first.methods ?? [shows.method]), ...(second.methods ?? [other.method])],
    expiresAtMs: Math.min(first.expiresAtMs, second.expiresAtMs),
    hashed: `${sha256Hex(first.hashed)} ${sha256Hex(second.hashed)}`,
    token: second.token,
    certificate: first.certificate,
  }
}
