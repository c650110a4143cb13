/** A line between a proxy and the control plane that can be cut. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { HostPort } from '../../demo/parts/layout.ts'
import { freePort } from '../free-port.ts'

export class Relay {
  readonly port: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false

  private constructor(port: number, { address: host, port: to }: HostPort) {
    this.port = port
    this.#server = createServer((near) => {
      if (this.#isCut) {
        near.destroy()
        return
      }
      const far = connect(to, host)
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on('error', () => other.destroy())
        one.on('close', () => {
          this.#sockets.delete(one)
          other.destroy()
        })
        one.pipe(other)
      }
    })
  }

  static async start(to: HostPort): Promise<Relay> {
    const relay = new Relay(await freePort(), to)
    await new Promise<void>((resolve) => relay.#server.listen(relay.port, '127.0.0.1', resolve))
    return relay
  }

  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  heal(): void {
    this.#isCut = false
  }

  close(): void {
    this.cut()
    this.#server.close()
  }
}
