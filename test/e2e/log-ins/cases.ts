/**
 * The table of drivers, and what each of them does at a door: it logs in by every proof, asks for what is permitted and for what is not, and is
 * refused by every proof when that has expired, and for a cause that stays.
 *
 * A driver's program (`programs/`) is given a line for each case, `name ⇥ user ⇥ password ⇥ certificate file ⇥ key file ⇥ transaction token`, and
 * prints one for each.
 * It is started once for all of a door, and does the last case after the others:
 *
 *     name ⇥ in ⇥ first value of the answer ⇥ denied: words of the driver's own exception
 *     name ⇥ refused ⇥ all that the driver says of why there is no session
 *     name ⇥ failed ⇥ what else happened
 */
import type { DriverName } from '../drivers/toolchain.ts'
import type { Outside } from './outside.ts'
import { type Known, type Proofs, type Shown, seconds, type TokenProof } from './proofs.ts'
import { asStrangers, type Fault, type RefusalName, type Refusals, refusalNames, refusalsOf } from './refusals.ts'

export const doorNames = ['nginx', 'sidecar'] as const
export type DoorName = (typeof doorNames)[number]

export interface Driver {
  readonly name: DriverName
  /** Of its DRIVER_NAME in the record. */
  readonly says: RegExp
  /** How a person sees an ERROR. */
  readonly shows: (code: string, words: string) => RegExp
  /** It is refused by every fault that a driver can show; the others by those of which they differ. */
  readonly triesAll?: true
  /** It prepares every statement, and that without a payload. */
  readonly preparesAlone?: true
  /** People use it, who are there themselves. */
  readonly actsOnBehalf?: false
  /** How a person sees a connection that closes without a word; of a driver that would stay away after an ERROR. */
  readonly showsClose?: RegExp
}

const python = {
  says: /Python/,
  shows: (code: string, words: string): RegExp =>
    new RegExp(`code=${code} \\[(?:Bad credentials|Server error|Invalid query)\\] message="${words}`),
  showsClose: /closed|shut down|ConnectionShutdown|OperationTimedOut/i,
}

export const drivers: readonly Driver[] = [
  {
    name: 'node',
    says: /Node/,
    shows: (_, words) => new RegExp(`(?:AuthenticationError|ResponseError): .*${words}`),
    triesAll: true,
  },
  { name: 'python', ...python, triesAll: true },
  { name: 'java', says: /Java/, shows: (_, words) => new RegExp(words) },
  { name: 'go', says: /gocql/, shows: (_, words) => new RegExp(words), preparesAlone: true },
  { name: 'cqlsh', ...python, actsOnBehalf: false },
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

/**
 * Those that no driver is needed for, beside `expired`, which every driver tries. What is `replayed` of a token is one that has expired, and of a pre-signed request one that is refused by its
 * address; a certificate whose chain is too long ends its TLS handshake; what is `revoked` was good before, and needs somebody who takes it back.
 */
export const withoutDriver: readonly RefusalName[] = ['expired', 'replayed', 'revoked']

/** Every other fault of every proof, of which the driver is to show the words that the table has. */
function allFaults({ name, shows }: Driver, proofs: Proofs, outside: Outside): readonly Case[] {
  const table = Object.entries(refusalsOf(asStrangers(proofs, name), outside))
  const faults = table.flatMap(([proof, refusals]) =>
    refusalNames.flatMap((refusal): readonly Case[] => {
      const one = refusals[refusal]
      if ('impossible' in one || withoutDriver.includes(refusal)) return []
      const [, code, words] = /^\^0x(\d{4}) (.*?)\$?$/.exec(one.hears.source) ?? []
      if (code === undefined || words === undefined) return []
      // Python writes an apostrophe with a stroke before it.
      const wanted = shows(code, words.replaceAll("'", '\\W+'))
      return [{ name: `${proof}: ${refusal}`, make: () => one.make(neverUsed), wanted }]
    }),
  )
  const left = { ...proofs.oidc.stranger(name), groups: ['left'] }
  const make = async (): Promise<Shown> => ({ user: 'token', password: await proofs.oidc.forge(left) })
  return [...faults, { name: 'OIDC: no longer in the group', make, wanted: shows('0100', oneText) }]
}

const oneText = 'these credentials are not accepted here'
const neverUsed = (): Promise<void> => Promise.reject(new Error('nothing of these is used before'))

export function casesOf(driver: Driver, door: DoorName, proofs: Proofs, outside: Outside): readonly Case[] {
  const refusals = refusalsOf(proofs, outside)
  const { shows, showsClose } = driver
  const expired = (proof: TokenProof, holder: object) => async (): Promise<Shown> => ({
    user: 'token',
    password: await proof.forge({ ...holder, exp: seconds() - 1 }),
  })
  return [
    ...proofs.all.map((proof) => ({ name: proof.name, make: () => proof.make(), wanted: proof })),
    { name: 'a token of 32 KiB', make: () => proofs.large.make(), wanted: proofs.large },
    ...(driver.actsOnBehalf === false
      ? []
      : [
          { name: 'on behalf of a person', make: () => proofs.behalf.make(), wanted: proofs.behalf },
          {
            name: 'each request on behalf of a person',
            make: () => proofs.eachOnBehalf.make(),
            wanted: proofs.eachOnBehalf,
          },
        ]),
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
    ...(driver.actsOnBehalf === false
      ? []
      : [{ name: 'on behalf by a stolen token', make: () => proofs.stolenBehalf(), wanted: shows('0100', oneText) }]),
    ...(driver.triesAll === true ? allFaults(driver, proofs, outside) : []),
    // Behind NGINX each worker of the gateway remembers for itself who was there.
    ...(showsClose !== undefined && door === 'sidecar'
      ? [{ name: 'OIDC, expired, of one who was here', make: expired(proofs.oidc, {}), wanted: showsClose }]
      : []),
  ]
}
