/** The authorities' keys: which of them sign now, which are to follow, which are trusted, and how one takes the place of another. */
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { type Authorities, authoritiesMax } from '../../mesh/authorities.ts'
import { flushFolder, writeFileAtomically } from '../../mesh/files.ts'
import { type AuthorityRow, type Ledger, rowOf } from './ledger.ts'
import { type AuthorityLives, type Lives, livesOf } from './lives.ts'
import { makeRequest, takeSigned } from './offline.ts'
import { type Held, openHeld } from './opened.ts'
import { type OutsideRoot, OutsideRoots } from './outside.ts'
import { type Active, isAtHand, type Next, reconciled } from './reconciled.ts'
import { activateFirst, byOffline, seeShow, usage } from './refusals.ts'
import { countedOf, foundIn, type ShownAuthority, shownOf, trustedRoots } from './shown.ts'
import {
  type Authority,
  type AuthorityKind,
  idOf,
  isAhead,
  makeSigner,
  pemOf,
  type Signer,
  signerIdOf,
  withKey,
} from './signer.ts'

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

export class AuthorityKeys {
  readonly #folder: string
  readonly #trustDomain: string
  readonly #clock: Clock
  readonly #lives: Lives
  readonly #ledger: Ledger
  readonly outside: OutsideRoots
  readonly #active: Active
  readonly #next: Next
  readonly #onChange = new Set<() => void>()
  /** The change that is under way. */
  #changing: Promise<unknown> = Promise.resolve()

  private constructor({ folder, trustDomain, clock, lives }: Place, { ledger, active, next }: Held) {
    this.#folder = folder
    this.#trustDomain = trustDomain
    this.#clock = clock
    this.#lives = lives
    this.#ledger = ledger
    this.outside = new OutsideRoots(folder)
    this.#active = active
    this.#next = next
  }

  /** @throws RingfenceError CONFIG where they are damaged, or of another trust domain */
  static async open(folder: string, trustDomain: string, clock: Clock, order: AuthorityLives): Promise<AuthorityKeys> {
    const lives = livesOf(order)
    const held = await openHeld(folder, trustDomain, clock.now(), lives)
    const keys = new AuthorityKeys({ folder, trustDomain, clock, lives }, held)
    keys.#reconcile()
    return keys
  }

  /** The root that signs issuing certificates. */
  get root(): Authority {
    return this.#active.root
  }

  /** Else the next issuing certificate is signed elsewhere. */
  get hasRootKey(): boolean {
    return this.root.privateKey !== undefined
  }

  /** It is time for that. */
  get awaitsSigned(): boolean {
    return !this.hasRootKey && this.#next.issuing === undefined && this.#clock.now() >= this.#at('issuing', prepareAt)
  }

  /** The one that signs leaves. */
  get issuing(): Signer {
    return this.#active.issuing
  }

  /** Of the one that signs leaves; an older one for the moment between the activation of a root and that of an issuing key. */
  get issuingRootPem(): string {
    return this.#ledger.row(signerIdOf(this.issuing.certificate))?.certificatePem ?? pemOf(this.root.certificate)
  }

  get #trusted(): readonly AuthorityRow[] {
    return trustedRoots(this.#ledger.rows, idOf(this.root.certificate), this.#clock.now())
  }

  /** The roots that are trusted: the active one, the prepared one, and older ones that are neither over nor revoked. */
  get bundlePem(): string {
    return this.#trusted.map(({ certificatePem }) => certificatePem).join('') + this.outside.pemAt(this.#clock.now())
  }

