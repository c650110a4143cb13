/**
 * Roots of others that sign for the trust domain of this mesh, such as those of a SPIRE server: what they sign counts as what the mesh's own authorities sign.
 *
 *   Workload API ─ its bundle of our trust domain ─▶ `outside-roots.pem` ─▶ the bundle that the mesh is told
 *
 * Rule: they are what an operator named by `--roots-from`, and are trusted for nothing once he does not. Bundles of other trust domains are not looked at.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { X509Certificate } from '@peculiar/x509'
import { RingfenceError } from '../../base/errors.ts'
import { certificatesOf } from '../../identity/chain.ts'
import { flushFolder, readIfThere, writeFileAtomically } from '../../mesh/files.ts'
import { idOf } from './signer.ts'

const fileName = 'outside-roots.pem'
/** Of them; together with the mesh's own there is room in what proxies are told (`authoritiesMax`). */
const outsideRootsMax = 16
/** As the leaves that they sign name them. */
const idShape = /^[0-9a-f]{40}$/

export interface OutsideRoot {
  /** The identifier of its key; `''` where it names none that proxies understand. */
  readonly id: string
  readonly pem: string
  readonly notAfterMs: number
}

/** @throws RingfenceError IDENTITY where one is no authority, or there are too many */
export function outsideRootsOf(pem: string): OutsideRoot[] {
  const certificates = certificatesOf(pem)
  if (certificates.length > outsideRootsMax) {
    throw new RingfenceError('IDENTITY', `there are ${certificates.length} roots, and ${outsideRootsMax} are taken`)
  }
  return certificates.map((one) => {
    if (!one.ca) throw new RingfenceError('IDENTITY', 'a root of a Workload API is no authority')
    const id = idOf(new X509Certificate(one.raw))
    return { id: idShape.test(id) ? id : '', pem: one.toString(), notAfterMs: one.validToDate.getTime() }
  })
}

export class OutsideRoots {
  readonly #folder: string
  #roots: readonly OutsideRoot[]

  /** @throws RingfenceError IDENTITY where the file is damaged */
  constructor(folder: string) {
    this.#folder = folder
    this.#roots = outsideRootsOf(readIfThere(this.#path) ?? '')
  }

  /** Of those that have not ended. */
  pemAt(nowMs: number): string {
    return this.#at(nowMs)
      .map(({ pem }) => pem)
      .join('')
  }

  /** As the leaves that they sign name them. */
  idsAt(nowMs: number): readonly string[] {
    return [...new Set(this.#at(nowMs).flatMap(({ id }) => (id === '' ? [] : [id])))]
  }

  /** Is on disk when it returns. False where they are the same as before. */
  set(roots: readonly OutsideRoot[]): boolean {
    const pem = roots.map((root) => root.pem).join('')
    if (pem === this.#roots.map((root) => root.pem).join('')) return false
    if (pem === '') {
      rmSync(this.#path, { force: true })
      flushFolder(this.#folder)
    } else writeFileAtomically(this.#path, pem, 0o600)
    this.#roots = roots
    return true
  }

  #at(nowMs: number): readonly OutsideRoot[] {
    return this.#roots.filter(({ notAfterMs }) => notAfterMs > nowMs)
  }

  get #path(): string {
    return join(this.#folder, fileName)
  }
}
