/** What is in the folder of the authorities when the control plane starts; what was never there is made. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { RingfenceError } from '../../base/errors.ts'
import { Ledger } from './ledger.ts'
import type { Lives } from './lives.ts'
import type { Active, Next } from './reconciled.ts'
import {
  type Authority,
  type AuthorityKind,
  domainIdOf,
  idOf,
  makeSigner,
  readRoot,
  readSigner,
  type Signer,
  withKey,
} from './signer.ts'

export interface Held {
  readonly ledger: Ledger
  readonly active: Active
  readonly next: Next
}

/** @throws RingfenceError CONFIG where they are damaged, or of another trust domain */
export async function openHeld(folder: string, trustDomain: string, nowMs: number, lives: Lives): Promise<Held> {
  const ledger = Ledger.open(folder)
  const path = (kind: AuthorityKind): string => join(folder, `${kind}.pem`)
  const others = [path('issuing'), join(folder, 'root-next.pem'), join(folder, 'issuing-next.pem')]
  if (!existsSync(path('root')) && (ledger.rows.length > 0 || others.some((other) => existsSync(other))))
    throw new RingfenceError('CONFIG', `${path('root')} is missing`, { hint: 'restore it from a backup' })
  const root =
    (await readRoot(path('root'))) ??
    (await makeSigner(path('root'), { kind: 'root', trustDomain, parent: undefined, lifeMs: lives.root, nowMs }))
  const authorityOf = domainIdOf(root)
  if (authorityOf !== `spiffe://${trustDomain}`) {
    throw new RingfenceError('CONFIG', `state folder belongs to ${authorityOf}, not to spiffe://${trustDomain}`, {
      hint: 'use the same --trust-domain as before, or another --state-dir',
    })
  }
  const issuing = (await readSigner(path('issuing'))) ?? (await firstIssuing(path('issuing'), root))
  const next = { root: await readNext(folder, 'root', root), issuing: await readNext(folder, 'issuing', issuing) }
  return { ledger, active: { root, issuing }, next }

  function firstIssuing(file: string, of: Authority): Promise<Signer> {
    return makeSigner(file, { kind: 'issuing', trustDomain, parent: withKey(of), lifeMs: lives.issuing, nowMs })
  }
}

/** What a crash left of an activation is none that is to follow. */
async function readNext(folder: string, kind: AuthorityKind, active: Authority): Promise<Signer | undefined> {
  const next = await readSigner(join(folder, `${kind}-next.pem`))
  return next === undefined || idOf(next.certificate) === idOf(active.certificate) ? undefined : next
}
