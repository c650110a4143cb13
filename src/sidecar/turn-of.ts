/** Whose turn it is to end sessions, among the nodes that drivers see: each has a sidecar, and all sidecars are told of all. */
import type { Feed } from '../mesh/feed.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { type HostTurn, hostTurnOf } from '../session/host-turn.ts'
import { type Leaving, TaintedAuthorities } from '../session/tainted.ts'

/** What was built on a tainted authority ends in its turn, too. */
export function taintedAuthorities(feed: Feed, open: () => Iterable<Leaving>): TaintedAuthorities {
  const { bundlePem } = feed.credentials.current
  return new TaintedAuthorities(feed.value(pushedKinds.authorities), bundlePem, open, () => turnOf(feed))
}

export function turnOf(feed: Pick<Feed, 'value' | 'credentials'>): HostTurn | undefined {
  const all = feed.value(pushedKinds.sidecars).current.map(({ spiffeId }) => spiffeId)
  return hostTurnOf(feed.credentials.current.spiffeId, all)
}
