/** Servers outside the mesh, over real HTTPS on loopback, with the names that they have outside. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { CertificateAuthority } from '../../src/control/ca.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import type { OutsideWorld } from '../../src/mesh/call-out.ts'

export interface Asked {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface Answer {
  readonly status: number
  readonly contentType?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

export class OutsideServer {
  readonly asked: Asked[] = []
  readonly caPem: string
  /** Undefined: it does not answer. */
  answer: (asked: Asked) => Answer | Promise<Answer> | undefined
  readonly #server: Server

  private constructor(server: Server, caPem: string, answer: OutsideServer['answer']) {
    this.#server = server
    this.caPem = caPem
    this.answer = answer
    server.on('request', async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const { method = '', url: path = '', headers } = request
      this.asked.push({ method, path, headers, body })
      const given = await this.answer({ method, path, headers, body })
      if (given === undefined) return
      const { status, contentType = 'application/json', headers: more = {} } = given
      response.writeHead(status, { 'content-type': contentType, ...more }).end(given.body)
    })
  }

  static async start(
    ca: CertificateAuthority,
    dnsNames: readonly string[],
    answer: OutsideServer['answer'],
  ): Promise<OutsideServer> {
    const spiffeId = parseSpiffeId(`spiffe://${ca.trustDomain}/svc/outside`)
    const leaf = await ca.mint({ spiffeId, ttlMs: 3_600_000, dnsNames, ipAddresses: ['127.0.0.1'] })
    const server = createServer({ cert: leaf.certificatePem, key: leaf.keyPem })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new OutsideServer(server, ca.bundlePem, answer)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The world in which every host is this one. */
  get world(): OutsideWorld {
    const resolve = async () => [{ address: '127.0.0.1', family: 4 }]
    return { resolve, stsPort: this.port, stsCaPem: this.caPem, environment: {} }
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
