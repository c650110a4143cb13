/**
 * What was in flight on a connection to the node that died: each is told that it is lost. One session may have had tens of thousands there,
 * so they are told in shares of turns.
 */
import { contain, nextTurn, nothingEnds } from '../base/contained.ts'
import { limits } from '../base/limits.ts'
import type { InFlight } from './in-flight.ts'

const place = 'the end of a connection to the node'

export function tellLost(requests: readonly InFlight[], reason: string): void {
  for (const request of requests) {
    contain(request, place, () => request.giveBack())
    request.carrier = undefined
  }
  const waiting = requests.filter(({ kept }) => !kept)
  // What is done with an answer that is here would go on meanwhile.
  for (const request of requests) if (request.kept) lose(request, reason)
  loseSome(waiting.values(), reason)
}

function loseSome(left: Iterator<InFlight>, reason: string): void {
  const untilMs = performance.now() + limits.loopShareMs
  for (let next = left.next(); next.done !== true; next = left.next()) {
    lose(next.value, reason)
    if (performance.now() < untilMs) continue
    nextTurn(nothingEnds, place, () => loseSome(left, reason))
    return
  }
}

function lose(request: InFlight, reason: string): void {
  if (request.abandoned) return
  contain(request, place, () => request.onLost(reason))
}
