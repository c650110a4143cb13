/** The turns of this process's event loop, by the CPU that they took: what else the machine does counts for nothing. */
export class Turns {
  #stopped = false
  #longestMicros = 0
  #before = process.threadCpuUsage()

  constructor() {
    const turn = (): void => {
      const { user, system } = process.threadCpuUsage(this.#before)
      this.#before = process.threadCpuUsage()
      this.#longestMicros = Math.max(this.#longestMicros, user + system)
      if (!this.#stopped) setImmediate(turn)
    }
    setImmediate(turn)
  }

  /** Of the longest since the last call. */
  takeMs(): number {
    const longestMs = this.#longestMicros / 1000
    this.#longestMicros = 0
    return longestMs
  }

  stop(): void {
    this.#stopped = true
  }
}
