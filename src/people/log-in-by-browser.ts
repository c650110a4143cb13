/** Log-in in this machine's browser: authorization code with PKCE (RFC 7636), which comes back to a port on loopback (RFC 8252 §7.3). */
import * as oidc from 'openid-client'
import { RingfenceError } from '../base/errors.ts'
import { CodeReceiver } from './code-receiver.ts'
import type { Profile, Tokens } from './profile.ts'
import { asked, providerFault, tokensOf } from './provider.ts'

/** Any free port; RFC 8252 has providers allow that for 127.0.0.1. */
const usualRedirect = 'http://127.0.0.1/callback'

/** @param show is told the address to open, which is ours and leads to the provider. @throws RingfenceError */
export async function logInByBrowser(
  configuration: oidc.Configuration,
  profile: Profile,
  show: (address: string) => void,
  msMax: number,
): Promise<Tokens> {
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
  const challenge = await oidc.calculatePKCECodeChallenge(pkceCodeVerifier)
  const { scope = '', ...more } = asked(profile, configuration)
  const receiver = await CodeReceiver.listen(redirectOf(profile.redirectUri), msMax)
  try {
    const address = oidc.buildAuthorizationUrl(configuration, {
      ...more,
      scope,
      redirect_uri: receiver.redirectUri,
      code_challenge: challenge,
      code_challenge_method: 'S256',
      state,
      nonce,
    })
    show(receiver.sendTo(address))
    const back = await receiver.back
    try {
      const isOpenId = scope.split(' ').includes('openid')
      const checks = { expectedState: state, pkceCodeVerifier, ...(isOpenId ? { expectedNonce: nonce } : {}) }
      const answer = await oidc.authorizationCodeGrant(configuration, back, checks, more)
      const tokens = tokensOf(profile, answer, Date.now())
      await receiver.answer('You are logged in. This window may be closed.')
      return tokens
    } catch (reason) {
      await receiver.answer('The log-in failed; the terminal says why.')
      throw providerFault(reason, profile.issuer, [back.searchParams.get('code') ?? '', pkceCodeVerifier])
    }
  } catch (reason) {
    throw providerFault(reason, profile.issuer)
  } finally {
    receiver.close()
  }
}

/** @throws RingfenceError USAGE */
export function redirectOf(text = usualRedirect): URL {
  const url = URL.parse(text)
  const isOwn = url !== null && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname)
  if (!isOwn || url.protocol !== 'http:' || url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new RingfenceError('USAGE', 'the log-in comes back to this machine only', {
      hint: `such as ${usualRedirect} (any free port) or http://localhost:8400/callback`,
    })
  }
  return url
}
