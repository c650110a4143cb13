/** What there is, as operators see it and as the mesh is told: made of what is written down, and of which keys are at hand. */
import type { Authorities } from '../../mesh/authorities.ts'
import type { AuthorityRow } from './ledger.ts'
import { seeShow, usage } from './refusals.ts'
import type { AuthorityKind } from './signer.ts'

export type AuthorityState = 'prepared' | 'active' | 'old' | 'tainted' | 'revoked'

export interface ShownAuthority {
  readonly id: string
  readonly kind: AuthorityKind
  readonly state: AuthorityState
  /** Of an issuing one: the root that signed it. */
  readonly signerId: string | undefined
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly preparedMs: number
  readonly activatedMs?: number | undefined
  readonly taintedMs: number | undefined
  readonly revokedMs: number | undefined
}

/** @param activeIds whose keys sign @param nextIds whose keys are prepared */
export function shownOf(
  rows: readonly AuthorityRow[],
  activeIds: readonly string[],
  nextIds: readonly string[],
): ShownAuthority[] {
  return rows.map((row) => {
    const { certificatePem: _, signerId, ...rest } = row
    // A root takes along what it signed.
    const root = rows.find(({ id }) => id === signerId)
    const taintedMs = row.taintedMs ?? root?.taintedMs
    const revokedMs = row.revokedMs ?? root?.revokedMs
    return {
      ...rest,
      state: stateOf(),
      signerId: row.kind === 'root' ? undefined : signerId,
      taintedMs,
      revokedMs,
    }

    function stateOf(): AuthorityState {
      if (revokedMs !== undefined) return 'revoked'
      if (taintedMs !== undefined) return 'tainted'
      if (activeIds.includes(row.id)) return 'active'
      return nextIds.includes(row.id) ? 'prepared' : 'old'
    }
  })
}

/** Roots that are neither over nor revoked, the active one first. */
export function trustedRoots(rows: readonly AuthorityRow[], activeId: string, nowMs: number): AuthorityRow[] {
  const roots = rows.filter((row) => row.kind === 'root' && row.revokedMs === undefined && row.notAfterMs > nowMs)
  return [...roots.filter(({ id }) => id === activeId), ...roots.filter(({ id }) => id !== activeId)]
}

/** By its id, or the beginning of one. @throws RingfenceError USAGE where there is none, or several */
export function foundIn(shown: readonly ShownAuthority[], id: string): ShownAuthority {
  const [one, ...others] = shown.filter((each) => each.id.startsWith(id.toLowerCase().replaceAll(':', '')))
  if (one !== undefined && others.length === 0 && id.length >= 4) return one
  throw usage(one === undefined ? `there is no authority ${id}` : `${id} is not one authority only`, seeShow)
}

/** Whose leaves count, of the mesh's own and of others, and which of them are to be replaced. */
export function countedOf(
  shown: readonly ShownAuthority[],
  outsideIds: readonly string[],
): Pick<Authorities, 'issuing' | 'tainted'> {
  const issuing = shown.filter(({ kind, state }) => kind === 'issuing' && state !== 'revoked')
  const tainted = issuing.filter(({ state }) => state === 'tainted')
  return {
    issuing: [...issuing.map(({ id }) => id), ...outsideIds],
    tainted: tainted.map(({ id, taintedMs = 0 }) => ({ authority: id, sinceMs: taintedMs })),
  }
}
