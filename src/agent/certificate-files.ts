/**
 * The files of a certificate, for programs that know nothing of the mesh: each is replaced as a whole, and then a command is run, so that
 * who serves from them reads them again.
 *
 * Rule: neither a file that cannot be written nor a command that fails is in the way of a renewal. Both are said and tried again.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { containOwnFault, nothingEnds, unawaited } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { type Credentials, credentialsVersion } from '../mesh/credentials.ts'
import { replaceFile } from '../mesh/files.ts'
import type { Observable } from '../mesh/observable.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { runCommand } from './command.ts'

const commandMsMaxDefault = 30_000
const retryMsMin = 200
const retryMsMax = 30_000

export interface CertificateFilesOptions {
  readonly dir: string
  /** Also key and chain in one file, which no reader finds half renewed. */
  readonly combined: boolean
  /** A file with key, chain and roots. */
  readonly pemBundle: string | undefined
  /** By the shell, after each change. */
  readonly command: string | undefined
  readonly commandMsMax?: number
  readonly log: Logger
}

export class CertificateFiles {
  readonly #options: CertificateFilesOptions
  readonly #repeated = new Repeated()
  readonly #stopped = new AbortController()
  /** Versions of what was written last, and of what the command was last run for. */
  #written: string | undefined
  #told: string | undefined
  #failures = 0
  #following: Promise<void> | undefined
  /** Ends a pause: there is a newer certificate. */
  #changed = new AbortController()

  /** @throws RingfenceError CONFIG where the folder cannot be made */
  constructor(options: CertificateFilesOptions) {
    this.#options = options
    try {
      mkdirSync(options.dir, { recursive: true, mode: 0o700 })
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new RingfenceError('CONFIG', `the folder ${options.dir} cannot be made: ${why}`, { cause })
    }
  }

  /** Writes what is not written, then runs the command unless it was run for this one. @throws RingfenceError UNAVAILABLE */
  async put(credentials: Credentials): Promise<void> {
    const version = credentialsVersion(credentials)
    if (version !== this.#written) {
      await this.#write(credentials)
      this.#written = version
    }
    const { command, commandMsMax = commandMsMaxDefault, log } = this.#options
    if (version === this.#told) return
    if (command !== undefined) {
      await runCommand(command, commandMsMax)
      log.info('command was run')
    }
    this.#told = version
  }

  /** From now on until `stop`: what is in force is in the files, and was told of. */
  follow(credentials: Observable<Credentials>): void {
    credentials.observe(() => this.#changed.abort())
    this.#following = this.#follow(credentials)
    unawaited(nothingEnds, 'the files of a certificate', this.#following)
  }

  /** A command that runs is waited for. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#changed.abort()
    await this.#following
  }

  async #follow(credentials: Observable<Credentials>): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#changed = new AbortController()
      const pauseMs = await this.#putOrSay(credentials.current)
      if (!this.#stopped.signal.aborted) await pause(pauseMs, this.#changed.signal)
    }
  }

  /** How long to wait for the next try; undefined where there is nothing to try again. */
  async #putOrSay(credentials: Credentials): Promise<number | undefined> {
    const { log } = this.#options
    try {
      await this.put(credentials)
      this.#failures = 0
      this.#repeated.over()
      return undefined
    } catch (reason) {
      containOwnFault('the files of a certificate', reason)
      const { message } = RingfenceError.from(reason, 'UNAVAILABLE')
      const isWritten = this.#written === credentialsVersion(credentials)
      const text = isWritten
        ? 'certificate was written, but the command failed; trying again'
        : 'certificate was not written, trying again'
      const repeated = this.#repeated.due(`${text}: ${message}`)
      const { notAfterMs } = credentials
      if (repeated !== undefined) log.error({ reason: message, notAfterMs, repeated }, text)
      return retryMsMin + Math.random() * Math.min(retryMsMax, 1_000 * 2 ** this.#failures++)
    }
  }

  async #write(credentials: Credentials): Promise<void> {
    const { dir, pemBundle, combined, log } = this.#options
    const { keyPem, certificatePem, bundlePem, spiffeId, notAfterMs } = credentials
    // The key first: a reader between two files sees a pair that does not fit and tries again, never a key of mode 0644.
    await this.#replace(join(dir, 'key.pem'), keyPem, 0o600)
    await this.#replace(join(dir, 'svid.pem'), certificatePem, 0o644)
    await this.#replace(join(dir, 'bundle.pem'), bundlePem, 0o644)
    if (combined) await this.#replace(join(dir, 'combined.pem'), keyPem + certificatePem, 0o600)
    if (pemBundle !== undefined) await this.#replace(pemBundle, keyPem + certificatePem + bundlePem, 0o600)
    log.info({ spiffeId, out: dir, notAfterMs }, 'certificate written')
  }

  async #replace(path: string, text: string, mode: number): Promise<void> {
    try {
      await replaceFile(path, text, mode)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new RingfenceError('UNAVAILABLE', `${path} cannot be written: ${why}`, { cause })
    }
  }
}

async function pause(ms: number | undefined, signal: AbortSignal): Promise<void> {
  // A day, where only a change ends it.
  await sleep(ms ?? 86_400_000, undefined, { signal }).catch(() => {})
}
