/** A client that sends bytes made beforehand and counts answers: the one who makes the dear input, and the neighbour who waits. */
import { readFileSync } from 'node:fs'
import { connect, type TLSSocket } from 'node:tls'
import { envelopeHeaderBytes, headerBodyBytes, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import type { Credentials } from '../certificates.ts'
import { envelope, longString, short, string } from '../wire.ts'

const startup = envelope(4, Opcode.STARTUP, Buffer.concat([short(1), string('CQL_VERSION'), string('3.0.0')]))

/** Of an ERROR's body so much is kept. */
const saidBytesMax = 1024

export class DearestClient {
  readonly #socket: TLSSocket
  readonly #waiting: ((opcode: number) => void)[] = []
  #header = Buffer.alloc(0)
  #bodyLeft = 0
  #opcode = 0
  #reject: (reason: Error) => void = () => {}
  /** What the socket says of its end, and what the last ERROR says: its code and text. */
  #why = ''
  #said = Buffer.alloc(0)
  #slow = false
  closed = false

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', ({ message }) => {
      this.#why = `: ${message}`
    })
    socket.on('close', () => {
      this.closed = true
      this.#reject(new Error(`the connection was closed${this.#why}`))
    })
  }

  /** @throws where the connection ends, or STARTUP is answered with an ERROR */
  static async open(port: number, { cert, key, ca }: Credentials): Promise<DearestClient> {
    const pems = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) }
    const socket = connect({ host: '127.0.0.1', port, ...pems, checkServerIdentity: () => undefined })
    const client = new DearestClient(socket)
    const [opcode] = await client.ask([startup])
    if (opcode === Opcode.ERROR) {
      client.close()
      throw new Error(`STARTUP was refused: ${client.#said.toString('utf8', 6)}`)
    }
    return client
  }

  /** Sends all and resolves with the opcodes of the answers when as many came. Rejects where the connection ends. */
  ask(requests: readonly Buffer[]): Promise<number[]> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new Error(`the connection was closed before${this.#why}`))
        return
      }
      this.#reject = reject
      const opcodes: number[] = []
      for (const _ of requests) {
        this.#waiting.push((opcode) => {
          opcodes.push(opcode)
          if (opcodes.length === requests.length) resolve(opcodes)
        })
      }
      this.#socket.write(Buffer.concat(requests))
    })
  }

  /** Reads nothing more. */
  pause(): void {
    this.#socket.pause()
  }

  /** Takes a chunk at a time, and waits as long as it would have taken to arrive. */
  readSlowly(bytesPerSecond: number): void {
    this.#slow = true
    this.#socket.on('data', ({ length }: Buffer) => {
      if (!this.#slow) return
      this.#socket.pause()
      setTimeout(() => this.#socket.resume(), (length / bytesPerSecond) * 1_000)
    })
  }

  /** Reads what is there; only then it is seen whether the other end has closed. */
  readAtOnce(): void {
    this.#slow = false
    this.#socket.resume()
  }

  close(): void {
    this.#reject = () => {}
    this.#socket.destroy()
  }

  /** ContextUse at headers only: an answer of 100 MB is let through without being kept. */
  #read(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#bodyLeft === 0) {
        const wanted = envelopeHeaderBytes - this.#header.length
        this.#header = Buffer.concat([this.#header, chunk.subarray(at, at + wanted)])
        at += wanted
        if (this.#header.length < envelopeHeaderBytes) return
        this.#opcode = headerOpcode(this.#header, 0)
        this.#bodyLeft = headerBodyBytes(this.#header, 0)
        if (this.#opcode === Opcode.ERROR) this.#said = Buffer.alloc(0)
      }
      const taken = Math.min(this.#bodyLeft, Math.max(chunk.length - at, 0))
      this.#bodyLeft -= taken
      if (this.#opcode === Opcode.ERROR && this.#said.length < saidBytesMax)
        this.#said = Buffer.concat([this.#said, chunk.subarray(at, at + taken)])
      at += taken
      if (this.#bodyLeft > 0) return
      this.#header = Buffer.alloc(0)
      this.#waiting.shift()?.(this.#opcode)
    }
  }
}

const oneNoFlags = Buffer.from([0, 1, 0])

/** Version 4, consistency ONE, no values. Each has a stream of its own. */
export function query(text: string, stream = 0): Buffer {
  return onStream(envelope(4, Opcode.QUERY, Buffer.concat([longString(text), oneNoFlags])), stream)
}

export function prepare(text: string): Buffer {
  return envelope(4, Opcode.PREPARE, longString(text))
}

/** A BATCH message of texts without values. */
export function batch(texts: readonly string[]): Buffer {
  const parts = texts.flatMap((text) => [Buffer.from([0]), longString(text), short(0)])
  return envelope(4, Opcode.BATCH, Buffer.concat([Buffer.from([1]), short(texts.length), ...parts, oneNoFlags]))
}

function onStream(request: Buffer, stream: number): Buffer {
  request.writeInt16BE(stream, 2)
  return request
}
