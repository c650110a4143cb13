/**
 * Follows the control plane's watch stream and takes the values that it pushes. While it is away the last ones stay in force; a stream
 * that was opened with an older certificate is opened again.
 */
import { containOwnFault } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { parseJson } from '../mesh/answer.ts'
import type { PushedKind } from '../mesh/pushed-kind.ts'
import type { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import { aliveIntervalMs, aliveKind, watchLineBytesMax } from '../mesh/watch.ts'
import type { ControlSession } from './control-session.ts'
import { LineReader } from './lines.ts'

export class Watch {
  readonly #session: ControlSession
  readonly #values: PushedValues
  readonly #role: AgentRole
  readonly #onTaken: (kind: PushedKind<unknown>) => void
  /** Kinds whose first value a proxy waits for. */
  readonly #awaited: Set<PushedKind<unknown>>
  readonly #complete = Promise.withResolvers<void>()
  readonly #failed = Promise.withResolvers<void>()
  /** Ends the present stream, so that the next is opened with the new certificate. */
  #stream = new AbortController()

  /** @param onTaken is called when the value of a kind is in force that was not before */
  constructor(
    session: ControlSession,
    values: PushedValues,
    role: AgentRole,
    onTaken: (kind: PushedKind<unknown>) => void,
  ) {
    this.#session = session
    this.#values = values
    this.#role = role
    this.#onTaken = onTaken
    this.#awaited = new Set(values.kinds.filter((kind) => kind.awaited && kind.roles.includes(role)))
    let { certificatePem } = session.credentials.current
    session.credentials.observe((now) => {
      // Other roots are no reason: everybody is told of them at one moment.
      if (now.certificatePem === certificatePem) return
      certificatePem = now.certificatePem
      this.#stream.abort()
    })
  }

  /** Resolves when every awaited kind was told once, also where there is none yet, or the control plane has no more to tell. */
  get complete(): Promise<void> {
    return this.#complete.promise
  }

  /** Resolves when the control plane was away for the first time. */
  get failed(): Promise<void> {
    return this.#failed.promise
  }

  /** Resolves when the agent stops. */
  async run(): Promise<void> {
    const { random, log } = this.#session.options
    let failures = 0
    while (!this.#session.isStopped) {
      this.#stream = new AbortController()
      try {
        await this.#follow(() => {
          failures = 0
        })
      } catch (reason) {
        containOwnFault('the watch stream', reason)
        this.#failed.resolve()
        if (this.#session.isStopped) return
        if (this.#stream.signal.aborted) continue
        if (failures === 0)
          log.warn({ reason: RingfenceError.from(reason, 'UNAVAILABLE').message }, 'control plane is away')
      }
      if (this.#stream.signal.aborted) continue
      // Full jitter above a floor, so that a restarted control plane is not met by everybody at once; a report that it took says that it is there.
      await this.#session.pauseToRetry(100 + random() * Math.min(4_900, 200 * 2 ** failures))
      failures++
    }
  }

  stop(): void {
    this.#stream.abort()
  }

  async #follow(alive: () => void): Promise<void> {
    const { log } = this.#session.options
    const { signal } = this.#stream
    const stream = await this.#session.client.stream('/v1/watch')
    if (signal.aborted) {
      stream.destroy()
      return
    }
    const end = (): void => void stream.destroy()
    signal.addEventListener('abort', end, { once: true })
    stream.setTimeout(3 * aliveIntervalMs, () => stream.destroy(new Error('control plane fell silent')))
    const lines = new LineReader(
      watchLineBytesMax,
      (line) => this.#takeLine(line),
      () => log.error({ lengthMax: watchLineBytesMax }, 'line of the watch stream is too long and was skipped'),
    )
    try {
      stream.setEncoding('utf8')
      for await (const text of stream) {
        lines.push(String(text))
        alive()
      }
      log.info('watch stream ended')
    } finally {
      signal.removeEventListener('abort', end)
    }
  }

  #takeLine(line: string): void {
    const { log } = this.#session.options
    const given = parseJson(line)
    const name = nameOf(given)
    if (name === undefined) log.error('line of the watch stream is not understood and was skipped')
    // Before it there was everything that this control plane tells: one that is older knows not every kind.
    if (name === aliveKind) this.#complete.resolve()
    const kind = name === undefined ? undefined : this.#values.kindNamed(name)
    // A kind of a newer control plane, an `alive`, or what is none of this role's business, such as a gateway's copy of secrets.
    if (kind === undefined || !kind.roles.includes(this.#role)) return
    const reading = kind.read(given)
    if (!reading.understood) {
      log.error({ kind: name, where: reading.where }, 'line of the watch stream is not understood and was skipped')
      return
    }
    const { value, skipped } = reading
    if (skipped > 0) log.error({ kind: name, skipped }, 'entries of a list are not understood and were skipped')
    this.#take(kind, value)
    if (this.#awaited.delete(kind) && this.#awaited.size === 0) this.#complete.resolve()
  }

  #take(kind: PushedKind<unknown>, value: unknown): void {
    const { log } = this.#session.options
    const inForce = this.#values.value(kind)
    const remark = kind.succeed?.(value, inForce.current)
    if (remark !== undefined) log.error(remark.fields, remark.message)
    if (remark?.taken === false || !inForce.set(value)) return
    log.debug({ kind: kind.name }, 'pushed value taken')
    this.#onTaken(kind)
  }
}

function nameOf(given: unknown): string | undefined {
  return typeof given === 'object' && given !== null && 'kind' in given && typeof given.kind === 'string'
    ? given.kind
    : undefined
}
