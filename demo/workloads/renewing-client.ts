/**
 * A connection lives no longer than the certificate that it was opened with. So each new certificate gets a new client, and the one before
 * is closed when none of its requests can be in flight any more.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** The driver gives a request up after this (its `readTimeout`), so nothing is in flight any more. */
const requestMsMax = 12_000

/** A driver's client. */
interface Renewable {
  connect(): Promise<void>
  shutdown(): Promise<void>
}

export class RenewingClient<C extends Renewable> {
  readonly #make: () => C
  readonly #closeAfterMs: number
  #client: C
  /** Renewals so far, and the one whose client is in use. */
  #renewals = 0
  #inUse = 0

  /** `make` takes the certificate of now. */
  constructor(make: () => C, closeAfterMs = requestMsMax) {
    this.#make = make
    this.#closeAfterMs = closeAfterMs
    this.#client = make()
  }

  get client(): C {
    return this.#client
  }

  close(): Promise<void> {
    return shutDown(this.#client)
  }

  /** There is a new certificate. Resolves when the client before is closed. */
  async renew(): Promise<void> {
    const renewal = ++this.#renewals
    const next = this.#make()
    try {
      await next.connect()
    } catch {
      // The client before goes on, and opens its next connections with the certificate that it knows until the next renewal.
      await shutDown(next)
      return
    }
    // One for a later certificate was quicker.
    if (renewal < this.#inUse) {
      await shutDown(next)
      return
    }
    const before = this.#client
    this.#client = next
    this.#inUse = renewal
    await sleep(this.#closeAfterMs)
    await shutDown(before)
  }
}

function shutDown(client: Renewable): Promise<void> {
  return client.shutdown().catch(() => {})
}
