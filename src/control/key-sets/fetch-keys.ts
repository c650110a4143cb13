/** The public keys of one provider, by discovery or from the address of its key set. */
import { z } from 'zod'
import { RingfenceError } from '../../base/errors.ts'
import { keysPerSetMax, type PublicJwk, publicJwk } from '../../identity/jwt/keys.ts'
import type { KeySource } from '../../identity/providers/provider.ts'
import { fittingEntries } from '../../mesh/entries.ts'
import { type GetOptions, getJson } from './get-json.ts'

const discovered = z.object({ issuer: z.string(), jwks_uri: z.string().max(2048) })
const keySet = z.object({ keys: fittingEntries(publicJwk, keysPerSetMax) })

export type FetchKeys = (source: KeySource, signal: AbortSignal) => Promise<readonly PublicJwk[]>

/** @throws RingfenceError UNAVAILABLE. A set without keys is an answer: then the provider vouches for nobody. */
export async function fetchKeys(
  { at, caPem, allowPrivate }: KeySource,
  signal: AbortSignal,
  resolve?: GetOptions['resolve'],
  onServer?: GetOptions['onServer'],
): Promise<readonly PublicJwk[]> {
  const options: GetOptions = { caPem, allowPrivate, signal, onServer, ...(resolve === undefined ? {} : { resolve }) }
  let keysUrl: string
  if ('keysUrl' in at) keysUrl = at.keysUrl
  else {
    const document = discovered.safeParse(await getJson(at.discoveryUrl, options))
    if (!document.success)
      throw unusable(at.discoveryUrl, 'is no discovery document: it has no "issuer" or no "jwks_uri"')
    // Somebody else's keys would be taken for this issuer's (OpenID Connect Discovery 1.0 §4.3).
    if (document.data.issuer !== at.issuer)
      throw unusable(
        at.discoveryUrl,
        `is of the issuer ${JSON.stringify(document.data.issuer.slice(0, 256))}, not of ${at.issuer}`,
      )
    keysUrl = document.data.jwks_uri
  }
  const found = keySet.safeParse(await getJson(keysUrl, options))
  if (!found.success) throw unusable(keysUrl, 'is no key set')
  return found.data.keys.entries
}

function unusable(url: string, why: string): RingfenceError {
  return new RingfenceError('UNAVAILABLE', `what is at ${url} ${why}`)
}
