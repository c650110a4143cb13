/** What a client answers by SASL PLAIN (RFC 4616): `authzid NUL user NUL password`. */
import { refuseSigV4Plugin } from '../aws/sigv4-plugin.ts'

/** By it drivers choose PLAIN; what a user and a password are for them is a token here. */
export const plainClassName = 'org.apache.cassandra.auth.PasswordAuthenticator'

export interface Plain {
  readonly authorizationId: string
  readonly user: string
  readonly password: string
}

/** Undefined for what is no PLAIN. @throws LogInRefused where it is another mechanism that reads like it */
export function readPlain(answer: Buffer): Plain | undefined {
  refuseSigV4Plugin(answer)
  const first = answer.indexOf(0)
  const second = answer.indexOf(0, first + 1)
  if (first < 0 || second < 0 || answer.indexOf(0, second + 1) >= 0) return undefined
  return {
    authorizationId: answer.toString('utf8', 0, first),
    user: answer.toString('utf8', first + 1, second),
    password: answer.toString('utf8', second + 1),
  }
}
