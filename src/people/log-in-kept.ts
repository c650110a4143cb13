/** The log-in that is kept: who uses it gets a token that is good now, renewed where it has to be. */
import type { ProfileFolder, Tokens } from './profile.ts'
import { LogInDue, refreshed } from './provider.ts'

/** A token is renewed when so much of its life is left, or a fifth where that is less. */
const renewMs = 120_000
const renewFraction = 0.2

/** When it is due to be renewed; where that is not possible, when it ends. */
export function renewalAtMs({ expiresAtMs, obtainedAtMs, refreshToken }: Tokens): number {
  if (refreshToken === undefined) return expiresAtMs
  return expiresAtMs - Math.min(renewMs, Math.max(0, expiresAtMs - obtainedAtMs) * renewFraction)
}

/**
 * A token that is good now.
 * @throws LogInDue where a person has to log in; RingfenceError UNAVAILABLE where the provider is away and the token has ended
 */
export async function currentTokens(folder: ProfileFolder, nowMs: number): Promise<Tokens> {
  const kept = goodTokens(folder, nowMs)
  if (kept !== undefined) return kept
  try {
    return await renewed(folder, nowMs)
  } catch (reason) {
    // It is still good.
    const tokens = folder.tokens()
    if (tokens !== undefined && nowMs < tokens.expiresAtMs) return tokens
    throw reason
  }
}

/** Renews them where that is due, in one process at a time. @throws LogInDue; RingfenceError UNAVAILABLE */
export async function renewed(folder: ProfileFolder, nowMs: number): Promise<Tokens> {
  return await folder.locked(async () => {
    // Another process may have been quicker.
    const { tokens, profile } = read(folder)
    if (nowMs < renewalAtMs(tokens)) return tokens
    const { refreshToken, ...rest } = tokens
    if (refreshToken === undefined) throw ended(folder, tokens)
    try {
      const fresh = await refreshed(profile, tokens, refreshToken, folder.name, nowMs)
      // A log-out meanwhile is one.
      if (folder.tokens() === undefined) throw nobody(folder)
      folder.writeTokens(fresh)
      return fresh
    } catch (reason) {
      // It is worth nothing any more.
      if (reason instanceof LogInDue && folder.tokens() !== undefined) folder.writeTokens(rest)
      throw reason
    }
  })
}

/** Undefined where they have to be renewed. @throws LogInDue */
function goodTokens(folder: ProfileFolder, nowMs: number): Tokens | undefined {
  const { tokens } = read(folder)
  if (nowMs < renewalAtMs(tokens)) return tokens
  if (tokens.refreshToken !== undefined) return undefined
  throw ended(folder, tokens)
}

function ended({ name }: ProfileFolder, { expiresAtMs }: Tokens): LogInDue {
  return new LogInDue(`the log-in of profile ${name} ended at ${timeText(expiresAtMs)}`, name)
}

/** @throws LogInDue where nobody is logged in */
function read(folder: ProfileFolder): { tokens: Tokens; profile: NonNullable<ReturnType<ProfileFolder['profile']>> } {
  const [profile, tokens] = [folder.profile(), folder.tokens()]
  if (profile === undefined || tokens === undefined) throw nobody(folder)
  return { profile, tokens }
}

function nobody({ name }: ProfileFolder): LogInDue {
  return new LogInDue(`nobody is logged in with profile ${name}`, name)
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}
