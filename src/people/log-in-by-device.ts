/** Log-in on another device (RFC 8628): a code is shown here and typed there. */
import * as oidc from 'openid-client'
import { RingfenceError } from '../base/errors.ts'
import type { Profile, Tokens } from './profile.ts'
import { asked, providerFault, tokensOf } from './provider.ts'

export interface DevicePrompt {
  readonly address: string
  readonly code: string
  /** With the code in it, where the provider has one. */
  readonly wholeAddress: string | undefined
  readonly seconds: number
}

export function canLogInByDevice(configuration: oidc.Configuration): boolean {
  return configuration.serverMetadata().device_authorization_endpoint !== undefined
}

/** @throws RingfenceError */
export async function logInByDevice(
  configuration: oidc.Configuration,
  profile: Profile,
  show: (prompt: DevicePrompt) => void,
): Promise<Tokens> {
  if (!canLogInByDevice(configuration)) {
    throw new RingfenceError('USAGE', `the identity provider ${profile.issuer} knows no log-in by device`, {
      hint: 'ringfence login --browser, on a machine with one',
    })
  }
  let secret = ''
  try {
    const device = await oidc.initiateDeviceAuthorization(configuration, asked(profile, configuration))
    const { user_code: code, verification_uri: address, verification_uri_complete: wholeAddress } = device
    secret = device.device_code
    show({ address, code, wholeAddress, seconds: device.expires_in })
    const { resource, audience } = asked(profile, configuration)
    const more = { ...(resource === undefined ? {} : { resource }), ...(audience === undefined ? {} : { audience }) }
    const answer = await oidc.pollDeviceAuthorizationGrant(configuration, device, more)
    return tokensOf(profile, answer, Date.now())
  } catch (reason) {
    throw providerFault(reason, profile.issuer, [secret])
  }
}
