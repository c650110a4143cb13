/** The program `ringfence` as a person starts it: what it prints, how it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

const started = new Set<ChildProcess>()

/** What a test that failed has left. */
export function endPrograms(): void {
  for (const child of started) child.kill('SIGKILL')
}

export class Program {
  readonly child: ChildProcess
  out = ''
  err = ''
  readonly ended: Promise<Ended>
  #changed: () => void = () => {}

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [bin, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' })
    started.add(this.child)
    this.child.stdout?.on('data', (chunk) => {
      this.out += String(chunk)
      this.#changed()
    })
    this.child.stderr?.on('data', (chunk) => {
      this.err += String(chunk)
      this.#changed()
    })
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => {
        started.delete(this.child)
        resolve({ code, out: this.out, err: this.err })
        this.#changed()
      })
    })
  }

  /** Ends with what it printed. */
  static run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    return new Program(args, env).ended
  }

  /** What a pattern finds in what was printed, as soon as it is there. */
  async says(pattern: RegExp, msMax = 60_000): Promise<RegExpExecArray> {
    const untilMs = performance.now() + msMax
    for (;;) {
      const found = pattern.exec(this.out + this.err)
      if (found !== null) return found
      const left = untilMs - performance.now()
      if (left <= 0 || this.child.exitCode !== null) throw new Error(`never said ${pattern}: ${this.out}${this.err}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 200))
        this.#changed = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}
