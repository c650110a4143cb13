/** What a client answers by SASL PLAIN (RFC 4616): `authzid NUL user NUL password`. */
import { refuseSigV4Plugin } from '../aws/sigv4-plugin.ts'
import { LogInRefused } from '../refusal.ts'

/** By it drivers choose PLAIN; what a user and a password are for them is a token here. */
export const plainClassName = 'org.apache.cassandra.auth.PasswordAuthenticator'

interface Plain {
  readonly authorizationId: string
  readonly user: string
  readonly password: string
}

/**
 * Undefined for what is no PLAIN, and for a password of another kind.
 * @param what the password is, for people
 * @throws LogInRefused where an authorization id is given, or it is another mechanism that reads like PLAIN
 */
export function readPassword(
  answer: Buffer,
  isOfKind: (password: string) => boolean,
  what: string,
): Pick<Plain, 'user' | 'password'> | undefined {
  const plain = readPlain(answer)
  if (plain === undefined || !isOfKind(plain.password)) return undefined
  if (plain.authorizationId !== '')
    throw new LogInRefused('not-supported', `an authorization id is given beside ${what}, and is not taken here`)
  return plain
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
