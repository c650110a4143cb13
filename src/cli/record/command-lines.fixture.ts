/** The program in one process of its own, for tests of what commands answer: one command line after the other. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

const program = fileURLToPath(new URL('../command-lines.fixture.ts', import.meta.url))

export class CommandLines {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #answers: AsyncIterator<string>

  constructor(cwd: string) {
    const env = { ...process.env, TZ: 'UTC' }
    this.#child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'], cwd, env })
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async run(args: readonly string[]): Promise<Ran> {
    this.#child.stdin.write(`${JSON.stringify(args)}\n`)
    const { value } = await this.#answers.next()
    return JSON.parse(String(value)) as Ran
  }

  end(): void {
    this.#child.stdin.end()
  }
}
