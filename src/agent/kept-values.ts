/**
 * The pushed values that a proxy keeps on disk, so that it starts while the control plane is away. Secrets stand in a file of their own;
 * the others carry their SHA-256, so that bit rot is not taken for policy. All files are for their owner only, and are replaced whole:
 * a reader sees the old or the new one.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurnOf } from 'node:timers/promises'
import { z } from 'zod'
import { sha256Hex } from '../base/digest.ts'
import { escapedPieces, jsonPieces } from '../base/json-pieces.ts'
import { parseJson } from '../mesh/answer.ts'
import { readIfThere, replaceFile } from '../mesh/files.ts'
import type { Fields, PushedKind } from '../mesh/pushed-kind.ts'
import type { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'

/** A shorter piece takes no time. */
const smallChars = 1024

const cacheFile = z.object({ sha256: z.string(), content: z.string() })

export class KeptValues {
  readonly #cache: string
  readonly #secrets: string
  /** Has a file for each kind that is kept by itself. */
  readonly #folder: string
  readonly #values: PushedValues
  readonly #role: AgentRole
  readonly #log: Logger
  /** Of each file the write that was ordered last, and one that has not begun. No LRU: there are as many as files. */
  readonly #last = new Map<string, Promise<void>>()
  readonly #next = new Map<string, Promise<void>>()

  constructor(stateDir: string, values: PushedValues, role: AgentRole, log: Logger) {
    this.#cache = join(stateDir, 'policy-cache.json')
    this.#secrets = join(stateDir, 'mesh-keys.json')
    this.#folder = join(stateDir, 'kept')
    this.#values = values
    this.#role = role
    this.#log = log
  }

  /** Takes up what is on disk, and removes secrets that are not for this role. */
  read(): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
    this.#take(this.#kinds('cache'), readChecked(this.#cache))
    for (const kind of this.#kinds('own')) this.#take([kind], readChecked(this.#fileOf(kind)))
    const secrets = this.#kinds('secret')
    if (secrets.length === 0) rmSync(this.#secrets, { force: true })
    else this.#take(secrets, this.#readSecrets())
  }

  /**
   * Puts the present value of `kind` on disk, where it is kept: resolves when it is there. Never rejects: a full disk stops no proxy. What comes
   * while a file is written is written after it, once.
   */
  write(kind: PushedKind<unknown>): Promise<void> {
    if (kind.kept === 'no') return Promise.resolve()
    const file = this.#fileOf(kind)
    const next = this.#next.get(file)
    if (next !== undefined) return next
    const writing = this.#writeAfter(this.#last.get(file), kind, file)
    this.#next.set(file, writing)
    this.#last.set(file, writing)
    return writing
  }

  async #writeAfter(before: Promise<void> | undefined, kind: PushedKind<unknown>, file: string): Promise<void> {
    await before
    this.#next.delete(file)
    try {
      await replaceFile(file, await this.#textOf(kind), 0o600)
    } catch (err) {
      this.#log.error({ err, kind: kind.name }, 'pushed value could not be kept on disk')
    }
  }

  /** Resolves when all that was ordered is written. */
  async written(): Promise<void> {
    await Promise.all(this.#last.values())
  }

  /** Of the file that has this kind. In pieces: a policy of a megabyte is JSON within JSON there. The values are those of this moment. */
  async #textOf(written: PushedKind<unknown>): Promise<string> {
    const fields: Fields = {}
    const kinds = written.kept === 'own' ? [written] : this.#kinds(written.kept)
    for (const kind of kinds) Object.assign(fields, kind.write(this.#values.value(kind).current))
    const content = await allOf(jsonPieces(fields))
    if (written.kept === 'secret') return content
    const inside = await allOf(escapedPieces(content))
    return `{"sha256":"${sha256Hex(content)}","content":"${inside}"}`
  }

  #fileOf({ name, kept }: PushedKind<unknown>): string {
    if (kept === 'own') return join(this.#folder, `${name}.json`)
    return kept === 'secret' ? this.#secrets : this.#cache
  }

  #kinds(kept: PushedKind<unknown>['kept']): PushedKind<unknown>[] {
    return this.#values.kinds.filter((kind) => kind.kept === kept && kind.roles.includes(this.#role))
  }

  #readSecrets(): unknown {
    const text = readIfThere(this.#secrets)
    return text === undefined ? undefined : (parseJson(text) ?? 'damaged')
  }

  #take(kinds: readonly PushedKind<unknown>[], content: unknown): void {
    if (content === undefined) return
    const fields: Fields | undefined = typeof content === 'object' && content !== null ? { ...content } : undefined
    for (const kind of kinds) {
      // What an older program wrote has not every kind.
      if (fields !== undefined && Object.keys(kind.write(kind.empty)).every((name) => !(name in fields))) continue
      const reading = kind.read(fields)
      const skipped = reading.understood ? reading.skipped : undefined
      if (skipped !== 0) this.#log.error({ kind: kind.name, skipped }, 'kept value is damaged and is not used')
      if (reading.understood) this.#values.value(kind).set(reading.value)
    }
  }
}

/** With a turn of the event loop between two pieces. */
async function allOf(pieces: Iterable<string>): Promise<string> {
  let all = ''
  for (const piece of pieces) {
    all += piece
    if (piece.length > smallChars) await nextTurnOf()
  }
  return all
}

/** What carries its SHA-256; undefined where there is none. */
function readChecked(path: string): unknown {
  const text = readIfThere(path)
  if (text === undefined) return undefined
  const { success, data } = cacheFile.safeParse(parseJson(text))
  return success && sha256Hex(data.content) === data.sha256 ? parseJson(data.content) : 'damaged'
}
