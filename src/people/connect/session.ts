/**
 * The log-in that `ringfence connect` works with: looked at each second, renewed before it ends, and told of at the terminal when a person
 * has to do something. The store is read anew for each connection, so that a log-in or log-out at another terminal counts at once.
 */
import { every, type Owner, settle } from '../../base/contained.ts'
import { RingfenceError } from '../../base/errors.ts'
import { currentTokens, renewalAtMs, renewed } from '../log-in-kept.ts'
import type { ProfileFolder, Tokens } from '../profile.ts'
import { LogInDue } from '../provider.ts'

const lookMs = 1_000
/** After a renewal that failed: so long, twice as long each time, up to the second. */
const backOffMsMin = 2_000
const backOffMsMax = 60_000
/** Somebody is told so long before a log-in ends that is not renewed by itself. */
const warnMs = 300_000

export class LogInSession implements Owner {
  readonly #folder: ProfileFolder
  readonly #say: (words: string) => void
  readonly #left: () => void
  /** Who is logged in; empty for nobody. */
  #who = ''
  #timer: NodeJS.Timeout | undefined
  #isRenewing = false
  #notBeforeMs = 0
  #backOffMs = backOffMsMin
  /** What was said last and still holds; empty where all is well. */
  #said = ''

  /** @param left is called when who was logged in is not any more: logged out, or somebody else in that place */
  constructor(folder: ProfileFolder, say: (words: string) => void, left: () => void) {
    this.#folder = folder
    this.#say = say
    this.#left = left
  }

  /** @param tokens those of now */
  start(tokens: Tokens): void {
    this.#who = whoOf(tokens)
    this.#timer = every(this, 'a look at the log-in', lookMs, () => this.#look(Date.now()))
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  onFault(): void {
    this.#isRenewing = false
  }

  /** One that is good now. @throws LogInDue; RingfenceError UNAVAILABLE, CONFIG */
  async tokens(): Promise<Tokens> {
    const nowMs = Date.now()
    const kept = this.#folder.tokens()
    if (kept !== undefined && nowMs < kept.expiresAtMs) return kept
    return await currentTokens(this.#folder, nowMs)
  }

  #look(nowMs: number): void {
    let kept: Tokens | undefined
    try {
      kept = this.#folder.tokens()
    } catch (reason) {
      this.#tell(RingfenceError.from(reason, 'CONFIG'))
      return
    }
    const { name } = this.#folder
    const before = this.#who
    this.#who = kept === undefined ? '' : whoOf(kept)
    if (before !== '' && before !== this.#who) this.#left()
    if (kept === undefined) this.#tell(new LogInDue(`nobody is logged in with profile ${name}`, name))
    else if (kept.refreshToken === undefined) this.#lookAtEnd(kept, nowMs)
    else if (nowMs < renewalAtMs(kept)) this.#isWell()
    else if (!this.#isRenewing && nowMs >= this.#notBeforeMs) this.#renew(nowMs)
  }

  #lookAtEnd({ expiresAtMs }: Tokens, nowMs: number): void {
    const { name } = this.#folder
    if (nowMs >= expiresAtMs) this.#tell(new LogInDue(`the log-in of profile ${name} has ended`, name))
    else if (nowMs >= expiresAtMs - warnMs) {
      const at = new Date(expiresAtMs).toISOString().slice(11, 19)
      this.#tell(new LogInDue(`the log-in of profile ${name} ends at ${at} UTC and is not renewed by itself`, name))
    } else this.#isWell()
  }

  #renew(nowMs: number): void {
    this.#isRenewing = true
    settle(
      this,
      'a renewal',
      renewed(this.#folder, nowMs),
      () => {
        this.#isRenewing = false
        this.#backOffMs = backOffMsMin
        this.#isWell()
      },
      (reason) => {
        this.#isRenewing = false
        this.#notBeforeMs = Date.now() + this.#backOffMs * (1 + Math.random() / 4)
        this.#backOffMs = Math.min(backOffMsMax, this.#backOffMs * 2)
        this.#tell(RingfenceError.from(reason, 'UNAVAILABLE'))
      },
    )
  }

  #tell({ message, hint }: RingfenceError): void {
    const words = hint === undefined ? message : `${message} (${hint})`
    if (words === this.#said) return
    this.#said = words
    this.#say(words)
  }

  #isWell(): void {
    if (this.#said === '') return
    this.#said = ''
    this.#say('the log-in is good again')
  }
}

function whoOf({ issuer, subject }: Tokens): string {
  return `${issuer} ${subject}`
}
