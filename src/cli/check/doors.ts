/** Where clients come in, as proxies tell the control plane. */
import type { StatusAnswer } from '../../control/services/proxies.ts'
import type { HostPort } from '../options.ts'

export interface Door {
  readonly target: HostPort
  /** `door`: the operator named it, and it may be any of these. */
  readonly kind: 'nginx' | 'gateway' | 'sidecar' | 'door'
}

const anyAddress: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** What gateways advertise, and the sidecars' own listeners. */
export function doorsOf({ proxies }: Pick<StatusAnswer, 'proxies'>): Door[] {
  const doors = new Map<string, Door>()
  for (const { role, connected, draining, advertise, listeners } of proxies) {
    if (!connected || draining) continue
    const own = listeners.filter(({ tls, proxyProtocol, port }) => tls && !proxyProtocol && port > 0)
    const isOwn = ({ address, port }: HostPort): boolean =>
      own.some((one) => one.port === port && (one.address === address || anyAddress.has(one.address)))
    const targets: Door[] =
      role === 'gateway'
        ? advertise.map((target) => ({ target, kind: isOwn(target) ? 'gateway' : 'nginx' }))
        : own.map(({ address, port }) => ({
            target: { address: anyAddress.has(address) ? '127.0.0.1' : address, port },
            kind: 'sidecar',
          }))
    for (const door of targets) doors.set(`${door.target.address} ${door.target.port}`, door)
  }
  return [...doors.values()]
}
