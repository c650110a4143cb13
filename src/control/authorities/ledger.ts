/**
 * Which authorities there are besides the keys at hand, in `authorities.json`: every certificate until it ends, and what was decided of it.
 *
 *   key file `<kind>-next.pem` ─▶ prepared      key file `<kind>.pem` ─▶ active      no key file ─▶ old, tainted or revoked
 *
 * Rule: what is prepared and what is active is said by the files of keys alone, each of which is replaced as a whole. So no crash leaves two that are active.
 */
import { join } from 'node:path'
import { X509Certificate } from '@peculiar/x509'
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { parseJson } from '../../mesh/answer.ts'
import { readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import { type AuthorityKind, backDateMsMax, idOf, signerIdOf } from './signer.ts'

const ledgerName = 'authorities.json'

const row = z.object({
  id: z.string().regex(/^[0-9a-f]{40}$/),
  kind: z.enum(['root', 'issuing']),
  certificatePem: z.string(),
  /** The root that signed an issuing one. */
  signerId: z.string(),
  notBeforeMs: z.number(),
  notAfterMs: z.number(),
  preparedMs: z.number(),
  activatedMs: z.number().optional(),
  taintedMs: z.number().optional(),
  revokedMs: z.number().optional(),
})
const file = z.object({ sequence: z.int().nonnegative(), authorities: z.array(row) })

export type AuthorityRow = Readonly<z.infer<typeof row>>

export class Ledger {
  readonly #path: string
  #sequence: number
  #rows: readonly AuthorityRow[]

  private constructor(path: string, sequence: number, rows: readonly AuthorityRow[]) {
    this.#path = path
    this.#sequence = sequence
    this.#rows = rows
  }

  /** Empty where there is none yet: an older program kept none. @throws RingfenceError CONFIG where it is damaged */
  static open(folder: string): Ledger {
    const path = join(folder, ledgerName)
    const text = readIfThere(path)
    if (text === undefined) return new Ledger(path, 0, [])
    const read = file.safeParse(parseJson(text))
    if (!read.success || !read.data.authorities.every(isWhole))
      throw new RingfenceError('CONFIG', `${path} is damaged`, { hint: 'restore it from a backup' })
    return new Ledger(path, read.data.sequence, read.data.authorities)
  }

  /** Another number for each change, and a greater one: by the clock at least, so that it is greater than those that a restored state has forgotten. */
  get sequence(): number {
    return this.#sequence
  }

  /** The newest first. */
  get rows(): readonly AuthorityRow[] {
    return this.#rows
  }

  row(id: string): AuthorityRow | undefined {
    return this.#rows.find((one) => one.id === id)
  }

  /** Is on disk when it returns. */
  set(rows: readonly AuthorityRow[], nowMs: number): void {
    const sequence = Math.max(this.#sequence + 1, Math.floor(nowMs / 1000))
    const sorted = [...rows].sort((a, b) => b.preparedMs - a.preparedMs)
    writeFileAtomically(this.#path, `${JSON.stringify({ sequence, authorities: sorted }, null, 2)}\n`, 0o600)
    this.#sequence = sequence
    this.#rows = sorted
  }

  change(id: string, change: Partial<AuthorityRow>, nowMs: number): void {
    this.set(
      this.#rows.map((one) => (one.id === id ? { ...one, ...change } : one)),
      nowMs,
    )
  }
}

/** @param preparedMs undefined where nobody wrote it down: about when it was made */
export function rowOf(
  kind: AuthorityKind,
  certificate: X509Certificate,
  preparedMs: number | undefined,
  activatedMs: number | undefined,
): AuthorityRow {
  return {
    id: idOf(certificate),
    kind,
    certificatePem: `${certificate.toString('pem')}\n`,
    signerId: signerIdOf(certificate),
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
    preparedMs: preparedMs ?? certificate.notBefore.getTime() + backDateMsMax,
    ...(activatedMs === undefined ? {} : { activatedMs }),
  }
}

function isWhole({ id, certificatePem }: AuthorityRow): boolean {
  try {
    return idOf(new X509Certificate(certificatePem)) === id
  } catch {
    return false
  }
}