  /** From now on these are trusted beside the mesh's own, and no others. */
  trustOutside(roots: readonly OutsideRoot[]): Promise<void> {
    return this.#alone(async () => {
      if (!this.outside.set(roots)) return
      // Everybody is told by another number.
      this.#ledger.set(this.#ledger.rows, this.#clock.now())
      this.#changed()
    })
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
    const told = { bundleSequence: this.#ledger.sequence, bundlePem: this.bundlePem }
    return { ...told, ...countedOf(this.shown(), this.outside.idsAt(this.#clock.now())) }
  }

  /** `callback` is called when another is active, trusted, tainted or revoked. */
  onChange(callback: () => void): void {
    this.#onChange.add(callback)
  }

  /** The newest first. */
  shown(): ShownAuthority[] {
    const ids = (of: Active | Next): string[] =>
      [of.root, of.issuing].flatMap((one) => (one === undefined ? [] : [idOf(one.certificate)]))
    return shownOf(this.#ledger.rows, ids(this.#active), ids(this.#next))
  }

  /** By its id, or the beginning of one. @throws RingfenceError USAGE where there is none, or several */
  find(id: string): ShownAuthority {
    return foundIn(this.shown(), id)
  }

  /** Makes the next one. Of a root everybody is told. @throws RingfenceError USAGE where one is prepared */
  prepare(kind: AuthorityKind): Promise<ShownAuthority> {
    return this.#alone(async () => {
      this.#requireNoNext(kind)
      this.#requireRoom()
      if (kind === 'issuing' && !this.hasRootKey) throw usage('the key of the root is kept elsewhere', byOffline)
      return this.find(idOf((await this.#prepare(kind)).certificate))
    })
  }

  /** A request for the next issuing certificate, to be signed where the root's key is. @throws RingfenceError USAGE where one is prepared */
  request(): Promise<string> {
    return this.#alone(async () => {
      this.#requireNoNext('issuing')
      return makeRequest(this.#folder, this.#trustDomain)
    })
  }

  /** Prepares the issuing certificate that was made for the last request. @throws RingfenceError USAGE where it is not as it is to be */
  takeSigned(pem: string): Promise<ShownAuthority> {
    return this.#alone(async () => {
      this.#requireNoNext('issuing')
      this.#requireRoom()
      const expected = {
        folder: this.#folder,
        trustDomain: this.#trustDomain,
        root: this.root,
        leafMs: this.#lives.leaf,
      }
      const nowMs = this.#clock.now()
      const signer = await takeSigned(this.#path('issuing', 'next'), pem, { ...expected, nowMs })
      return this.find(idOf(this.#prepared('issuing', signer, nowMs).certificate))
    })
  }

  /** From now on its key is elsewhere only. @throws RingfenceError USAGE where it is not the active root */
  forgetRootKey(id: string): Promise<ShownAuthority> {
    return this.#alone(async () => {
      const one = this.find(id)
      if (one.id !== idOf(this.root.certificate)) throw usage(`${one.id} is not the active root`, seeShow)
      if (!this.hasRootKey) throw usage(`the key of the root ${one.id} is elsewhere already`, seeShow)
      if (this.#isBehind) await this.#follow()
      const { certificate } = this.root
      writeFileAtomically(this.#path('root'), pemOf(certificate), 0o600)
      this.#active.root = { certificate, privateKey: undefined }
      return this.find(one.id)
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
      const canSign = kind === 'root' || this.hasRootKey
      if (next === undefined && canSign && nowMs >= this.#at(kind, prepareAt)) return () => this.#prepare(kind)
      if (next !== undefined && nowMs >= this.#at(kind, activateAt) && (kind === 'issuing' || this.#isKnown(next)))
        return () => this.#activate(kind)
    }
    if (this.hasRootKey && (this.#isBehind || isAhead(this.issuing, nowMs))) return () => this.#follow()
    if (this.#ledger.rows.some((row) => row.notAfterMs <= nowMs && !isAtHand(row.id, this.#active, this.#next)))
      return () => this.#prune()
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
    const parent = kind === 'root' ? undefined : withKey(this.root)
    const order = { kind, trustDomain: this.#trustDomain, parent, lifeMs: this.#lives[kind], nowMs: this.#clock.now() }
    return this.#prepared(kind, await makeSigner(this.#path(kind, 'next'), order), order.nowMs)
  }

  #prepared(kind: AuthorityKind, signer: Signer, nowMs: number): Signer {
    this.#ledger.set([rowOf(kind, signer.certificate, nowMs, undefined), ...this.#ledger.rows], nowMs)
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

  #requireNoNext(kind: AuthorityKind): void {
    const id = this.#next[kind] === undefined ? undefined : this.prepared(kind).id
    if (id !== undefined) throw usage(`${kind} key ${id} is prepared already`, `ringfence ca activate ${kind}`)
  }

  /** What is due by itself is made all the same: without it nothing is signed any more. */
  #requireRoom(): void {
    const { length } = this.#ledger.rows
    if (length >= preparedByHandMax) throw usage(`there are ${length} authorities that are not over yet`, seeShow)
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
      this.#ledger.rows.filter((row) => row.notAfterMs > nowMs || isAtHand(row.id, this.#active, this.#next)),
      nowMs,
    )
    this.#changed()
  }

  /** What the files of keys say is so, whatever was written beside them last. */
  #reconcile(): void {
    const rows = reconciled(this.#ledger.rows, this.#active, this.#next, this.#clock.now())
    if (rows !== undefined) this.#ledger.set(rows, this.#clock.now())
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
