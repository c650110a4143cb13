/**
 * A client of a gateway that traces: the span of a request ends when its client is told, whoever tells it.
 *
 * Rule: all that one session tells its client goes by this one, and what it throws by `TracedRequests.failed`.
 */
import { headerOpcode, Opcode } from '../cql/protocol.ts'
import { errorCode } from '../cql/responses.ts'
import type { Client, ClientInfo } from '../session/backend.ts'
import { cqlFault } from '../session/fault.ts'
import type { TracedRequests } from './traced-requests.ts'

export class TracedClient implements Client {
  readonly answer: Client['answer']
  readonly event: Client['event']
  readonly #client: Client
  readonly #traced: TracedRequests

  constructor(client: Client, traced: TracedRequests) {
    this.#client = client
    this.answer = (bytes, start, end, stream) => {
      if (traced.has(stream)) {
        const isError = headerOpcode(bytes, start) === Opcode.ERROR
        traced.over(stream, isError ? errorCode({ bytes, start, end }) : undefined)
      }
      client.answer(bytes, start, end, stream)
    }
    this.event = (bytes, start, end) => client.event(bytes, start, end)
    this.#traced = traced
  }

  get info(): ClientInfo {
    return this.#client.info
  }

  get account(): Client['account'] {
    return this.#client.account
  }

  fault(reason: unknown, stream: number): void {
    this.#traced.over(stream, cqlFault(reason).code)
    this.#client.fault(reason, stream)
  }

  pause(): void {
    this.#client.pause()
  }

  halt(halted: boolean): void {
    this.#client.halt(halted)
  }

  close(reason: string): void {
    this.#client.close(reason)
  }

  drain(reason: string): void {
    this.#client.drain(reason)
  }
}
