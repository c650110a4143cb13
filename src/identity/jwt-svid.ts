/**
 * JWT-SVID (spiffe/spiffe standards/JWT-SVID.md): what a token of a trust domain must be beside what every token must: `sub` is an id of
 * that very trust domain, whose keys signed it. An issuer is optional and says nothing.
 */
import { LogInRefused } from './refusal.ts'
import { parseSpiffeId, type SpiffeId, trustDomainOf } from './spiffe.ts'

/** §2.1: these and no other. */
export const jwtSvidAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
] as const

/** @param sub of a token that was verified by the keys of `trustDomain`. @throws LogInRefused */
export function jwtSvidSubject(sub: unknown, trustDomain: string): SpiffeId {
  if (typeof sub !== 'string') throw new LogInRefused('malformed', 'the token names no SPIFFE id')
  const id = parseSpiffeId(sub)
  if (trustDomainOf(id) !== trustDomain) {
    throw new LogInRefused('claims', `the keys of ${trustDomain} speak for no id of another trust domain`)
  }
  return id
}
