/** One line per case on standard output, and the exit code. */

const caseTimeoutMs = 90_000

export interface Reporter {
  /** Runs one case and prints its line; never rejects. */
  run(name: string, body: () => Promise<unknown>): Promise<void>
  skip(name: string, why: string): void
  /** Ends the process: 0 when every case held, else 1. */
  finish(): never
}

export function createReporter(write: (line: string) => void = (line) => process.stdout.write(`${line}\n`)): Reporter {
  let failures = 0
  return {
    async run(name, body) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no result after ${caseTimeoutMs} ms`)), caseTimeoutMs)
      })
      try {
        await Promise.race([body(), late])
        write(`ok ${name}`)
      } catch (error) {
        failures++
        write(`not ok ${name}: ${describe(error)}`)
      } finally {
        clearTimeout(timer)
      }
    },
    skip(name, why) {
      write(`ok ${name} # skip ${why}`)
    },
    finish() {
      process.exit(failures === 0 ? 0 : 1)
    },
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, innerErrors } = error as { code?: unknown; innerErrors?: Record<string, unknown> }
  const inner = innerErrors ? ` [${Object.entries(innerErrors).map(([host, why]) => `${host}: ${String(why)}`)}]` : ''
  return `${error.name}${code === undefined ? '' : ` (code ${String(code)})`}: ${error.message}${inner}`.replaceAll(
    /\s+/g,
    ' ',
  )
}
