/**
 * Browsers that are logged in, and those that are about to: what a cookie stands for. A cookie is a random name and says nothing; tokens stay in this
 * process, which forgets all when it ends, and a browser is sent to its provider again, where it is logged in still.
 */
import { createHash, randomBytes } from 'node:crypto'
import { type Cache, createWeighedCache } from '../../base/cache.ts'
import { limits } from '../../base/limits.ts'
import { OwnedEntries } from '../../base/owned-entries.ts'
import { addressBlock } from '../../mesh/address-block.ts'
import type { Tokens } from '../../people/profile.ts'

const idBytes = 32
/** Of a hash, in a state: whose it is. */
const ownerChars = 16
/** Of one without its tokens, about. */
const sessionBytes = 1024
/** Whoever has not come back from the provider by then begins anew. */
export const logInMsMax = 10 * 60_000
/** Whatever the provider says. */
export const sessionMsMax = 12 * 3_600_000

export interface BrowserSession {
  readonly application: string
  readonly beganMs: number
  tokens: Tokens
  /** New ones are on their way. */
  renewal: Promise<void> | undefined
}

/** A log-in under way. */
export interface Pending {
  readonly application: string
  readonly verifier: string
  readonly nonce: string
  /** Path of the page that was asked for. */
  readonly returnTo: string
  /** Of the cookie that the browser has: who began ends it. */
  readonly browserHash: string
  /** Whoever comes back later begins anew. */
  readonly endMs: number
}

export class BrowserSessions {
  readonly #sessions: Cache<BrowserSession> = createWeighedCache(
    limits.httpSessionsBytesMax,
    ({ tokens }) => sessionBytes + tokens.token.length + (tokens.refreshToken?.length ?? 0),
  )
  /** By address: who begins many forgets its own. */
  readonly #pending = new OwnedEntries<Pending>(limits.httpLogInsMax)

  /** What the cookie is to be. */
  begin(session: BrowserSession): string {
    const id = randomBytes(idBytes).toString('base64url')
    this.#sessions.set(hashed(id), session)
    return id
  }

  find(id: string, application: string, nowMs: number): BrowserSession | undefined {
    const session = this.#sessions.get(hashed(id))
    if (session === undefined || session.application !== application) return undefined
    return nowMs - session.beganMs < sessionMsMax ? session : undefined
  }

  end(id: string): BrowserSession | undefined {
    const session = this.#sessions.get(hashed(id))
    this.#sessions.delete(hashed(id))
    return session
  }

  /** For a log-in that an address begins: `state` for the provider, and what the browser's cookie is to be. */
  await(
    address: string,
    pending: Omit<Pending, 'browserHash'>,
    nowMs: number,
  ): { readonly state: string; readonly browser: string } {
    const owner = hashed(addressBlock(address)).slice(0, ownerChars)
    const state = owner + randomBytes(idBytes).toString('base64url')
    const browser = randomBytes(idBytes).toString('base64url')
    this.#pending.set(owner, hashed(state), { ...pending, browserHash: hashed(browser) }, nowMs)
    return { state, browser }
  }

  /** Once for each; undefined for a state of nobody, of another browser or application, or of too long ago. */
  take(state: string, browser: string, application: string, nowMs: number): Pending | undefined {
    const [owner, key] = [state.slice(0, ownerChars), hashed(state)]
    const pending = this.#pending.get(owner, key, nowMs)
    if (pending === undefined || pending.browserHash !== hashed(browser)) return undefined
    this.#pending.delete(owner, key)
    return pending.application === application ? pending : undefined
  }
}

/** What is looked up tells nothing by the time that it takes. */
function hashed(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
