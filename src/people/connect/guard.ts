/** Who may use a listener on loopback, which every user of the machine can reach. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { readPassword } from '../../identity/proofs/plain.ts'
import { writeOwnFile } from '../own-files.ts'
import { type Ends, userAtOtherEnd } from './same-user.ts'

/** `credentials`: whoever has the password; `user`: processes of the user who started it; `none`: every process of the machine. */
export type GuardKind = 'credentials' | 'user' | 'none'

const user = 'ringfence'

export class Guard {
  readonly kind: GuardKind
  readonly #password: Buffer | undefined

  private constructor(kind: GuardKind, password?: string) {
    this.kind = kind
    this.#password = password === undefined ? undefined : Buffer.from(password)
  }

  /** A new password, which is written to a file that only its owner may read, as cqlsh reads it with --credentials. */
  static byCredentials(path: string): Guard {
    const password = randomBytes(24).toString('base64url')
    writeOwnFile(path, `[plain_text_auth]\nusername = ${user}\npassword = ${password}\n`)
    return new Guard('credentials', password)
  }

  /** By the owner of the other end, where the system tells of this connection, which we made ourselves. */
  static async byUser(own: Ends): Promise<Guard> {
    const known = await userAtOtherEnd(own)
    return new Guard(known !== undefined && known === process.getuid?.() ? 'user' : 'none')
  }

  static byNobody(): Guard {
    return new Guard('none')
  }

  /** Why a connection is not taken; undefined where it is. */
  async refusal(ends: Ends): Promise<string | undefined> {
    if (this.kind !== 'user') return undefined
    const uid = await userAtOtherEnd(ends)
    if (uid === process.getuid?.()) return undefined
    const whose = uid === undefined ? 'of nobody that the system knows' : `of another user (${uid})`
    return `a connection ${whose} was closed`
  }

  /** An AUTH_RESPONSE of PLAIN. */
  isRight(answer: Buffer): boolean {
    if (this.#password === undefined) return false
    const { user: given, password = '' } = readSafely(answer) ?? {}
    const bytes = Buffer.from(password)
    return given === user && bytes.length === this.#password.length && timingSafeEqual(bytes, this.#password)
  }
}

function readSafely(answer: Buffer): { user: string; password: string } | undefined {
  try {
    return readPassword(answer, () => true, 'the password')
  } catch {
    return undefined
  }
}
