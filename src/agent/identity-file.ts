/** The agent's identity on disk: its key, its certificate and the roots that it trusts. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { parseJson } from '../mesh/answer.ts'
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import { readIfThere, writeFileAtomically } from '../mesh/files.ts'

const identity = z.object({ certificatePem: z.string(), keyPem: z.string(), bundlePem: z.string() })

export class IdentityFile {
  readonly #path: string

  constructor(stateDir: string) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    this.#path = join(stateDir, 'identity.json')
  }

  /** @throws RingfenceError IDENTITY where there is a file that cannot be read */
  read(): Credentials | undefined {
    const text = readIfThere(this.#path)
    if (text === undefined) return undefined
    const { success, data } = identity.safeParse(parseJson(text))
    if (!success) {
      throw new RingfenceError('IDENTITY', `${this.#path} is damaged`, {
        hint: 'remove it and enrol again with a new join token',
      })
    }
    return credentialsOf(data.certificatePem, data.keyPem, data.bundlePem)
  }

  write({ certificatePem, keyPem, bundlePem }: Credentials): void {
    writeFileAtomically(this.#path, JSON.stringify({ certificatePem, keyPem, bundlePem }), 0o600)
  }
}
