/** What the links of gateways ask of their sidecar: its node, its places, and sessions. */

import type { BytesBudget } from '../base/bytes-budget.ts'
import { workloadKeyOf } from '../identity/proofs/workload.ts'
import { addressBlock } from '../mesh/address-block.ts'
import type { Feed } from '../mesh/feed.ts'
import { Refusals } from '../session/doors.ts'
import { type PlaceBounds, Places } from '../session/places.ts'
import type { LogInRefusals } from '../session/refusals.ts'
import type { Turn } from '../session/turn.ts'
import type { Logger } from '../telemetry/log.ts'
import { stateOf } from './behalf/state.ts'
import { SessionContext } from './context.ts'
import { refuseUnrecorded } from './ending.ts'
import { type LinkHost, linkedBounds } from './links.ts'
import type { NodeMonitor } from './node.ts'
import type { Shared } from './shared.ts'

export interface LinkHostParts extends Pick<LinkHost, 'trust' | 'session' | 'onClosed'> {
  readonly log: Logger
  readonly feed: Feed
  readonly node: NodeMonitor
  readonly shared: Shared
  readonly turn: Turn
  /** The wall clock of the turn. */
  readonly nowMs: () => number
  readonly budget: BytesBudget
  readonly bounds: PlaceBounds | undefined
  readonly refusals: LogInRefusals
  readonly stopping: () => boolean
}

export function linkHostOf(parts: LinkHostParts): LinkHost {
  const { log, feed, node, shared, turn, nowMs, budget, bounds = linkedBounds, refusals, stopping } = parts
  const { trust, session, onClosed } = parts
  const { judge, transactions } = shared
  return {
    log,
    credentials: () => feed.credentials.current,
    trust,
    hello: () => (stopping() ? { ...node.hello, ready: false } : node.hello),
    schemaVersion: () => node.schemaVersion(),
    ring: (id) => node.ring.answer.envelope(id),
    partitionKey: (keyspace, table) => {
      const known = node.schema.view.table(keyspace, table)
      return known === undefined || known.isVirtual ? [] : known.partitionKey
    },
    turn,
    account: (info) => budget.open(workloadKeyOf(info.identity), addressBlock(info.address)),
    mayOpen: () => refuseUnrecorded({ transactions }),
    places: new Places(bounds),
    refusals: new Refusals(log, 'linked session refused'),
    refusedLogIn: (refused, words) => {
      transactions.refused(refused)
      refusals.remember(refused, words, undefined)
    },
    ready: (info, version, keyspace) => {
      const context = new SessionContext(info, version, nowMs)
      return judge.readyToUse(stateOf(judge, info.identity), keyspace, context)
    },
    session,
    onClosed,
  }
}
