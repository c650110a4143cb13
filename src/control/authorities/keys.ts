/** The authorities' keys: which of them sign now, which are to follow, which are trusted, and how one takes the place of another. */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SubjectAlternativeNameExtension } from '@peculiar/x509'
import type { Clock } from '../../base/clock.ts'
import { RingfenceError } from '../../base/errors.ts'
import { type Authorities, authoritiesMax } from '../../mesh/authorities.ts'
import { flushFolder } from '../../mesh/files.ts'
import { type AuthorityRow, Ledger, rowOf } from './ledger.ts'
import { type AuthorityLives, type Lives, livesOf } from './lives.ts'
import { type ShownAuthority, shownOf, trustedRoots } from './shown.ts'
import { type AuthorityKind, idOf, makeSigner, readSigner, type Signer, signerIdOf } from './signer.ts'

/** Of the life of an authority: when the next one is made, and when that signs. */
const prepareAt = 1 / 2
const activateAt = 5 / 6
/** Of those of which nothing more is asked than what is due at one moment. */
const stepsMax = 8
/** With more that are not over no further one is prepared by hand. */
const preparedByHandMax = authoritiesMax - 16
/** A join token has room for so many. */
const rootsNamedMax = 3

interface Place {
  readonly folder: string
  readonly trustDomain: string
  readonly clock: Clock
  readonly lives: Lives
}

interface Held {
  readonly ledger: Ledger
  readonly active: Record<AuthorityKind, Signer>
  readonly next: Record<AuthorityKind, Signer | undefined>
}

export class AuthorityKeys {
  readonly #folder: string
  readonly #trustDomain: string
  readonly #clock: Clock
  readonly #lives: Lives
  readonly #ledger: Ledger
  readonly #active: Record<AuthorityKind, Signer>
  readonly #next: Record<AuthorityKind, Signer | undefined>
  readonly #onChange = new Set<() => void>()
  /** The change that is under way. */
  #changing: Promise<unknown> = Promise.resolve()

  private constructor({ folder, trustDomain, clock, lives }: Place, { ledger, active, next }: Held) {
    this.#folder = folder
    this.#trustDomain = trustDomain
    this.#clock = clock
    this.#lives = lives
    this.#ledger = ledger
    this.#active = active
    this.#next = next
  }

  /** @throws RingfenceError CONFIG where they are damaged, or of another trust domain */
  static async open(folder: string, trustDomain: string, clock: Clock, order: AuthorityLives): Promise<AuthorityKeys> {
    const lives = livesOf(order)
    const nowMs = clock.now()
    const ledger = Ledger.open(folder)
    const path = (kind: AuthorityKind): string => join(folder, `${kind}.pem`)
    const others = [path('issuing'), join(folder, 'root-next.pem'), join(folder, 'issuing-next.pem')]
    if (!existsSync(path('root')) && (ledger.rows.length > 0 || others.some((other) => existsSync(other))))
      throw new RingfenceError('CONFIG', `${path('root')} is missing`, { hint: 'restore it from a backup' })
    const root =
      (await readSigner(path('root'))) ??
      (await makeSigner(path('root'), { kind: 'root', trustDomain, parent: undefined, lifeMs: lives.root, nowMs }))
    const authorityOf = root.certificate.getExtension(SubjectAlternativeNameExtension)?.names.toJSON()[0]?.value
    if (authorityOf !== `spiffe://${trustDomain}`) {
      throw new RingfenceError('CONFIG', `state folder belongs to ${authorityOf}, not to spiffe://${trustDomain}`, {
        hint: 'use the same --trust-domain as before, or another --state-dir',
      })
    }
    const issuing =
      (await readSigner(path('issuing'))) ??
      (await makeSigner(path('issuing'), { kind: 'issuing', trustDomain, parent: root, lifeMs: lives.issuing, nowMs }))
    const active = { root, issuing }
    const next = { root: await readNext(folder, 'root', root), issuing: await readNext(folder, 'issuing', issuing) }
    const keys = new AuthorityKeys({ folder, trustDomain, clock, lives }, { ledger, active, next })
    keys.#reconcile()
    return keys
  }

  /** The root that signs issuing certificates. */
  get root(): Signer {
    return this.#active.root
  }

  /** The one that signs leaves. */
  get issuing(): Signer {
    return this.#active.issuing
  }

