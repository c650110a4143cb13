/**
 * Everything that the control plane pushes to proxies, in one list. Whatever handles such values loops over it: what the control plane
 * sends (`control/publisher.ts`), what an agent takes and keeps (`agent/watch.ts`, `agent/kept-values.ts`), what workers get
 * (`agent/workers.ts`), and the feeds of tests.
 *
 * A new value is one more entry here. Who needs it reads `feed.value(pushedKinds.<name>)`; who makes it sets it at the control plane's
 * `Publisher`.
 */
import { z } from 'zod'
import { sha256Hex } from '../base/digest.ts'
import { type PublicJwk, publicJwk } from '../identity/jwt/keys.ts'
import { pushedAuthorities } from './authorities.ts'
import { gatewayEndpoint, gatewayEndpointsMax, sidecarEndpoint, sidecarEndpointsMax } from './endpoints.ts'
import { type KeySet, keySetsMax, wireKeySet } from './key-sets.ts'
import { meshKeyFromWire, meshKeysMax, meshKeyToWire, wireMeshKey } from './mesh-keys.ts'
import { type PushedKind, pushedList, pushedValue, type Succession } from './pushed-kind.ts'
import { revocationKinds, revocationsAsOf } from './revocations.ts'

export interface PolicySnapshot {
  /**
   * 0 while nothing was ever received; then it never falls, but where the epoch rises. It does not say what the text is: a control plane whose folder
   * was copied back by hand may give a number to another text. That is told by the text's digest.
   */
  readonly revision: number
  /** YAML documents. Empty with revision 0, which permits nothing. */
  readonly source: string
  /**
   * In which it was given; 0 where it is not said. A control plane that was restored has an epoch that is greater than all before, so that no
   * revision it gives is one that was given before.
   */
  readonly epoch?: number | undefined
}

/** Ids of mesh keys count on from an epoch, and have 32 bits. */
export const epochMax = 0xff00_0000

/** Equal ones are written alike. */
export function policySnapshot(revision: number, source: string, epoch: number): PolicySnapshot {
  return epoch === 0 ? { revision, source } : { revision, source, epoch }
}

const proxies = ['gateway', 'sidecar'] as const
/** A key a day, and those of before whose tokens may live. */
export const txnKeysMax = 8

/** In the order in which a proxy is told of them: keys before the policy, which may need them as soon as it is in force. */
export const pushedKinds = {
  /** Before what may be signed by others. */
  authorities: pushedAuthorities,
  /** That all revocations were told, whose parts stand before it in `allPushedKinds`. */
  revocationsAsOf,
  /** Secrets that sidecars share, newest first; empty while nothing was ever received. */
  keys: pushedList({
    name: 'keys',
    roles: ['sidecar'],
    kept: 'secret',
    awaited: true,
    entry: wireMeshKey.transform(meshKeyFromWire),
    countMax: meshKeysMax,
    ordered: (keys) => keys.sort((a, b) => b.id - a.id),
    writeEntry: meshKeyToWire,
  }),
  /** Public keys of the policy's identity providers, as the control plane has fetched them. */
  keySets: pushedList<KeySet>({
    name: 'keySets',
    roles: proxies,
    kept: 'cache',
    entry: wireKeySet,
    countMax: keySetsMax,
  }),
  /** The public keys of the control plane's own transaction tokens, newest first. Nobody else has the private ones. */
  txnKeys: pushedList<PublicJwk>({
    name: 'txnKeys',
    roles: proxies,
    kept: 'cache',
    entry: publicJwk,
    countMax: txnKeysMax,
  }),
  policy: pushedValue<PolicySnapshot>({
    name: 'policy',
    roles: proxies,
    kept: 'cache',
    awaited: true,
    schema: z.object({
      revision: z.int().nonnegative(),
      source: z.string(),
      epoch: z.int().min(0).max(epochMax).optional(),
    }),
    empty: { revision: 0, source: '' },
    // One of an epoch is another one than the same text before a restore.
    version: ({ revision, source, epoch = 0 }) => `${epoch} ${revision} ${sha256Hex(source)}`,
    succeed: succeedPolicy,
  }),
  sidecars: pushedList({
    name: 'sidecars',
    roles: proxies,
    kept: 'cache',
    entry: sidecarEndpoint,
    countMax: sidecarEndpointsMax,
  }),
  /** All live gateways, and those that are about to stop; the last known while the control plane is away. */
  gateways: pushedList({
    name: 'gateways',
    roles: proxies,
    kept: 'cache',
    entry: gatewayEndpoint,
    countMax: gatewayEndpointsMax,
  }),
} as const

/** The kinds of one mesh. A test may have more than there are here. */
export type PushedKinds = readonly PushedKind<unknown>[]
export const allPushedKinds: PushedKinds = [...(revocationKinds as PushedKinds), ...Object.values(pushedKinds)]

/** A policy never goes back. */
function succeedPolicy(offered: PolicySnapshot, inForce: PolicySnapshot): Succession | undefined {
  const [epoch, epochInForce] = [offered.epoch ?? 0, inForce.epoch ?? 0]
  if (epoch > epochInForce && inForce.revision > 0) {
    const fields = { revision: offered.revision, epoch, before: inForce.revision, epochBefore: epochInForce }
    return { taken: true, message: 'policy of a control plane that was restored taken', fields }
  }
  if (epoch < epochInForce || offered.revision < inForce.revision) {
    const fields = { offered: offered.revision, inForce: inForce.revision, epoch, epochInForce }
    return { taken: false, message: 'older policy revision refused', fields }
  }
  if (offered.revision > inForce.revision || offered.source === inForce.source) return undefined
  // Only a control plane whose folder was copied back by hand and that was given a policy since then has another text for the number: that is the later word.
  const digests = { before: sha256Hex(inForce.source), now: sha256Hex(offered.source) }
  return {
    taken: true,
    message: 'another policy under the same revision taken; was the control plane restored',
    fields: { revision: offered.revision, ...digests },
  }
}
