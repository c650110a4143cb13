/** The list of authorities, put right by the files of keys: what these say is so, whatever was written beside them last. */
import { type AuthorityRow, rowOf } from './ledger.ts'
import { type Authority, type AuthorityKind, idOf, type Signer } from './signer.ts'

/** Those that are active; the key of the root may be kept elsewhere. */
export interface Active {
  root: Authority
  issuing: Signer
}

export type Next = Record<AuthorityKind, Signer | undefined>

export function isAtHand(id: string, active: Active, next: Next): boolean {
  return [active.root, active.issuing, next.root, next.issuing].some(
    (one) => one !== undefined && idOf(one.certificate) === id,
  )
}

/** Undefined where the list is right. */
export function reconciled(
  rows: readonly AuthorityRow[],
  active: Active,
  next: Next,
  nowMs: number,
): AuthorityRow[] | undefined {
  const atHand = (['root', 'issuing'] as const).flatMap((kind) => {
    const [present, coming] = [active[kind], next[kind]]
    return [
      // Nobody was told of it before.
      ...(coming === undefined ? [] : [rowOf(kind, coming.certificate, nowMs, undefined)]),
      rowOf(kind, present.certificate, undefined, present.certificate.notBefore.getTime()),
    ]
  })
  // One that never signed, and whose key is gone, is nobody's.
  const kept = rows.filter((row) => row.activatedMs !== undefined || isAtHand(row.id, active, next))
  const added = atHand.filter(({ id }) => !kept.some((row) => row.id === id))
  const activeIds = [idOf(active.root.certificate), idOf(active.issuing.certificate)]
  const late = kept.filter(({ id, activatedMs }) => activeIds.includes(id) && activatedMs === undefined)
  if (added.length === 0 && late.length === 0 && kept.length === rows.length) return undefined
  return [...added, ...kept.map((row) => (late.includes(row) ? { ...row, activatedMs: nowMs } : row))]
}
