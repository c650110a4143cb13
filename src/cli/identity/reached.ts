/** At how many proxies the revocations of now are in force. */
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../../base/errors.ts'
import type { ReachedProxies } from '../../control/reached.ts'
import type { AdminClient } from '../admin-client.ts'

/** Proxies are waited for so long, to say how many have it in force. */
const waitMsMax = 3_000
const pollMs = 25

export interface Reached {
  readonly have: number
  readonly connected: number
  /** Names of those that have not said so. */
  readonly missing: readonly string[]
  readonly ms: number
}

/** Waits until every proxy that is connected says that it has the revocations of now. */
export async function inForceAt(client: Pick<AdminClient, 'status'>, beganMs: number): Promise<Reached> {
  for (;;) {
    const { proxies } = await client.status()
    const ms = performance.now() - beganMs
    const connected = proxies.filter((proxy) => proxy.connected && proxy.revoked === undefined)
    const missing = connected.filter(({ revocationsInForce }) => revocationsInForce !== true).map(({ name }) => name)
    if (missing.length === 0 || ms > waitMsMax)
      return { have: connected.length - missing.length, connected: connected.length, missing, ms: Math.round(ms) }
    await sleep(pollMs)
  }
}

/** As the control plane answered, or, where proxies were missing then, as it is a little later. A control plane of before answers nothing of it. */
export async function inForceSince(
  client: Pick<AdminClient, 'status'>,
  beganMs: number,
  answered: ReachedProxies | undefined,
): Promise<Reached> {
  const ms = Math.round(performance.now() - beganMs)
  if (answered?.missing.length === 0) return { ...answered, ms }
  try {
    return await inForceAt(client, beganMs)
  } catch (reason) {
    // It may have gone away since: what it said counts.
    if (answered === undefined || RingfenceError.from(reason, 'UNAVAILABLE').code !== 'UNAVAILABLE') throw reason
    return { ...answered, ms }
  }
}

export function reachedLines({ have, connected, missing, ms }: Reached): string[] {
  const line = `in force at ${have} of ${connected} proxies after ${(ms / 1000).toFixed(2)} s`
  return missing.length === 0 ? [line] : [line, `not yet: ${missing.join(', ')}`]
}

/** Of what goes on. */
export function reachedSoFar(reached: Reached): string[] {
  return [...reachedLines(reached), ...(reached.missing.length === 0 ? [] : [lookAgain])]
}

const lookAgain = 'look again: ringfence identity revocations'
