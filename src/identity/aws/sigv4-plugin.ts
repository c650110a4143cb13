/**
 * AWS's own plug-in for Amazon Keyspaces (`aws-sigv4-auth-cassandra-*`) begins with `SigV4\0\0`, then signs a nonce for the constant host
 * `cassandra`. Only AWS can check that, and offers no call for it; and the signature is bound to no server, so that whoever took it and
 * passed it on would be somebody in between. It is recognised, so that who tries it hears what to do.
 */
import { LogInRefused } from '../refusal.ts'

const opening = Buffer.from('SigV4\0\0')

/** @param answer to AUTHENTICATE. @throws LogInRefused where it is the plug-in's */
export function refuseSigV4Plugin(answer: Buffer): void {
  if (!answer.subarray(0, opening.length).equals(opening)) return
  const words =
    "SigV4 can be checked only by AWS; set user 'aws' and password = GetWebIdentityToken (see ringfence aws-token)"
  throw new LogInRefused('not-supported', "the client uses AWS's SigV4 plug-in, which only AWS can check", { words })
}
