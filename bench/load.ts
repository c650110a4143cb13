/**
 * The load maker: connections, each with so many requests in flight, all EXECUTE of one prepared statement.
 *
 * Runs as a child of run.ts (node:child_process fork). It says `begin` and `end` over IPC at the two ends of the measured
 * time, so that the parent reads CPU clocks of the hops at those moments; the result comes with `end`. Alone:
 *
 *     node bench/load.ts '{"host":"127.0.0.1","port":9042,"connections":16,"inFlight":1,"seconds":2}'
 */
import { readFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { envelopeHeaderBytes, Flag, headerOpcode, headerStream, Opcode, ResultKind } from '../src/cql/protocol.ts'
import { Latencies, type LoadResult, resultOf } from './latencies.ts'
import { envelope, int, longString, short, string, WireReader, WireWriter } from './wire.ts'

export interface LoadPlan {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** Requests in flight on each connection. */
  readonly inFlight: number
  readonly seconds: number
  readonly warmupSeconds?: number
  /** For the handshake and PREPARE of one connection; 30,000 by default. Who lets clients wait is an error, not a run without end. */
  readonly openTimeoutMs?: number
  readonly protocol?: 4 | 5
  readonly statement?: string
  /** Text by name, in the custom payload of each EXECUTE. */
  readonly payload?: Readonly<Record<string, string>>
  /** PEM files; absent for a plain connection. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string }
}

export type LoadMessage = { readonly kind: 'begin' } | { readonly kind: 'end'; readonly result: LoadResult }

export const defaultStatement = 'SELECT v FROM bench.rows WHERE k = ?'
export const largeStatement = 'SELECT v FROM bench.large WHERE k = ?'

/** Shared by all connections; `latencies` is there while time is measured. */
const state = { latencies: undefined as Latencies | undefined, errors: 0, stopped: false }

/** One connection after its handshake, PREPARE answered, ready to be started. */
class Connection {
  readonly #writer: WireWriter
  readonly #plan: LoadPlan
  readonly #sentAt: Float64Array
  readonly #onReady: () => void
  #execute: Buffer = Buffer.alloc(0)

  constructor(socket: Socket, plan: LoadPlan, onReady: () => void) {
    this.#plan = plan
    this.#sentAt = new Float64Array(plan.inFlight)
    this.#onReady = onReady
    this.#writer = new WireWriter(socket)
    const version = plan.protocol ?? 4
    let now = 0
    const reader = new WireReader((buf, start) => {
      if (headerOpcode(buf, start) === Opcode.READY) {
        this.#writer.segmented = reader.segmented = version === 5
        const flags = version === 5 ? [int(0)] : []
        return this.#ask(Opcode.PREPARE, longString(plan.statement ?? defaultStatement), ...flags)
      }
      if (this.#execute.length === 0) return this.#begin(buf, start)
      const stream = headerStream(buf, start)
      if (headerOpcode(buf, start) !== Opcode.RESULT) state.errors++
      else state.latencies?.add(now - this.#sentAt[stream]!)
      if (!state.stopped) this.#send(stream, now)
    })
    socket.on('data', (chunk: Buffer) => {
      now = performance.now()
      reader.feed(chunk)
      this.#writer.flush()
    })
    this.#ask(Opcode.STARTUP, short(1), string('CQL_VERSION'), string('3.0.0'))
    this.#writer.flush()
  }

  start(): void {
    const now = performance.now()
    for (let stream = 0; stream < this.#plan.inFlight; stream++) this.#send(stream, now)
    this.#writer.flush()
  }

  #send(stream: number, now: number): void {
    this.#sentAt[stream] = now
    this.#writer.write(this.#execute, stream)
  }

  #ask(opcode: number, ...parts: readonly Buffer[]): void {
    this.#writer.write(envelope(this.#plan.protocol ?? 4, opcode, Buffer.concat(parts)), 0)
  }

  /** Takes ids from PREPARED and makes the one EXECUTE that is sent from now on. */
  #begin(buf: Buffer, start: number): void {
    const body = start + envelopeHeaderBytes
    if (headerOpcode(buf, start) !== Opcode.RESULT || buf.readInt32BE(body) !== ResultKind.PREPARED) {
      throw new Error(`PREPARE was answered: ${buf.toString('latin1', body + 6)}`)
    }
    const id = buf.subarray(body + 4, body + 6 + buf.readUInt16BE(body + 4))
    const after = body + 4 + id.length
    const v5 = this.#plan.protocol === 5
    const resultId = v5 ? buf.subarray(after, after + 2 + buf.readUInt16BE(after)) : Buffer.alloc(0)
    const localOne = short(10)
    const valuesFlag = v5 ? int(1) : Buffer.from([1])
    const parts = [payloadOf(this.#plan), id, resultId, localOne, valuesFlag, short(1), longString('a-key-of-16-bytes')]
    this.#execute = envelope(this.#plan.protocol ?? 4, Opcode.EXECUTE, Buffer.concat(parts))
    if (this.#plan.payload !== undefined) this.#execute[1] = Flag.CUSTOM_PAYLOAD
    this.#onReady()
  }
}

function payloadOf({ payload }: LoadPlan): Buffer {
  if (payload === undefined) return Buffer.alloc(0)
  const entries = Object.entries(payload)
  return Buffer.concat([short(entries.length), ...entries.flatMap(([name, text]) => [string(name), longString(text)])])
}

function open(plan: LoadPlan): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const timeoutMs = plan.openTimeoutMs ?? 30_000
    const timer = setTimeout(() => reject(new Error(`a connection was not ready after ${timeoutMs} ms`)), timeoutMs)
    const onConnect = (): void => {
      socket.setNoDelay(true)
      const connection: Connection = new Connection(socket, plan, () => {
        clearTimeout(timer)
        resolve(connection)
      })
    }
    const socket: Socket =
      plan.tls === undefined
        ? connectTcp(plan.port, plan.host, onConnect)
        : connectTls(
            {
              host: plan.host,
              port: plan.port,
              cert: readFileSync(plan.tls.cert),
              key: readFileSync(plan.tls.key),
              ca: readFileSync(plan.tls.ca),
              // A SPIFFE certificate names no host; the bench knows whom it started.
              checkServerIdentity: () => undefined,
            },
            onConnect,
          )
    socket.on('error', reject)
    socket.on('close', () => {
      if (!state.stopped) reject(new Error('a connection was closed'))
      if (state.latencies !== undefined) state.errors++
    })
  })
}

/** Opens everything, warms up, measures. `begin` is called when the measured time starts. */
export async function load(plan: LoadPlan, begin: () => void): Promise<LoadResult> {
  const connections: Connection[] = []
  for (let n = 0; n < plan.connections; n++) connections.push(await open(plan))
  for (const connection of connections) connection.start()
  await sleep((plan.warmupSeconds ?? 1) * 1000)
  const latencies = new Latencies()
  begin()
  const startedAt = performance.now()
  state.latencies = latencies
  await sleep(plan.seconds * 1000)
  state.latencies = undefined
  state.stopped = true
  const seconds = (performance.now() - startedAt) / 1000
  return resultOf(latencies, seconds, state.errors)
}

/** As a child of `runLoad`, or alone with the result on standard output; both kinds of load maker begin here. */
export async function runAsProcess(make: (plan: LoadPlan, begin: () => void) => Promise<LoadResult>): Promise<never> {
  const tell = (message: LoadMessage): void => {
    if (process.send !== undefined) process.send(message)
    else if (message.kind === 'end') console.log(message.result)
  }
  const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan
  const result = await make(plan, () => tell({ kind: 'begin' }))
  tell({ kind: 'end', result })
  process.exit(0)
}

if (import.meta.main) await runAsProcess(load)
