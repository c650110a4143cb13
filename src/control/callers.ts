/**
 * Who asks the control plane for something, whichever way it came. A service takes the caller that it is for, and only the functions
 * below make one of those out of whoever came.
 */
import { RingfenceError } from '../base/errors.ts'
import type { VerifiedPeer } from '../identity/certificate.ts'
import { type Revocation, revokedText } from '../identity/revoked/revocation.ts'
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

export function enrolledProxy(store: Store): Admit<ProxyCaller> {
  return (caller) => {
    const { kind, peer } = member(caller)
    const agent = store.agent(peer.spiffeId)
    if (agent === undefined || (agent.role !== 'gateway' && agent.role !== 'sidecar')) {
      throw new RingfenceError('IDENTITY', `${peer.spiffeId} is not an enrolled proxy`)
    }
    return { kind, peer, agent }
  }
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
