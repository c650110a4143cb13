/**
 * The keys by which the control plane signs transaction tokens. The private ones stay in its state folder; the public ones go to the sidecars.
 *
 *   newest  published at once, signs when every sidecar has had time to get it
 *   before  signs until then; stays published while a token of it may live, and longer by a margin
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { z } from 'zod'
import type { Clock } from '../../base/clock.ts'
import { type PublicJwk, publicJwk } from '../../identity/jwt/keys.ts'
import { type TxnSigner, txnTokenLifeMsMax } from '../../identity/txn/token.ts'
import { readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import type { Observed } from '../../mesh/observable.ts'
import { txnKeysMax } from '../../mesh/pushed.ts'
import type { Logger } from '../../telemetry/log.ts'

export const txnKeyLifeMs = 24 * 60 * 60 * 1000
/** From its making to its first token. */
export const txnKeyAheadMs = 10 * 60 * 1000
/** How long a key stays published after its last token was made. */
const keptMs = 2 * txnTokenLifeMsMax

const keptKey = z.object({ kid: z.string().min(1).max(64), privatePem: z.string().max(4096), createdAtMs: z.number() })
const keptKeys = z.object({ keys: z.array(keptKey).max(txnKeysMax) })

interface Key extends TxnSigner {
  readonly publicJwk: PublicJwk
  readonly createdAtMs: number
}

export interface TxnKeysOptions {
  readonly published: Observed<readonly PublicJwk[]>
  readonly clock: Clock
  readonly log: Logger
  readonly stateDir: string
}

export class TxnKeys {
  readonly #options: TxnKeysOptions
  readonly #path: string
  /** Newest first. */
  #keys: readonly Key[]

  /** Makes the first key where there is none, and the next where it is due. */
  constructor(options: TxnKeysOptions) {
    this.#options = options
    this.#path = join(options.stateDir, 'txn-keys.json')
    this.#keys = this.#read()
    if (!this.rotateIfDue()) this.#publish()
  }

  /** The one that signs now. */
  get signer(): TxnSigner {
    return this.#keys[this.#signing(this.#options.clock.now())]!
  }

  /** True when it made one. A key made while the clock was far ahead of now counts as old too. */
  rotateIfDue(): boolean {
    const nowMs = this.#options.clock.now()
    const [newest] = this.#keys
    if (newest !== undefined && Math.abs(nowMs - newest.createdAtMs) < txnKeyLifeMs) {
      return this.#forget(nowMs)
    }
    this.#keys = [makeKey(nowMs), ...this.#keys].slice(0, txnKeysMax)
    this.#forget(nowMs)
    this.#write()
    this.#publish()
    return true
  }

  /** The newest that is old enough; the oldest where none is, as at the first start. */
  #signing(nowMs: number): number {
    const at = this.#keys.findIndex(({ createdAtMs }) => Math.abs(nowMs - createdAtMs) >= txnKeyAheadMs)
    return at === -1 ? this.#keys.length - 1 : at
  }

  /** Those that no token can be of any more. True where there were some. */
  #forget(nowMs: number): boolean {
    const signing = this.#signing(nowMs)
    const signsSinceMs = (this.#keys[signing]?.createdAtMs ?? nowMs) + txnKeyAheadMs
    const isOver = nowMs - signsSinceMs >= keptMs
    if (!isOver || signing === this.#keys.length - 1) return false
    this.#keys = this.#keys.slice(0, signing + 1)
    this.#write()
    this.#publish()
    return true
  }

  #publish(): void {
    this.#options.published.set(this.#keys.map((key) => key.publicJwk))
  }

  #write(): void {
    const keys = this.#keys.map(({ kid, privateKey, createdAtMs }) => ({
      kid,
      privatePem: pemOf(privateKey),
      createdAtMs,
    }))
    try {
      writeFileAtomically(this.#path, JSON.stringify({ keys }), 0o600)
    } catch (err) {
      this.#options.log.error({ err }, 'keys of transaction tokens could not be kept for the next start')
    }
  }

  /** Where the file is damaged they are made anew: that costs the tokens of the last minutes. */
  #read(): readonly Key[] {
    try {
      const { keys } = keptKeys.parse(JSON.parse(readIfThere(this.#path) ?? '{"keys":[]}'))
      return keys.map(({ kid, privatePem, createdAtMs }) => keyOf(kid, createPrivateKey(privatePem), createdAtMs))
    } catch {
      // What the file says may be a part of a key.
      this.#options.log.warn({ path: this.#path }, 'kept keys of transaction tokens cannot be read; new ones are made')
      return []
    }
  }
}

function makeKey(createdAtMs: number): Key {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return keyOf(randomBytes(8).toString('hex'), privateKey, createdAtMs)
}

function keyOf(kid: string, privateKey: KeyObject, createdAtMs: number): Key {
  const { kty, crv, x, y } = privateKey.export({ format: 'jwk' })
  return { kid, privateKey, createdAtMs, publicJwk: publicJwk.parse({ kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }) }
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
