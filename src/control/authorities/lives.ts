/** How long authorities live. */

const dayMs = 24 * 60 * 60 * 1000
const rootMsDefault = 3650 * dayMs
const issuingMsDefault = 30 * dayMs

/** Ten years and thirty days unless said otherwise. */
export interface AuthorityLives {
  readonly rootMs?: number | undefined
  readonly issuingMs?: number | undefined
  /** A leaf lives no longer: what was pushed so long ago is known to all who have a certificate. */
  readonly leafMsMax?: number | undefined
}

/** Milliseconds. */
export interface Lives {
  readonly root: number
  readonly issuing: number
  readonly leaf: number
}

export function livesOf(lives: AuthorityLives): Lives {
  const { rootMs: root = rootMsDefault, issuingMs: issuing = issuingMsDefault, leafMsMax: leaf = dayMs } = lives
  return { root, issuing, leaf }
}
