/** A log-in without a driver's manners: what the mesh says, word for word. */
import { headerOpcode, Opcode } from '../../../src/cql/protocol.ts'
import { describe, RawClient } from '../../path/client.ts'
import type { Shown } from './proofs.ts'
import type { Fault, UseBefore } from './refusals.ts'

export interface LogInDoor {
  readonly host: string
  readonly port: number
  readonly bundlePem: string
}

/** Whose driver comes back by itself after any refusal, so that it is told in words. */
const driverName = 'DataStax Java Driver'

/** `in`; what an ERROR says; or `closed`, with what the socket says. */
export async function rawLogIn(door: LogInDoor, shown: Shown, localAddress: string): Promise<string> {
  const { told, client } = await tried(door, shown, localAddress)
  client?.close()
  return told
}

/** Logged in, and there until somebody closes it. @throws Error with what it was told */
export async function openLogIn(door: LogInDoor, shown: Shown, localAddress: string): Promise<RawClient> {
  const { told, client } = await tried(door, shown, localAddress)
  if (told === 'in' && client !== undefined) return client
  client?.close()
  throw new Error(`it was to be good, and was refused: ${told}`)
}

interface Tried {
  readonly told: string
  readonly client?: RawClient
}

async function tried(door: LogInDoor, shown: Shown, localAddress: string): Promise<Tried> {
  const { host, port, bundlePem } = door
  const { user, password, certificate } = shown
  let client: RawClient | undefined
  try {
    const credentials = { bundlePem, ...certificate }
    client = await RawClient.connect({ host, port, credentials, localAddress, driverName })
    let answer = await client.startup()
    if (headerOpcode(answer, 0) === Opcode.AUTHENTICATE) answer = await client.logIn(user, password)
    const opcode = headerOpcode(answer, 0)
    return { told: opcode === Opcode.READY || opcode === Opcode.AUTH_SUCCESS ? 'in' : describe(answer), client }
  } catch (reason) {
    const told = `closed: ${reason instanceof Error ? reason.message : String(reason)}`
    return client === undefined ? { told } : { told, client }
  }
}

/** An address of loopback for each who comes, so that what is known of one is no other's. */
export class Addresses {
  readonly #block: number
  #count = 0

  /** @param block 2 to 254: the third part of each */
  constructor(block: number) {
    this.#block = block
  }

  next(): string {
    this.#count++
    return `127.${this.#block}.${this.#count >> 8}.${this.#count & 255}`
  }
}

export interface Refused {
  readonly address: string
  readonly told: string
}

/** Makes the evidence with its fault, and shows it. */
export async function refusedLogIn(
  door: LogInDoor,
  { make }: Pick<Fault, 'make'>,
  addresses: Addresses,
): Promise<Refused> {
  const before = addresses.next()
  const use: UseBefore = async (shown) => {
    const told = await rawLogIn(door, shown, before)
    if (told !== 'in') throw new Error(`it was to be good, and was refused: ${told}`)
  }
  const shown = await make(use)
  const address = addresses.next()
  return { address, told: await rawLogIn(door, shown, address) }
}
