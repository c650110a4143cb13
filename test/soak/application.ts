/** One running application of the soak: several clients in one process, which says each second what they counted. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Program } from '../e2e/drivers/toolchain.ts'

export interface ClientCounts {
  readonly requests: number
  readonly failed: number
  /** Connections; the second where the driver says so. */
  readonly opened: number
  readonly ended?: number
  /** How often each failure was said (`failures.ts`): `failed` in all. */
  readonly said: Readonly<Record<string, number>>
}

export interface Said {
  readonly clients: Readonly<Record<string, ClientCounts>>
  readonly driverFaults?: number
  /** At the end, by row: increments that were answered, and those of which it is not known. */
  readonly increments?: Readonly<Record<string, readonly [done: number, unknown: number]>>
}

export interface ClientOrder {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly certs: string
  readonly perSecond: number
}

const stopMsMax = 90_000
const wordsMax = 4_000

export class Application {
  readonly name: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #said: Said = { clients: {} }
  #words = ''

  constructor(name: string, { command, args, env }: Program, clients: readonly ClientOrder[], more: object) {
    this.name = name
    const own = { ...process.env, ...env, ...more, RF_CLIENTS: JSON.stringify(clients) }
    this.#child = spawn(command, args, { env: own, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#ended = new Promise((resolve) => this.#child.once('exit', () => resolve()))
    this.#child.stdin?.on('error', () => {})
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#words = `${this.#words}${text}`.slice(-wordsMax)
    })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.#said = JSON.parse(line) as Said
    })
  }

  get said(): Said {
    return this.#said
  }

  /** What a program that ended had to say. */
  get words(): string {
    return this.#words.trim()
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end()
    const late = setTimeout(() => this.#child.kill('SIGKILL'), stopMsMax)
    await this.#ended
    clearTimeout(late)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}
