/**
 * The table of drivers, and what each of them does at a door: it logs in by every proof, asks for what is permitted and for what is not, and is
 * refused by every proof when that has expired, and for a cause that stays.
 *
 * A driver's program (`programs/`) is given a line for each case, `name ⇥ user ⇥ password ⇥ certificate file ⇥ key file`, and prints one for each.
 * It is started once for all of a door, and does the last case after the others:
 *
 *     name ⇥ in ⇥ first value of the answer ⇥ denied: words of the driver's own exception
 *     name ⇥ refused ⇥ all that the driver says of why there is no session
 *     name ⇥ failed ⇥ what else happened
 */
import type { DriverName } from '../drivers/toolchain.ts'
import { type Known, type ProofName, type Proofs, type Shown, seconds, type TokenProof } from './proofs.ts'
import type { Fault, Refusals } from './refusals.ts'

export const doorNames = ['nginx', 'sidecar'] as const
export type DoorName = (typeof doorNames)[number]

export interface Driver {
  readonly name: DriverName
  /** Of its DRIVER_NAME in the record. */
  readonly says: RegExp
  /** How a person sees an ERROR. */
  readonly shows: (code: '0000' | '0100', words: string) => RegExp
  /** How a person sees a connection that closes without a word; of a driver that would stay away after an ERROR. */
  readonly showsClose?: RegExp
}

const python = {
  says: /Python/,
  shows: (code: string, words: string): RegExp =>
    new RegExp(`code=${code} \\[(?:Bad credentials|Server error)\\] message="${words}`),
  showsClose: /closed|shut down|ConnectionShutdown|OperationTimedOut/i,
}

export const drivers: readonly Driver[] = [
  { name: 'node', says: /Node/, shows: (_, words) => new RegExp(`(?:AuthenticationError|ResponseError): .*${words}`) },
  { name: 'python', ...python },
  { name: 'java', says: /Java/, shows: (_, words) => new RegExp(words) },
  { name: 'go', says: /gocql/, shows: (_, words) => new RegExp(words) },
  { name: 'cqlsh', ...python },
]

export interface Case {
  readonly name: string
  make(): Promise<Shown>
  /** It comes in as this one; or it is refused, and says so. */
  readonly wanted: Known | RegExp
}

const fault = (one: Refusals[keyof Refusals]): Fault => {
  if ('impossible' in one) throw new Error(one.impossible)
  return one
}
const neverUsed = (): Promise<void> => Promise.reject(new Error('nothing of these is used before'))

export function casesOf(
  driver: Driver,
  door: DoorName,
  proofs: Proofs,
  refusals: Readonly<Record<ProofName, Refusals>>,
): readonly Case[] {
  const { shows, showsClose } = driver
  const expired = (proof: TokenProof, holder: object) => async (): Promise<Shown> => ({
    user: 'token',
    password: await proof.forge({ ...holder, exp: seconds() - 1 }),
  })
  const oneText = 'these credentials are not accepted here'
  return [
    ...proofs.all.map((proof) => ({ name: proof.name, make: () => proof.make(), wanted: proof })),
    { name: 'a token of 32 KiB', make: () => proofs.large.make(), wanted: proofs.large },
    {
      name: 'OIDC, for another audience',
      make: () => fault(refusals.OIDC['wrong audience']).make(neverUsed),
      wanted: shows('0100', oneText),
    },
    {
      name: 'SVID, expired',
      make: () => fault(refusals.SVID.expired).make(neverUsed),
      wanted: shows('0000', 'the client\\W+s certificate has expired'),
    },
    ...proofs.tokens.map((proof) => ({
      name: `${proof.name}, expired`,
      // Of one who was never here: a person reads it.
      make: expired(proof, proof.stranger(driver.name)),
      wanted: shows('0100', 'the token expired at '),
    })),
    {
      name: 'pre-signed STS, expired',
      make: () => fault(refusals['pre-signed STS'].expired).make(neverUsed),
      wanted: shows('0100', 'the pre-signed request is older than 15 minutes'),
    },
    // Behind NGINX each worker of the gateway remembers for itself who was there.
    ...(showsClose !== undefined && door === 'sidecar'
      ? [{ name: 'OIDC, expired, of one who was here', make: expired(proofs.oidc, {}), wanted: showsClose }]
      : []),
  ]
}
