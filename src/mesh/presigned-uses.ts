/** How a sidecar asks the control plane whether a pre-signed request of AWS was used by another address before, anywhere in the mesh. */
import { z } from 'zod'
import { containOwnFault } from '../base/contained.ts'
import type { AskFirstUse } from '../identity/aws/sts.ts'
import type { Logger } from '../telemetry/log.ts'

export const presignedUsesPath = '/v1/presigned-uses'

/** See `PresignedUse`. */
export const presignedUse = z.strictObject({
  principal: z.string().min(1).max(2048),
  key: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  address: z.string().max(64),
  endMs: z.number(),
})

export const presignedUseAnswer = z.object({ isFirst: z.boolean() })

type Ask = (
  path: string,
  body: unknown,
  schema: typeof presignedUseAnswer,
) => Promise<z.infer<typeof presignedUseAnswer>>

/** @param ask of the agent. That it fails is told once, and when it succeeds again. */
export function firstUseBy(ask: Ask, log: Logger): AskFirstUse {
  let isAway = false
  return async (use) => {
    try {
      const { isFirst } = await ask(presignedUsesPath, use, presignedUseAnswer)
      if (isAway) log.info('the control plane says again who used a pre-signed request first')
      isAway = false
      return isFirst
    } catch (reason) {
      containOwnFault('a question about a pre-signed request', reason)
      if (!isAway)
        log.warn(
          { reason: String(reason) },
          'the control plane cannot be asked who used a pre-signed request first; this sidecar counts for itself',
        )
      isAway = true
      throw reason
    }
  }
}
