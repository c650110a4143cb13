/** `ringfence connect` as a whole: the log-in, kept good; the door, tried once; the listener. */
import { RingfenceError } from '../../base/errors.ts'
import { startupEnvelope } from '../../cql/encode.ts'
import type { ProfileFolder, Tokens } from '../profile.ts'
import { LogInDue } from '../provider.ts'
import { type Door, enterDoor } from './door.ts'
import { LocalListener, loopbackAddress } from './listener.ts'
import { LogInSession } from './session.ts'

const startupOptions = new Map([
  ['CQL_VERSION', '3.0.0'],
  ['DRIVER_NAME', 'ringfence connect'],
])

export interface ConnectOptions {
  readonly listen: { readonly address: string; readonly port: number }
  readonly credentialsFile: string | undefined
  /** The tool shows a person what it is told. */
  readonly isForPerson: boolean
  say(words: string): void
}

export interface RunningConnect {
  readonly address: string
  readonly port: number
  readonly door: Door
  readonly guard: LocalListener['guard']['kind']
  readonly tokens: Tokens
  stop(): void
}

/** @throws RingfenceError where nobody is logged in, the door refuses or is away, or the address is none of loopback */
export async function startConnect(folder: ProfileFolder, options: ConnectOptions): Promise<RunningConnect> {
  const { listen, say, ...more } = options
  const address = loopbackAddress(listen.address)
  const profile = folder.profile()
  if (profile === undefined) throw new LogInDue(`nobody is logged in with profile ${folder.name}`, folder.name)
  if (profile.door === undefined || profile.doorCaPem === undefined) {
    throw new RingfenceError('USAGE', `profile ${folder.name} does not know the door`, {
      hint: 'ringfence login --door host:9042 --ca bundle.pem (ringfence bundle show prints the roots)',
    })
  }
  const door: Door = { ...profile.door, caPem: profile.doorCaPem }
  let listener: LocalListener | undefined
  const session = new LogInSession(folder, say, () => listener?.closeTools())
  const tokens = await session.tokens()
  // What is wrong is told here, and not to the first tool only.
  const tried = await enterDoor(door, startupEnvelope(4, 0, startupOptions), { version: 4, lz4: false }, tokens.token)
  tried.destroy()
  const token = async (): Promise<string> => (await session.tokens()).token
  const listening = await LocalListener.listen({ address, port: listen.port, door, token, say, ...more })
  listener = listening
  session.start(tokens)
  return {
    address,
    port: listening.port,
    door,
    guard: listening.guard.kind,
    tokens,
    stop: () => {
      session.stop()
      listening.close()
    },
  }
}
