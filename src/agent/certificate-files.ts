/**
 * The files of a certificate, for programs that know nothing of the mesh: each is replaced as a whole, and then who serves from them is
 * told, by a command as a rule, so that they are read again.
 *
 * Rule: neither a file that cannot be written nor a command that fails is in the way of a renewal. Both are said and tried again.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { containOwnFault, nothingEnds, unawaited } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { certificatesOf } from '../identity/chain.ts'
import { type Credentials, credentialsVersion } from '../mesh/credentials.ts'
import { removeLeftBeside, replaceFile } from '../mesh/files.ts'
import type { Observable } from '../mesh/observable.ts'
import type { Logger } from '../telemetry/log.ts'
import { Repeated } from '../telemetry/repeated.ts'
import { runCommand } from './command.ts'

const commandMsMaxDefault = 30_000
const retryMsMin = 200
const retryMsMax = 30_000

/** One file, and what of a certificate stands in it. */
export interface CertificateFile {
  readonly path: string
  readonly text: (credentials: Credentials) => string
  readonly mode: number
  /** Those bits of the mode of a file that is there which its successor keeps, with owner and group; without it `mode` holds. */
  readonly keptMode?: number
}

export interface CertificateFilesOptions {
  /** In the order in which they are written. */
  readonly files: readonly CertificateFile[]
  /**
   * Has who serves from the files read them, after each change. Resolves with nothing when it was told; with a time where nobody is there to be
   * told, and it is to be tried again then. @throws RingfenceError UNAVAILABLE
   */
  readonly tell: ((credentials: Credentials) => Promise<number | undefined>) | undefined
  readonly log: Logger
}

/** By the shell; see `tell`. */
export function tellByCommand(
  command: string,
  log: Logger,
  msMax = commandMsMaxDefault,
): (credentials: Credentials) => Promise<undefined> {
  return async () => {
    await runCommand(command, msMax)
    log.info('command was run')
    return undefined
  }
}

export interface FolderOptions {
  readonly dir: string
  /** Also key and chain in one file, which no reader finds half renewed. */
  readonly combined: boolean
  /** A file with key, chain and roots. */
  readonly pemBundle: string | undefined
}

/** The usual files in a folder, which is made. @throws RingfenceError CONFIG where it cannot be */
export function filesInFolder({ dir, combined, pemBundle }: FolderOptions): CertificateFile[] {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new RingfenceError('CONFIG', `the folder ${dir} cannot be made: ${why}`, { cause })
  }
  // The key first: a reader between two files sees a pair that does not fit and tries again, never a key of mode 0644.
  return [
    { path: join(dir, 'key.pem'), text: ({ keyPem }) => keyPem, mode: 0o600 },
    { path: join(dir, 'svid.pem'), text: ({ certificatePem }) => certificatePem, mode: 0o644 },
    { path: join(dir, 'bundle.pem'), text: ({ bundlePem }) => bundlePem, mode: 0o644 },
    ...(combined
      ? [
          {
            path: join(dir, 'combined.pem'),
            text: ({ keyPem, certificatePem }: Credentials) => keyPem + certificatePem,
            mode: 0o600,
          },
        ]
      : []),
    ...(pemBundle === undefined ? [] : [{ path: pemBundle, text: keyStoreText, mode: 0o600 }]),
  ]
}

/**
 * As Cassandra's PEMBasedSslContextFactory reads a key store: one file, so that key and chain always fit. Java takes a chain in which each certificate is signed
 * by the next one, and no other: of several roots that are trusted only the one that signed this chain stands in it.
 */
export function keyStoreText({
  keyPem,
  certificatePem,
  bundlePem,
}: Pick<Credentials, 'keyPem' | 'certificatePem' | 'bundlePem'>): string {
  const last = certificatesOf(certificatePem).at(-1)
  const root = certificatesOf(bundlePem).find((one) => last?.checkIssued(one) === true && last.verify(one.publicKey))
  return `${keyPem}${certificatePem}${root === undefined ? '' : root.toString()}`
}

export class CertificateFiles {
  readonly #options: CertificateFilesOptions
  readonly #repeated = new Repeated()
  readonly #stopped = new AbortController()
  /** Versions of what was written last, and of what was last told. */
  #written: string | undefined
  #told: string | undefined
  #failures = 0
  #following: Promise<void> | undefined
  readonly #tried = Promise.withResolvers<void>()
  /** Ends a pause: there is a newer certificate. */
  #changed = new AbortController()

  constructor(options: CertificateFilesOptions) {
    this.#options = options
  }

  /**
   * Writes what is not written, then tells of it unless that was told. Resolves with a time after which to do so again where nobody is there to
   * be told. @throws RingfenceError UNAVAILABLE
   */
  async put(credentials: Credentials): Promise<number | undefined> {
    const version = credentialsVersion(credentials)
    if (version !== this.#written) {
      await this.#write(credentials)
      this.#written = version
    }
    this.#tried.resolve()
    if (version === this.#told) return undefined
    const againMs = await this.#options.tell?.(credentials)
    if (againMs === undefined) this.#told = version
    return againMs
  }

  /** Resolves when it was tried once to write the files, however that ended. */
  get tried(): Promise<void> {
    return this.#tried.promise
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
      this.#tried.resolve()
      if (!this.#stopped.signal.aborted) await pause(pauseMs, this.#changed.signal)
    }
  }

  /** How long to wait for the next try; undefined where there is nothing to try again. */
  async #putOrSay(credentials: Credentials): Promise<number | undefined> {
    const { log } = this.#options
    try {
      const againMs = await this.put(credentials)
      this.#failures = 0
      this.#repeated.over()
      return againMs
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
    const { files, log } = this.#options
    const { spiffeId, notAfterMs } = credentials
    for (const file of files) {
      // Before the first one only: what a process that was killed left behind has a key in it.
      if (this.#written === undefined) await this.#try(file.path, () => removeLeftBeside(file.path))
      await this.#try(file.path, () => replaceFile(file.path, file.text(credentials), file.mode, file.keptMode))
    }
    log.info({ spiffeId, out: files.map(({ path }) => path), notAfterMs }, 'certificate written')
  }

  async #try(path: string, write: () => Promise<void>): Promise<void> {
    try {
      await write()
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
