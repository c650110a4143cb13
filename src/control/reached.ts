/**
 * Which of the connected proxies have the revocations of now. Each says so by itself, when they are on its disk and in force.
 *
 * Rule: what waits for that ends after `reachedMsMax`: one proxy that hangs holds nobody up.
 */
import { z } from 'zod'
import { after, nothingEnds } from '../base/contained.ts'
import type { Registry } from './registry.ts'

/** The promise is a second from the command to the next request. */
const reachedMsMax = 1_000

export const reachedAnswer = z.object({
  have: z.int(),
  connected: z.int(),
  /** Names of those that have not said so. */
  missing: z.array(z.string()).readonly(),
})
export type ReachedProxies = Readonly<z.infer<typeof reachedAnswer>>

type Known = Pick<Registry, 'status' | 'hasRevocations' | 'onReport'>

export function reachedNow(registry: Pick<Registry, 'status'>): ReachedProxies {
  const connected = registry.status().filter((proxy) => proxy.connected)
  const missing = connected.filter(({ revocationsInForce }) => revocationsInForce !== true).map(({ name }) => name)
  return { have: connected.length - missing.length, connected: connected.length, missing }
}

/** As it is when all of those that are connected have said so, or after `msMax`. */
export async function reached(registry: Known, msMax: number = reachedMsMax): Promise<ReachedProxies> {
  const lacking = registry.status().filter(({ connected, revocationsInForce }) => connected && !revocationsInForce)
  const waited = new Set(lacking.map(({ spiffeId }) => spiffeId))
  if (waited.size > 0) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const off = registry.onReport((spiffeId) => {
      if (registry.hasRevocations(spiffeId)) waited.delete(spiffeId)
      if (waited.size === 0) resolve()
    })
    const timer = after(nothingEnds, 'the wait for proxies', msMax, resolve)
    await promise
    clearTimeout(timer)
    off()
  }
  return reachedNow(registry)
}