  /** Of the one that signs leaves; an older one for the moment between the activation of a root and that of an issuing key. */
  get issuingRootPem(): string {
    return this.#ledger.row(signerIdOf(this.issuing.certificate))?.certificatePem ?? pemOf(this.root)
  }

  get #trusted(): readonly AuthorityRow[] {
    return trustedRoots(this.#ledger.rows, idOf(this.root.certificate), this.#clock.now())
  }

  /** The roots that are trusted: the active one, the prepared one, and older ones that are neither over nor revoked. */
  get bundlePem(): string {
    return this.#trusted.map(({ certificatePem }) => certificatePem).join('')
  }

  /** Those of the bundle that a join token names: not the tainted ones. */
  get rootPems(): string[] {
    return this.#trusted
      .filter(({ taintedMs }) => taintedMs === undefined)
      .map(({ certificatePem }) => certificatePem)
      .slice(0, rootsNamedMax)
  }

  /** What the mesh is told. */
  get told(): Authorities {
    const issuing = this.shown().filter(({ kind, state }) => kind === 'issuing' && state !== 'revoked')
    const tainted = issuing.filter(({ state }) => state === 'tainted')
    return {
      bundleSequence: this.#ledger.sequence,
      bundlePem: this.bundlePem,
      issuing: issuing.map(({ id }) => id),
      tainted: tainted.map(({ id, taintedMs = 0 }) => ({ authority: id, sinceMs: taintedMs })),
    }
  }

  /** `callback` is called when another is active, trusted, tainted or revoked. */
  onChange(callback: () => void): void {
    this.#onChange.add(callback)
  }

  /** The newest first. */
  shown(): ShownAuthority[] {
    const ids = (signers: Record<AuthorityKind, Signer | undefined>): string[] =>
      Object.values(signers).flatMap((signer) => (signer === undefined ? [] : [idOf(signer.certificate)]))
    return shownOf(this.#ledger.rows, ids(this.#active), ids(this.#next))
  }

  /** By its id, or the beginning of one. @throws RingfenceError USAGE where there is none, or several */
  find(id: string): ShownAuthority {
    const found = this.shown().filter((one) => one.id.startsWith(id.toLowerCase().replaceAll(':', '')))
    const [one, ...others] = found
    if (one !== undefined && others.length === 0 && id.length >= 4) return one
    throw usage(one === undefined ? `there is no authority ${id}` : `${id} is not one authority only`, seeShow)
  }

  /** Makes the next one. Of a root everybody is told. @throws RingfenceError USAGE where one is prepared */
  prepare(kind: AuthorityKind): Promise<ShownAuthority> {
    return this.#alone(async () => {
      const before = this.#next[kind]
      if (before !== undefined)
        throw usage(`${kind} key ${idOf(before.certificate)} is prepared already`, `ringfence ca activate ${kind}`)
      // What is due by itself is made all the same: without it nothing is signed any more.
      if (this.#ledger.rows.length >= preparedByHandMax)
        throw usage(`there are ${this.#ledger.rows.length} authorities that are not over yet`, seeShow)
      return this.find(idOf((await this.#prepare(kind)).certificate))
    })
  }

  /** The prepared one signs from now on. @throws RingfenceError USAGE where none is prepared */
  activate(kind: AuthorityKind): Promise<ShownAuthority> {
    return this.#alone(async () => {
      this.prepared(kind)
      await this.#activate(kind)
      return this.find(idOf(this.#active[kind].certificate))
    })
  }

  /** @throws RingfenceError USAGE where none is prepared */
  prepared(kind: AuthorityKind): ShownAuthority {
    const next = this.#next[kind]
    if (next === undefined) throw usage(`no ${kind} key is prepared`, `ringfence ca prepare ${kind}`)
    return this.find(idOf(next.certificate))
  }

  /** From now on whoever has a leaf of it gets another. @throws RingfenceError USAGE where it is not an old one */
  taint(id: string): Promise<ShownAuthority> {
    return this.#alone(async () => {
      if (this.#isBehind) await this.#follow()
      const one = this.find(id)
      const { kind, state } = one
      if (state === 'active') throw usage(`${one.id} is the active ${kind} key`, activateFirst(kind))
      if (state === 'prepared') throw usage(`${one.id} has signed nothing yet`, 'ringfence ca revoke drops it')
      if (state !== 'old') throw usage(`${one.id} is ${state} already`, seeShow)
      this.#ledger.change(one.id, { taintedMs: this.#clock.now() }, this.#clock.now())
      this.#changed()
      return this.find(one.id)
    })
  }

  /**
   * It is trusted no more, and what it signed is not either; one that is only prepared is dropped.
   * @param refuse is called before, with the issuing ones whose leaves are to be refused; where it throws nothing is changed
   * @throws RingfenceError USAGE where it is not tainted
   */
  revoke(id: string, refuse: (signed: readonly ShownAuthority[]) => void = () => {}): Promise<void> {
    return this.#alone(async () => {
      const one = this.find(id)
      const { kind, state } = one
      const next = this.#next[kind]
      if (state === 'prepared' && next !== undefined) {
        // Its key may have been read by somebody, and its root is trusted.
        if (kind === 'issuing') refuse([one])
        this.#drop(kind, next)
        return
      }
      if (state === 'active') throw usage(`${one.id} is the active ${kind} key`, activateFirst(kind))
      if (state === 'old') throw usage(`${one.id} is not tainted`, `ringfence ca taint ${one.id}`)
      if (state === 'revoked') throw usage(`${one.id} is revoked already`, seeShow)
      refuse(kind === 'issuing' ? [one] : this.shown().filter(({ signerId }) => signerId === one.id))
      this.#ledger.change(one.id, { revokedMs: this.#clock.now() }, this.#clock.now())
      this.#changed()
    })
  }

