/**
 * Cassandra's own code, asked from TypeScript: one long-lived Java process for each oracle, a line in, a line out.
 * The jars come from `RINGFENCE_CASSANDRA_JARS`, or from where `npm start` puts them.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const here = import.meta.dirname
const jarsFolder =
  process.env.RINGFENCE_CASSANDRA_JARS ?? join(here, '..', '..', '.ringfence', 'parts', 'cassandra-5.0.9')

/** Why no oracle can run here, or undefined where they can. */
export function oracleMissing(): string | undefined {
  if (!existsSync(join(jarsFolder, 'cassandra-all-5.0.9.jar'))) return `no Cassandra jars in ${jarsFolder}`
  if (spawnSync('java', ['-version']).status !== 0) return 'no java in the path'
  return undefined
}

export class JavaLines {
  readonly #process: ChildProcess
  readonly #waiting: ((line: string) => void)[] = []

  /** @param source a file of this folder */
  constructor(source: string) {
    // The source launcher compiles the file in memory: about two seconds, and no class files to keep.
    this.#process = spawn(
      'java',
      ['-Xss16m', '-Xmx1g', '-XX:+UseSerialGC', ...javaFlags, '-cp', join(jarsFolder, '*'), join(here, source)],
      { stdio: ['pipe', 'pipe', 'ignore'] },
    )
    const lines = createInterface({ input: this.#process.stdout! })
    lines.on('line', (line) => this.#waiting.shift()?.(line))
    this.#process.on('exit', () => {
      for (const waiting of this.#waiting.splice(0)) waiting('X\tjava ended\t')
    })
  }

  /** Asks for many lines at once; answers come in order. */
  async ask(lines: readonly string[]): Promise<string[]> {
    const answers = lines.map(() => new Promise<string>((resolve) => this.#waiting.push(resolve)))
    this.#process.stdin?.write(lines.map((line) => `${line}\n`).join(''))
    return await Promise.all(answers)
  }

  stop(): void {
    this.#process.stdin?.end()
    this.#process.kill()
  }
}

const javaFlags = [
  // Two thirds of the texts are refused by an exception whose stack nobody reads, and most runs end before C2 pays.
  '-XX:-StackTraceInThrowable',
  '-XX:TieredStopAtLevel=1',
  '--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED',
  '--add-opens=java.base/java.lang=ALL-UNNAMED',
]
