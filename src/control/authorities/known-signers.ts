/**
 * Whose leaves count on connections that were let in by a root which is trusted no more: whoever has stolen its key made issuing keys that nobody can name,
 * so nothing can be revoked of them.
 */
import type { Clock } from '../../base/clock.ts'
import type { AuthorityKeys } from './keys.ts'

export class KnownSigners {
  #roots: ReadonlySet<string>
  /** Undefined until a root is gone. */
  #issuing: ReadonlySet<string> | undefined

  constructor(keys: AuthorityKeys, clock: Clock) {
    this.#roots = rootsOf(keys, clock)
    keys.onChange(() => {
      const roots = rootsOf(keys, clock)
      const isLess = [...this.#roots].some((id) => !roots.has(id))
      if (isLess || this.#issuing !== undefined) this.#issuing = new Set(keys.told.issuing)
      this.#roots = roots
    })
  }

  /** Whatever TLS lets in counts until a root is gone: a control plane that was restored does not know each issuing key. */
  has(authority: string | undefined): boolean {
    return this.#issuing === undefined || (authority !== undefined && this.#issuing.has(authority))
  }
}

/** The mesh's own, and those beside them. */
function rootsOf(keys: AuthorityKeys, clock: Clock): ReadonlySet<string> {
  const roots = keys.shown().filter(({ kind, state }) => kind === 'root' && state !== 'revoked')
  return new Set([...roots.map(({ id }) => id), ...keys.outside.idsAt(clock.now())])
}
