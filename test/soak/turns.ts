/**
 * The authorities take turns while the mesh works: `ringfence ca prepare | activate | taint | revoke`, in the order of docs/rotate.md, by the socket that
 * those commands use. And what is said of each, by the control plane's own account.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../../src/base/errors.ts'
import type { AdminClient } from '../../src/cli/admin-client.ts'

type Say = (line: string) => void

const retryMs = 2_000
/** A life of certificates, their minute to renew, and a busy machine. */
const allowedMsMax = 180_000

/** What signed when; authorities that are over are forgotten by the control plane. */
export class Turns {
  readonly #admin: AdminClient
  readonly #say: Say
  readonly #beganMs = Date.now()
  readonly #seen = new Map<string, 'root' | 'issuing'>()
  readonly #revoked = new Set<string>()

  constructor(admin: AdminClient, say: Say) {
    this.#admin = admin
    this.#say = say
  }

  /** Issuing keys and roots that have begun to sign since, and roots that were taken out of all bundles. */
  get counts(): { issuing: number; root: number; revoked: number } {
    const kinds = [...this.#seen.values()]
    const issuing = kinds.filter((kind) => kind === 'issuing').length
    return { issuing, root: kinds.length - issuing, revoked: this.#revoked.size }
  }

  async look(): Promise<void> {
    const { authorities } = await this.#admin.authorities()
    for (const { id, kind, activatedMs = 0 } of authorities) {
      if (activatedMs <= this.#beganMs || this.#seen.has(id)) continue
      this.#seen.set(id, kind)
      this.#say(`${kind} key ${id.slice(0, 12)} signs`)
    }
  }

  /** Where one is prepared already, by itself, it is that one's turn. */
  async turnIssuing(): Promise<void> {
    const { authorities } = await this.#admin.authorities()
    const isPrepared = authorities.some(({ kind, state }) => kind === 'issuing' && state === 'prepared')
    if (!isPrepared) await this.#admin.prepareAuthority({ kind: 'issuing' })
    await this.#admin.activateAuthority({ kind: 'issuing' })
    await this.look()
  }

  /** Prepared, known to all, active; then the one before it is tainted, and trusted no more. */
  async turnRoot(signal: AbortSignal): Promise<void> {
    const { authorities } = await this.#admin.authorities()
    const before = authorities.find(({ kind, state }) => kind === 'root' && state === 'active')!
    const { authority } = await this.#admin.prepareAuthority({ kind: 'root' })
    this.#say(`root ${authority.id.slice(0, 12)} is prepared: both are trusted`)
    await this.#whenAllowed(signal, () => this.#admin.activateAuthority({ kind: 'root' }))
    await this.look()
    await this.#admin.taintAuthority({ id: before.id })
    this.#say(`root ${before.id.slice(0, 12)} is tainted`)
    await this.#whenAllowed(signal, () => this.#admin.revokeAuthority({ id: before.id, reason: 'soak' }))
    this.#revoked.add(before.id)
    this.#say(`root ${before.id.slice(0, 12)} is trusted no more`)
  }

  /** Refused as too early until everybody has heard. */
  async #whenAllowed(signal: AbortSignal, work: () => Promise<unknown>): Promise<void> {
    const untilMs = performance.now() + allowedMsMax
    for (;;) {
      try {
        await work()
        return
      } catch (reason) {
        const isEarly = reason instanceof RingfenceError && reason.code === 'USAGE'
        if (!isEarly || performance.now() > untilMs) throw reason
      }
      await sleep(retryMs, undefined, { signal })
    }
  }
}
