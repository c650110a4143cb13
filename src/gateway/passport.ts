/** The passport with which a client's session is opened at one sidecar. */
import { assert } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { signPassport } from '../identity/passport.ts'
import type { ClientInfo, StartupInfo } from '../session/backend.ts'
import type { GatewayLink } from './link.ts'

/** Throws `IDENTITY` where what the client showed is too long to travel. */
export function passportFor(info: ClientInfo, startup: StartupInfo, link: GatewayLink, nowMs: number): string {
  const { identity, evidence, address, port } = info
  assert(evidence !== undefined, 'a client of a gateway has shown its evidence')
  return signPassport(
    {
      subject: identity.subject,
      evidence,
      clientAddress: address,
      clientPort: port,
      driverName: startup.driverName,
      expiresAtMs: Math.min(identity.expiresAtMs, nowMs + limits.sessionMsMax),
      audience: link.sidecarId,
    },
    { spiffeId: link.credentials.spiffeId, key: link.key },
    nowMs,
  )
}
