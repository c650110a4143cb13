/**
 * Who asks the control plane for something, whichever way it came. A service takes the caller that it is for, and only the functions
 * below make one of those out of whoever came.
 */
import type { Clock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import type { VerifiedPeer } from '../identity/certificate.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
import { pathSegmentsOf } from '../identity/spiffe.ts'
import { meshPaths, nameMax } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'
import type { AgentRow, Store } from './store.ts'

/** Whoever may open the control plane's own socket. */
export interface Administrator {
  readonly kind: 'administrator'
}

/** The holder of a certificate of this mesh. */
export interface Member {
  readonly kind: 'member'
  readonly peer: VerifiedPeer
  /** It has a newer certificate, which from now on counts for the connection that it came by: whoever is there proved who it is. */
  readonly renewed?: (certificatePem: string) => void
  readonly address?: string | undefined
}

/** Has proved nothing yet. */
export interface Stranger {
  readonly kind: 'stranger'
  /** Where its connection comes from. */
  readonly address?: string | undefined
}

export type Caller = Administrator | Member | Stranger

/** A member that enrolled as a gateway or a sidecar. */
export interface ProxyCaller extends Member {
  readonly agent: AgentRow
}

/** The caller that a service is for. @throws RingfenceError IDENTITY where it is another */
export type Admit<C extends Caller> = (caller: Caller) => C

export const anybody: Admit<Caller> = (caller) => caller

export const administrator: Admit<Administrator> = (caller) => {
  if (caller.kind === 'administrator') return caller
  if (caller.kind === 'stranger') throw certificateNeeded()
  throw new RingfenceError('IDENTITY', `${caller.peer.spiffeId} is no administrator`, {
    hint: 'administer over the socket in the control plane’s state folder',
  })
}

export const member: Admit<Member> = (caller) => {
  if (caller.kind !== 'member') throw certificateNeeded()
  return caller
}

interface ProxyParts {
  readonly store: Store
  readonly clock: Clock
  readonly log: Pick<Logger, 'info'>
  readonly ca: { readonly keys: { readonly outside: { idsAt(nowMs: number): readonly string[] } } }
}

/** Who has a certificate of an authority beside the mesh's own enrolled there: it is known by the first thing that it asks. */
export function enrolledProxy(parts: ProxyParts): Admit<ProxyCaller> {
  const { store } = parts
  return (caller) => {
    const { kind, peer } = member(caller)
    const agent = store.agent(peer.spiffeId) ?? enrolledOutside(parts, peer)
    if (agent === undefined || (agent.role !== 'gateway' && agent.role !== 'sidecar')) {
      throw new RingfenceError('IDENTITY', `${peer.spiffeId} is not an enrolled proxy`)
    }
    return { kind, peer, agent }
  }
}

/** Undefined where it is no gateway and no sidecar by its id, or its certificate is the mesh's own: then it was removed. */
function enrolledOutside({ store, clock, log, ca }: ProxyParts, peer: VerifiedPeer): AgentRow | undefined {
  const { spiffeId, certificate } = peer
  const [owner, part, ...rest] = pathSegmentsOf(spiffeId)
  const role = part === meshPaths.gateway || part === meshPaths.sidecar ? part : undefined
  const name = rest.at(-1)
  if (owner !== 'ringfence' || role === undefined || name === undefined || name.length > nameMax) return undefined
  const { authority } = certificate
  if (authority === undefined || !ca.keys.outside.idsAt(clock.now()).includes(authority)) return undefined
  const agent: AgentRow = { spiffeId, role, name, ipAddresses: [], dnsNames: [], listenerIdentities: [] }
  store.putAgent(agent, clock.now())
  log.info({ spiffeId, role, name, authority }, 'enrolled by an SVID of another authority')
  return agent
}

/** Where it comes from; `''` over the control plane's own socket. */
export function addressOf(caller: Caller): string {
  return (caller.kind === 'administrator' ? undefined : caller.address) ?? ''
}

/** Who it is in logs and in the list of what was issued. */
export function nameOf(caller: Caller): string {
  if (caller.kind === 'member') return caller.peer.spiffeId
  return caller.kind === 'administrator' ? 'admin' : 'stranger'
}

export function certificateNeeded(): RingfenceError {
  return new RingfenceError('IDENTITY', 'a client certificate of this mesh is needed')
}

/** What a member hears that is thrown out. */
export function thrownOut({ spiffeId }: VerifiedPeer, { id, kind, value }: Revocation): RingfenceError {
  const because = revokedText(id)
  if (kind === 'id' && value === spiffeId) return new RingfenceError('IDENTITY', `${spiffeId} is suspended: ${because}`)
  if (kind === 'one-certificate')
    return new RingfenceError('IDENTITY', `the certificate of ${spiffeId} counts no more, enrol again: ${because}`)
  return new RingfenceError('IDENTITY', `${spiffeId}: ${because}`)
}
