/** The listener of `ringfence connect`: on loopback, for so many tools, each with a connection of its own to the door. */
import { once } from 'node:events'
import { connect, createServer, isIP, type Server, type Socket } from 'node:net'
import { contained, nothingEnds, type Owner, settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { isLoopback } from '../../mesh/public-address.ts'
import type { Door } from './door.ts'
import { Guard } from './guard.ts'
import type { Ends } from './same-user.ts'
import { Tool, type ToolHost } from './tool.ts'

export interface ListenerOptions {
  readonly address: string
  readonly port: number
  readonly door: Door
  /** Where a password for tools is written; without it a tool is let in by its user, where the system tells it. */
  readonly credentialsFile: string | undefined
  readonly isForPerson: boolean
  token(): Promise<string>
  say(words: string): void
}

export class LocalListener implements Owner {
  readonly #server: Server
  readonly #tools = new Set<Tool>()
  readonly guard: Guard

  private constructor(server: Server, guard: Guard, options: ListenerOptions) {
    this.#server = server
    this.guard = guard
    const host: ToolHost = {
      door: options.door,
      guard,
      isForPerson: options.isForPerson,
      token: options.token,
      say: options.say,
      closed: (tool) => this.#tools.delete(tool),
    }
    server.on(
      'connection',
      contained(this, 'a tool', (socket: Socket) => this.#came(socket, host)),
    )
  }

  /** @throws RingfenceError USAGE for what is not loopback, UNAVAILABLE */
  static async listen(options: ListenerOptions): Promise<LocalListener> {
    const address = loopbackAddress(options.address)
    const server = createServer({ allowHalfOpen: false, pauseOnConnect: true })
    server.maxConnections = limits.connectToolsMax
    await new Promise<void>((resolve, reject) => {
      const refused = ({ message }: Error): void =>
        reject(
          new RingfenceError('UNAVAILABLE', `cannot listen at ${address}:${options.port}: ${message}`, {
            hint: 'another port with --listen, such as 127.0.0.1:9142',
          }),
        )
      server.on('error', contained(nothingEnds, 'a listener on loopback', refused))
      server.listen(options.port, address, resolve)
    })
    const guard =
      options.credentialsFile === undefined
        ? await guardByUser(server, address)
        : Guard.byCredentials(options.credentialsFile)
    server.on(
      'drop',
      contained(nothingEnds, 'too many tools', () =>
        options.say(`more than ${server.maxConnections} connections at once; one was closed`),
      ),
    )
    return new LocalListener(server, guard, options)
  }

  get port(): number {
    return portOf(this.#server)
  }

  onFault(): void {}

  close(): void {
    this.#server.close()
    this.closeTools()
  }

  closeTools(): void {
    for (const tool of this.#tools) tool.close()
  }

  #came(socket: Socket, host: ToolHost): void {
    socket.on('error', () => {})
    const ends = endsOf(socket)
    if (ends === undefined) {
      socket.destroy()
      return
    }
    settle({ onFault: () => socket.destroy() }, 'whose connection it is', host.guard.refusal(ends), (refusal) => {
      if (refusal !== undefined) host.say(refusal)
      if (refusal !== undefined || socket.destroyed || !this.#server.listening) socket.destroy()
      else {
        this.#tools.add(new Tool(host, socket))
        socket.resume()
      }
    })
  }
}

/** @throws RingfenceError USAGE: a log-in must not be lent to a network */
export function loopbackAddress(text: string): string {
  const address = text === 'localhost' ? '127.0.0.1' : text
  if (isIP(address) !== 0 && isLoopback(address) && !/^::ffff:/i.test(address)) return address
  throw new RingfenceError('USAGE', `not an address of loopback: ${text}`, {
    hint: 'whoever reaches the listener is you, so it is for this machine only: 127.0.0.1 or ::1',
  })
}

/** Before anybody is taken, we come ourselves, to see whether the system says whose connection that is. Whoever else comes meanwhile is closed. */
async function guardByUser(server: Server, address: string): Promise<Guard> {
  const probe = connect({ port: portOf(server), host: address })
  try {
    const own = new Promise<Socket>((resolve) => {
      const came = (socket: Socket): void => {
        if (socket.remotePort === probe.localPort) resolve(socket)
        else socket.destroy()
      }
      server.on('connection', contained(nothingEnds, 'a connection before all others', came))
    })
    await once(probe, 'connect')
    const socket = await own
    const ends = endsOf(socket)
    const guard = ends === undefined ? Guard.byNobody() : await Guard.byUser(ends)
    socket.destroy()
    return guard
  } finally {
    server.removeAllListeners('connection')
    probe.destroy()
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): Ends | undefined {
  if (remoteAddress === undefined || remotePort === undefined) return undefined
  if (localAddress === undefined || localPort === undefined) return undefined
  return { remoteAddress, remotePort, localAddress, localPort }
}

function portOf(server: Server): number {
  const address = server.address()
  return address === null || typeof address === 'string' ? 0 : address.port
}
