/** The token of an application in a file, renewed as an agent beside it would: at half of its life, and each second while the provider is away. */
import { renameSync, writeFileSync } from 'node:fs'
import { decodeJwt } from 'jose'

const retryMs = 1_000

export class TokenFile {
  readonly path: string
  readonly #get: () => Promise<string>
  #timer: NodeJS.Timeout | undefined
  #renewal: Promise<void> = Promise.resolve()
  #stopped = false
  /** Of the token that is there now, since 1970. */
  endsAtMs = 0
  /** Of how many tokens there have been. */
  count = 0

  private constructor(path: string, get: () => Promise<string>) {
    this.path = path
    this.#get = get
  }

  /** Rejects where there is no first token. */
  static async open(path: string, get: () => Promise<string>): Promise<TokenFile> {
    const made = new TokenFile(path, get)
    made.#write(await get())
    made.#renewAfter((made.endsAtMs - Date.now()) / 2)
    return made
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  /** What was asked for already has come, or will not. */
  settled(): Promise<void> {
    return this.#renewal
  }

  #renewAfter(ms: number): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#renewal = this.#renew()
    }, ms)
  }

  async #renew(): Promise<void> {
    try {
      this.#write(await this.#get())
      this.#renewAfter((this.endsAtMs - Date.now()) / 2)
    } catch {
      // The provider is away.
      this.#renewAfter(retryMs)
    }
  }

  #write(token: string): void {
    writeFileSync(`${this.path}.new`, token, { mode: 0o600 })
    renameSync(`${this.path}.new`, this.path)
    this.endsAtMs = decodeJwt(token).exp! * 1_000
    this.count++
  }
}
