/**
 * Requests that the node does not answer in time. Whoever asked is told so. A slot stays taken until its answer comes, and a connection
 * that owes one for too long gets no more requests.
 */
import { containFault, nextTurn, type Owner } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { Carrier, InFlight } from './in-flight.ts'
import type { Slots } from './slots.ts'

/** How often to look. */
export const overdueLookMs = 1000

const timeoutMicros = limits.requestTimeoutMs * 1000
const place = 'requests that take long'

/** The connection; an `Upstream`. */
interface Owing extends Carrier, Owner {
  /** It gets no more requests. */
  retire(): void
  /** Nobody waits for what it still owes. */
  unawaited(): void
}

/** All that is in flight, in this turn and, where many are to be told, in later ones. */
export function tellOverdue(slots: Slots, connection: Owing): void {
  if (slots.taken === 0) return
  const nowMicros = performance.now() * 1000
  const untilMs = performance.now() + limits.loopShareMs
  let isAwaited = false
  for (const request of slots) {
    const ageMicros = request.ageMicros(nowMicros)
    if (request.abandoned) {
      if (ageMicros > 2 * timeoutMicros) connection.retire()
    } else if (ageMicros < timeoutMicros) {
      isAwaited = true
      if (ageMicros > overdueLookMs * 1000) request.copyOut()
    } else {
      tell(request, connection)
      if (performance.now() < untilMs) continue
      // Those that are told have no time left, so the next turn goes on behind them.
      nextTurn(connection, place, () => tellOverdue(slots, connection))
      return
    }
  }
  if (!isAwaited) connection.unawaited()
}

function tell(request: InFlight, connection: Carrier): void {
  try {
    request.onTimeout()
  } catch (reason) {
    containFault(request, 'a request that takes too long', reason)
    if (request.carrier === connection && !request.abandoned) connection.abandon(request)
  }
}
