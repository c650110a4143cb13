/**
 * Roots that the control plane told, on disk: for a proxy whose certificate comes from a Workload API, so that it knows the rest of the mesh when it starts
 * while the control plane is away. Roots are no secret; who may write the file decides whom the proxy trusts.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { certificatesOf } from '../identity/chain.ts'
import { readIfThere, writeFileAtomically } from '../mesh/files.ts'

export class ControlRoots {
  readonly #path: string
  /** As they are on disk. */
  #pem = ''

  constructor(stateDir: string) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    this.#path = join(stateDir, 'roots.pem')
  }

  /** `''` where there are none yet. @throws RingfenceError IDENTITY where they are damaged */
  read(): string {
    const pem = readIfThere(this.#path) ?? ''
    certificatesOf(pem)
    this.#pem = pem
    return pem
  }

  has(pem: string): boolean {
    return this.#pem === pem
  }

  write(pem: string): void {
    writeFileAtomically(this.#path, pem, 0o600)
    this.#pem = pem
  }
}

/** `first`, then what of `others` is not in it, each written anew: OpenSSL reads nothing of a text in which an end has no line of its own. */
export function rootsTogether(first: string, others: string): string {
  const own = certificatesOf(first)
  const known = new Set(own.map(({ fingerprint256 }) => fingerprint256))
  const more = certificatesOf(others).filter(({ fingerprint256 }) => !known.has(fingerprint256))
  return [...own, ...more].map((one) => one.toString()).join('')
}
