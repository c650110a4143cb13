/** The passport with which a client's session is opened at one sidecar. */
import { limits } from '../base/limits.ts'
import { signPassport } from '../identity/passport.ts'
import type { ClientInfo, StartupInfo } from '../session/backend.ts'
import type { GatewayLink } from './link.ts'

/** Throws `IDENTITY` where the client's certificate has ended. */
export function passportFor(info: ClientInfo, startup: StartupInfo, link: GatewayLink, nowMs: number): string {
  const [leafDer, ...intermediatesDer] = info.certificates
  const evidence =
    leafDer === undefined
      ? ({ kind: 'listener', spiffeId: info.identity.spiffeId } as const)
      : ({ kind: 'svid', leafDer, intermediatesDer } as const)
  return signPassport(
    {
      evidence,
      clientAddress: info.address,
      clientPort: info.port,
      driverName: startup.driverName,
      expiresAtMs: Math.min(info.identity.notAfterMs, nowMs + limits.sessionMsMax),
      audience: link.sidecarId,
    },
    { spiffeId: link.credentials.spiffeId, key: link.key },
    nowMs,
  )
}
