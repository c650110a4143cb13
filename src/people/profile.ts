/**
 * What is remembered of a log-in, by the name of a profile: where to log in and which door to go to (`profile.json`), and what came of it
 * (`tokens.json`). A profile is one folder; nothing of it is anybody else's to read.
 */
import { readdirSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { checkOwnFolder, makeOwnFolder, readOwnFile, writeOwnFile } from './own-files.ts'

const profileSchema = z.strictObject({
  issuer: z.string(),
  clientId: z.string(),
  /** Of an installed application, which is no secret; some providers ask for it all the same. */
  clientSecret: z.string().optional(),
  scopes: z.array(z.string()).optional(),
  resource: z.string().optional(),
  audience: z.string().optional(),
  /** Which of the provider's tokens a door is shown; `auto`: the access token where it is a JSON Web Token, else the ID token. */
  token: z.enum(['auto', 'access', 'id']),
  redirectUri: z.string().optional(),
  issuerCaPem: z.string().optional(),
  door: z.strictObject({ address: z.string(), port: z.int() }).optional(),
  /** The roots of the mesh. */
  doorCaPem: z.string().optional(),
})
export type Profile = z.infer<typeof profileSchema>

const tokensSchema = z.strictObject({
  issuer: z.string(),
  clientId: z.string(),
  kind: z.enum(['access', 'id']),
  token: z.string(),
  expiresAtMs: z.number(),
  obtainedAtMs: z.number(),
  refreshToken: z.string().optional(),
  subject: z.string(),
  /** What the person is called, where the token says so. */
  name: z.string().optional(),
})
export type Tokens = z.infer<typeof tokensSchema>

/** Somebody who asks for the lock longer than two calls to a provider take. */
const lockMsMax = 30_000
const lockPollMs = 50

/** `--config-dir`, else `$XDG_CONFIG_HOME/ringfence`, else `~/.config/ringfence`. */
export function configFolder(flag: string | undefined): string {
  if (flag !== undefined) return flag
  const { XDG_CONFIG_HOME: config } = process.env
  return join(config === undefined || config === '' ? join(homedir(), '.config') : config, 'ringfence')
}

export class ProfileFolder {
  readonly name: string
  readonly path: string
  readonly #base: string

  constructor(base: string, name: string) {
    this.name = name
    this.#base = base
    this.path = join(base, 'profiles', name)
  }

  get tokensPath(): string {
    return join(this.path, 'tokens.json')
  }

  /** @throws RingfenceError CONFIG */
  profile(): Profile | undefined {
    return this.#read('profile.json', profileSchema)
  }

  /** @throws RingfenceError CONFIG */
  tokens(): Tokens | undefined {
    return this.#read('tokens.json', tokensSchema)
  }

  write(profile: Profile, tokens: Tokens): void {
    this.#make()
    writeOwnFile(join(this.path, 'profile.json'), `${JSON.stringify(profile, undefined, 2)}\n`)
    this.writeTokens(tokens)
  }

  writeTokens(tokens: Tokens): void {
    this.#make()
    writeOwnFile(this.tokensPath, `${JSON.stringify(tokens)}\n`)
  }

  /** Whatever their modes are. */
  removeTokens(): void {
    rmSync(this.tokensPath, { force: true })
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }

  /** Names of all profiles of the same folder. */
  names(): string[] {
    try {
      return readdirSync(join(this.#base, 'profiles')).sort()
    } catch {
      return []
    }
  }

  /**
   * One process at a time, for a refresh token may be good for one use only. The lock is one of SQLite, which the system takes back from a
   * process that dies.
   */
  async locked<T>(work: () => Promise<T>): Promise<T> {
    this.#make()
    const db = new DatabaseSync(join(this.path, 'lock'), { timeout: 0 })
    try {
      const untilMs = performance.now() + lockMsMax
      while (!taken(db)) {
        if (performance.now() > untilMs) {
          throw new RingfenceError('UNAVAILABLE', `another process has the log-in of profile ${this.name}`, {
            hint: 'try again',
          })
        }
        await sleep(lockPollMs)
      }
      return await work()
    } finally {
      db.close()
    }
  }

  #make(): void {
    makeOwnFolder(this.#base)
    makeOwnFolder(join(this.#base, 'profiles'))
    makeOwnFolder(this.path)
  }

  #read<T>(name: string, schema: z.ZodType<T>): T | undefined {
    for (const folder of [this.#base, this.path]) checkOwnFolder(folder)
    const path = join(this.path, name)
    const text = readOwnFile(path)
    if (text === undefined) return undefined
    try {
      return schema.parse(JSON.parse(text))
    } catch {
      // What is wrong with it might quote it.
      throw new RingfenceError('CONFIG', `${path} is not what ringfence login writes`, {
        hint: 'remove it, then ringfence login',
      })
    }
  }
}

function taken(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN EXCLUSIVE')
    return true
  } catch (reason) {
    if (reason instanceof Error && /locked|busy/.test(reason.message)) return false
    throw reason
  }
}
