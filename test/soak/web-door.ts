/** The door for browsers, asked again and again as they do: each time a new connection, whose certificate is verified by the roots of that moment. */
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { FailureCounts } from './failures.ts'

const everyMs = 200
const answerMsMax = 30_000

export class WebDoor {
  requests = 0
  failed = 0
  readonly #failures = new FailureCounts()
  readonly #url: string
  readonly #caFile: string
  #working: Promise<void> | undefined
  #stopped = false

  constructor(url: string, caFile: string) {
    this.#url = url
    this.#caFile = caFile
  }

  /** How often each failure was said. */
  get said(): Readonly<Record<string, number>> {
    return this.#failures.said
  }

  start(): void {
    this.#working = this.#work()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#working
  }

  async #work(): Promise<void> {
    while (!this.#stopped) {
      this.requests++
      const fault = await this.#ask()
      if (fault !== undefined) {
        this.failed++
        this.#failures.add(fault)
      }
      await sleep(everyMs)
    }
  }

  /** Who asks for a page and is not logged in is sent to do so: that is an answer. */
  #ask(): Promise<string | undefined> {
    return new Promise((resolve) => {
      const ca = readFileSync(this.#caFile)
      const options = { ca, agent: false, timeout: answerMsMax, headers: { accept: 'text/html' } }
      const sent = request(this.#url, options, (answer) => {
        answer.resume()
        answer.on('end', () => {
          const { statusCode = 0 } = answer
          resolve(statusCode >= 200 && statusCode < 400 ? undefined : `HTTP ${statusCode}`)
        })
        answer.on('error', (error) => resolve(String(error)))
      })
      sent.on('timeout', () => sent.destroy(new Error(`no answer within ${answerMsMax / 1000} s`)))
      sent.on('error', (error) => resolve(String(error)))
      sent.end()
    })
  }
}
