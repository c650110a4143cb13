/** A question of the sidecar's own on its way to the node, and who waits for the answer. */
import { RingfenceError } from '../base/errors.ts'
import type { Permit } from '../policy/engine.ts'
import type { OwnPermit } from '../policy/own-permit.ts'
import { InFlight } from './in-flight.ts'

export class Question extends InFlight {
  readonly #resolve: (answer: Buffer) => void
  readonly #reject: (reason: RingfenceError) => void

  constructor(
    envelope: Buffer,
    permit: Permit | OwnPermit,
    resolve: (answer: Buffer) => void,
    reject: (reason: RingfenceError) => void,
  ) {
    super()
    this.use(envelope, 0, envelope.length)
    this.permit = permit
    this.#resolve = resolve
    this.#reject = reject
  }

  override onAnswer(buffer: Buffer, start: number, end: number): void {
    this.#resolve(Buffer.from(buffer.subarray(start, end)))
  }

  override onUnfit(): void {
    this.#reject(new RingfenceError('UPSTREAM', 'the answer of the node is larger than answerBytesMax'))
  }

  override onTimeout(): void {
    this.carrier?.abandon(this)
    this.#reject(new RingfenceError('UPSTREAM', 'the node did not answer in time'))
  }

  override onLost(reason: string): void {
    this.#reject(new RingfenceError('UPSTREAM', `connection to the node lost: ${reason}`))
  }

  override onFault(reason: unknown): void {
    this.#reject(new RingfenceError('UPSTREAM', 'a fault of our own', { cause: reason }))
  }

  override over(): void {}
}
