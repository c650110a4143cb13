/** Long steps, shown: one line that lives on a terminal, plain lines elsewhere. */

export interface Progress {
  /** Runs `work` and shows `title` with the time it takes. `report` shows how far it is. */
  step<T>(title: string, work: (report: (detail: string) => void) => Promise<T>): Promise<T>
  note(line: string): void
}

export interface ProgressTarget {
  write(text: string): unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

const frames = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'
/** A step that is over sooner leaves no line, unless it reported something. */
const quietMs = 2_000

export function createProgress(out: ProgressTarget = process.stdout): Progress {
  const live = out.isTTY === true
  const clear = (): void => {
    if (live) out.write('\r\x1b[K')
  }
  return {
    note(line) {
      clear()
      out.write(`${line}\n`)
    },
    async step(title, work) {
      const started = performance.now()
      const elapsed = (): string => `${((performance.now() - started) / 1000).toFixed(0)} s`
      let detail = ''
      let turn = 0
      let announced = false
      const timer = setInterval(
        () => {
          if (live) {
            const line = `${frames[turn++ % frames.length]} ${title}${detail === '' ? '' : ` · ${detail}`} · ${elapsed()}`
            out.write(`\r\x1b[K${line.slice(0, Math.max(20, (out.columns ?? 80) - 1))}`)
          } else if (!announced) {
            announced = true
            out.write(`… ${title}\n`)
          }
        },
        live ? 100 : quietMs,
      )
      try {
        const result = await work((text) => {
          detail = text
        })
        clear()
        if (performance.now() - started >= quietMs) out.write(`√ ${title} (${elapsed()})\n`)
        return result
      } catch (reason) {
        clear()
        out.write(`× ${title} (${elapsed()})\n`)
        throw reason
      } finally {
        clearInterval(timer)
      }
    },
  }
}
