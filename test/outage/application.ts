/** One running application of an outage: what it had answered and what had failed, over time. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Program } from '../e2e/drivers/toolchain.ts'

interface Counts {
  readonly atMs: number
  readonly answered: number
  readonly failed: number
  readonly error: string | undefined
}

const stopMsMax = 20_000
const saidMax = 4_000

export class Application {
  readonly name: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  /** Ascending; by `performance.now()`. */
  readonly #history: Counts[] = [{ atMs: 0, answered: 0, failed: 0, error: undefined }]
  #said = ''

  constructor(name: string, { command, args, env: own }: Program, env: Readonly<Record<string, string>>) {
    this.name = name
    this.#child = spawn(command, args, { env: { ...process.env, ...own, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()))
    this.#child.stdin?.on('error', () => {})
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text
      // The cause stands first or last, by language.
      if (this.#said.length > saidMax)
        this.#said = `${this.#said.slice(0, saidMax / 2)} … ${this.#said.slice(-saidMax / 4)}`
    })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const { answered, failed, error } = JSON.parse(line) as Omit<Counts, 'atMs'>
      this.#history.push({ atMs: performance.now(), answered, failed, error })
    })
  }

  /** It is the process that was started. */
  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** What a program that ended had to say. */
  get words(): string {
    return this.#said.trim() || (this.#last.error ?? '')
  }

  get answered(): number {
    return this.#last.answered
  }

  get failed(): number {
    return this.#last.failed
  }

  get #last(): Counts {
    return this.#history.at(-1)!
  }

  #at(atMs: number): Counts {
    return this.#history.findLast((counts) => counts.atMs <= atMs)!
  }

  failedBetween(fromMs: number, toMs: number): number {
    return this.#at(toMs).failed - this.#at(fromMs).failed
  }

  /** When it next said that something more was answered than at that moment; undefined where it has not yet. */
  answeredAfter(atMs: number): number | undefined {
    const { answered } = this.#at(atMs)
    return this.#history.find((counts) => counts.atMs > atMs && counts.answered > answered)?.atMs
  }

  /** When it last said so before that moment. */
  answeredLastBefore(atMs: number): number | undefined {
    const { answered } = this.#at(atMs)
    return answered === 0 ? undefined : this.#history.find((counts) => counts.answered === answered)?.atMs
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end()
    const late = setTimeout(() => this.#child.kill('SIGKILL'), stopMsMax)
    await this.#ended
    clearTimeout(late)
  }
}