  /** Takes the steps that are due; to be called now and then, and before a leaf is signed. */
  async rotateIfDue(): Promise<void> {
    if (this.#due() === undefined) return
    await this.#alone(async () => {
      for (let step = 0; step < stepsMax; step++) {
        const due = this.#due()
        if (due === undefined) return
        await due()
      }
    })
  }

  /** The next step that is due. */
  #due(): (() => unknown) | undefined {
    const nowMs = this.#clock.now()
    for (const kind of ['root', 'issuing'] as const) {
      const next = this.#next[kind]
      if (next !== undefined && isAhead(next, nowMs)) return () => this.#drop(kind, next)
      if (next === undefined && nowMs >= this.#at(kind, prepareAt)) return () => this.#prepare(kind)
      if (next !== undefined && nowMs >= this.#at(kind, activateAt) && (kind === 'issuing' || this.#isKnown(next)))
        return () => this.#activate(kind)
    }
    if (this.#isBehind || isAhead(this.issuing, nowMs)) return () => this.#follow()
    if (this.#ledger.rows.some((row) => row.notAfterMs <= nowMs && !this.#hasKey(row.id))) return () => this.#prune()
    return undefined
  }

  /** A crash came between the activation of the root and that of its first issuing key. */
  get #isBehind(): boolean {
    return signerIdOf(this.issuing.certificate) !== idOf(this.root.certificate)
  }

  /** Since so long, or nearly the end of the present one, that everybody knows it. */
  #isKnown(next: Signer): boolean {
    const nowMs = this.#clock.now()
    const preparedMs = this.#ledger.row(idOf(next.certificate))?.preparedMs ?? nowMs
    return nowMs >= Math.min(preparedMs + this.#lives.leaf, this.root.certificate.notAfter.getTime())
  }

  #at(kind: AuthorityKind, share: number): number {
    const { notBefore, notAfter } = this.#active[kind].certificate
    return notBefore.getTime() + share * (notAfter.getTime() - notBefore.getTime())
  }

  async #prepare(kind: AuthorityKind): Promise<Signer> {
    const parent = kind === 'root' ? undefined : this.root
    const order = { kind, trustDomain: this.#trustDomain, parent, lifeMs: this.#lives[kind], nowMs: this.#clock.now() }
    const signer = await makeSigner(this.#path(kind, 'next'), order)
    this.#ledger.set([rowOf(kind, signer.certificate, order.nowMs, undefined), ...this.#ledger.rows], order.nowMs)
    // Not before it is written down: one of which nobody is told is not known to anybody when its time comes.
    this.#next[kind] = signer
    this.#changed()
    return signer
  }

  async #activate(kind: AuthorityKind): Promise<void> {
    const next = this.#next[kind]
    if (next === undefined) return
    // Before it signs anything: one that did is never forgotten.
    this.#ledger.change(idOf(next.certificate), { activatedMs: this.#clock.now() }, this.#clock.now())
    // From here on it is active, also where nothing more can be written.
    renameSync(this.#path(kind, 'next'), this.#path(kind))
    flushFolder(this.#folder)
    this.#active[kind] = next
    this.#next[kind] = undefined
    if (kind === 'root') await this.#follow()
    this.#changed()
  }

  /** An issuing key of the active root, and of now, takes the place of one of another. */
  async #follow(): Promise<void> {
    const before = this.#next.issuing
    if (before !== undefined) this.#forget(idOf(before.certificate))
    await this.#prepare('issuing')
    await this.#activate('issuing')
  }

  #drop(kind: AuthorityKind, { certificate }: Signer): void {
    rmSync(this.#path(kind, 'next'), { force: true })
    flushFolder(this.#folder)
    this.#next[kind] = undefined
    this.#forget(idOf(certificate))
    this.#changed()
  }

  #forget(id: string): void {
    this.#ledger.set(
      this.#ledger.rows.filter((row) => row.id !== id),
      this.#clock.now(),
    )
  }

  #prune(): void {
    const nowMs = this.#clock.now()
    this.#ledger.set(
      this.#ledger.rows.filter((row) => row.notAfterMs > nowMs || this.#hasKey(row.id)),
      nowMs,
    )
    this.#changed()
  }

  /** What the files of keys say is so, whatever was written beside them last. */
  #reconcile(): void {
    const { rows } = this.#ledger
    const nowMs = this.#clock.now()
    const atHand = (['root', 'issuing'] as const).flatMap((kind) => {
      const [active, next] = [this.#active[kind], this.#next[kind]]
      return [
        // Nobody was told of it before.
        ...(next === undefined ? [] : [rowOf(kind, next.certificate, nowMs, undefined)]),
        rowOf(kind, active.certificate, undefined, active.certificate.notBefore.getTime()),
      ]
    })
    // One that never signed, and whose key is gone, is nobody's.
    const kept = rows.filter((row) => row.activatedMs !== undefined || this.#hasKey(row.id))
    const added = atHand.filter(({ id }) => !kept.some((row) => row.id === id))
    const activeIds = [idOf(this.root.certificate), idOf(this.issuing.certificate)]
    const late = kept.filter(({ id, activatedMs }) => activeIds.includes(id) && activatedMs === undefined)
    if (added.length === 0 && late.length === 0 && kept.length === rows.length) return
    const settled = kept.map((row) => (late.includes(row) ? { ...row, activatedMs: nowMs } : row))
    this.#ledger.set([...added, ...settled], nowMs)
  }

  #hasKey(id: string): boolean {
    return [...Object.values(this.#active), ...Object.values(this.#next)].some(
      (signer) => signer !== undefined && idOf(signer.certificate) === id,
    )
  }

  #path(kind: AuthorityKind, which?: 'next'): string {
    return join(this.#folder, which === undefined ? `${kind}.pem` : `${kind}-next.pem`)
  }

  #changed(): void {
    for (const callback of this.#onChange) callback()
  }

  /** One change after the other. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#changing
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#changing = promise
    await before
    try {
      return await work()
    } finally {
      resolve()
    }
  }
}

const seeShow = 'ringfence ca show'

/** The clock was set back since it was made: nobody takes what it signs yet. */
function isAhead({ certificate }: Signer, nowMs: number): boolean {
  return nowMs < certificate.notBefore.getTime()
}

function activateFirst(kind: AuthorityKind): string {
  return `first another one: ringfence ca prepare ${kind}, then ringfence ca activate ${kind}`
}

/** What a crash left of an activation is none that is to follow. */
async function readNext(folder: string, kind: AuthorityKind, active: Signer): Promise<Signer | undefined> {
  const next = await readSigner(join(folder, `${kind}-next.pem`))
  return next === undefined || idOf(next.certificate) === idOf(active.certificate) ? undefined : next
}

function pemOf({ certificate }: Signer): string {
  return `${certificate.toString('pem')}\n`
}

function usage(message: string, hint: string): RingfenceError {
  return new RingfenceError('USAGE', message, { hint })
}
