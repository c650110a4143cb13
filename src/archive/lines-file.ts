/** Lines that are made one by one, gathered, and written so that DuckDB can read them. */
import type { FileHandle } from 'node:fs/promises'
import { readable } from './record-lines.ts'

const gatheredMax = 1024 * 1024

export class LinesFile {
  readonly #file: FileHandle
  #lines: string[] = []
  #gathered = 0
  /** Of all lines so far, about. */
  bytes = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  /** @param line without its line feed */
  add(line: string): void {
    this.#lines.push(line)
    this.#gathered += line.length
    this.bytes += line.length
  }

  async flushIfFull(): Promise<void> {
    if (this.#gathered >= gatheredMax) await this.flush()
  }

  async flush(): Promise<void> {
    if (this.#lines.length === 0) return
    const text = `${this.#lines.join('\n')}\n`
    this.#lines = []
    this.#gathered = 0
    await this.#file.writeFile(readable(Buffer.from(text)))
  }
}
