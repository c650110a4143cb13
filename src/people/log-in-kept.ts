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
  return await folder.locked(async () => {
    // Another process may have been quicker.
    const { tokens, profile } = read(folder)
    if (nowMs < renewalAtMs(tokens)) return tokens
    try {
      const renewed = await refreshed(profile, tokens, folder.name, nowMs)
      // A log-out meanwhile is one.
      if (folder.tokens() === undefined) throw nobody(folder)
      folder.writeTokens(renewed)
      return renewed
    } catch (reason) {
      if (reason instanceof LogInDue && tokens.refreshToken !== undefined && folder.tokens() !== undefined) {
        const { refreshToken: _, ...rest } = tokens
        folder.writeTokens(rest)
      }
      if (nowMs < tokens.expiresAtMs && folder.tokens() !== undefined) return tokens
      throw reason
    }
  })
}

/** Undefined where they have to be renewed. @throws LogInDue */
function goodTokens(folder: ProfileFolder, nowMs: number): Tokens | undefined {
  const { tokens } = read(folder)
  if (nowMs < renewalAtMs(tokens)) return tokens
  if (tokens.refreshToken !== undefined) return undefined
  throw new LogInDue(`the log-in of profile ${folder.name} ended at ${timeText(tokens.expiresAtMs)}`, folder.name)
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
