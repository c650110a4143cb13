/**
 * What a client hears that is over a limit. No driver sends it again by itself: OVERLOADED would be sent to every other host (Python and C# even
 * where it may not be done twice), and SERVER_ERROR ends the connection of the C++ driver. So it is Scylla's own error where the driver asked for
 * that, else CONFIG_ERROR, as Scylla does.
 */
import { rateLimitEnvelope } from '../../cql/answers/rate-limit.ts'
import { CqlErrorCode, type ProtocolVersion } from '../../cql/protocol.ts'
import type { LimitAnswers } from '../../session/backend.ts'
import type { Meter } from './parts.ts'

/** In the custom payload of the answer (v4 and above). */
const payloadKeys = { limit: 'ringfence-limit', retryAfterMs: 'ringfence-retry-after-ms' } as const

export function codeFor({ rateLimitError }: LimitAnswers): number {
  return rateLimitError ? CqlErrorCode.RATE_LIMIT_ERROR : CqlErrorCode.CONFIG_ERROR
}

export function overLimitEnvelope(
  version: ProtocolVersion,
  stream: number,
  code: number,
  message: string,
  about: { readonly limit: string; readonly retryAfterMs: number | undefined; readonly writes: boolean },
): Buffer {
  const payload = new Map<string, string>([[payloadKeys.limit, about.limit]])
  if (about.retryAfterMs !== undefined) payload.set(payloadKeys.retryAfterMs, String(about.retryAfterMs))
  // Rejected by the coordinator, which is what stands before it.
  const extra = code === CqlErrorCode.RATE_LIMIT_ERROR ? Buffer.of(about.writes ? 1 : 0, 1) : undefined
  return rateLimitEnvelope(version, stream, { code, message, extra, payload })
}

const scopeWords = {
  total: 'all together',
  perIdentity: 'each identity',
  perPerson: 'each person',
  perAddress: 'each address',
} as const

/** How much may go at once. */
export function atOnceOf({ rate }: Meter): number {
  return Math.max(1, Math.floor(rate.burstMicros / rate.intervalMicros + 1e-6))
}

/** `100/s requests for each identity`. */
export function limitWords({ rule, scope, rate }: Meter): string {
  return `${rate.text} ${rule.unit} for ${scopeWords[scope]}`
}
