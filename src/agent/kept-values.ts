/**
 * The pushed values that a proxy keeps on disk, so that it starts while the control plane is away. Secrets stand in a file of their own;
 * the others carry their SHA-256, so that bit rot is not taken for policy. Both files are for their owner only, and are replaced whole:
 * a reader sees the old or the new one.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurnOf } from 'node:timers/promises'
import { z } from 'zod'
import { textDigest } from '../base/digest.ts'
import { escapedPieces, jsonPieces } from '../base/json-pieces.ts'
import { parseJson } from '../mesh/answer.ts'
import { readIfThere, replaceFile } from '../mesh/files.ts'
import type { Fields, PushedKind } from '../mesh/pushed-kind.ts'
import type { PushedValues } from '../mesh/pushed-values.ts'
import type { AgentRole } from '../mesh/roles.ts'
import type { Logger } from '../telemetry/log.ts'

type Kept = 'cache' | 'secret'

/** A shorter piece takes no time. */
const smallChars = 1024

const cacheFile = z.object({ sha256: z.string(), content: z.string() })

export class KeptValues {
  readonly #paths: Readonly<Record<Kept, string>>
  readonly #values: PushedValues
  readonly #role: AgentRole
  readonly #log: Logger
  /** Of each file the write that was ordered last, and one that has not begun. */
  readonly #last: Record<Kept, Promise<void>> = { cache: Promise.resolve(), secret: Promise.resolve() }
  readonly #next: Record<Kept, Promise<void> | undefined> = { cache: undefined, secret: undefined }

  constructor(stateDir: string, values: PushedValues, role: AgentRole, log: Logger) {
    this.#paths = { cache: join(stateDir, 'policy-cache.json'), secret: join(stateDir, 'mesh-keys.json') }
    this.#values = values
    this.#role = role
    this.#log = log
  }

  /** Takes up what is on disk, and removes secrets that are not for this role. */
  read(): void {
    this.#take('cache', this.#readCache())
    if (this.#kinds('secret').length === 0) rmSync(this.#paths.secret, { force: true })
    else this.#take('secret', this.#readSecrets())
  }

  /**
   * Puts the present value of `kind` on disk, where it is kept: resolves when it is there. Never rejects: a full disk stops no proxy. What comes
   * while a file is written is written after it, once.
   */
  write({ name, kept }: PushedKind<unknown>): Promise<void> {
    if (kept === 'no') return Promise.resolve()
    const next = this.#next[kept]
    if (next !== undefined) return next
    const writing = this.#writeAfter(this.#last[kept], name, kept)
    this.#next[kept] = writing
    this.#last[kept] = writing
    return writing
  }

  async #writeAfter(before: Promise<void>, name: string, kept: Kept): Promise<void> {
    await before
    this.#next[kept] = undefined
    try {
      await replaceFile(this.#paths[kept], await this.#textOf(kept), 0o600)
    } catch (err) {
      this.#log.error({ err, kind: name }, 'pushed value could not be kept on disk')
    }
  }

  /** Resolves when all that was ordered is written. */
  async written(): Promise<void> {
    await Promise.all(Object.values(this.#last))
  }

  /** In pieces: a policy of a megabyte is JSON within JSON there. The values are those of this moment. */
  async #textOf(kept: Kept): Promise<string> {
    const fields: Fields = {}
    for (const kind of this.#kinds(kept)) Object.assign(fields, kind.write(this.#values.value(kind).current))
    const content = await allOf(jsonPieces(fields))
    if (kept === 'secret') return content
    const inside = await allOf(escapedPieces(content))
    return `{"sha256":"${textDigest(content)}","content":"${inside}"}`
  }

  #kinds(kept: Kept): PushedKind<unknown>[] {
    return this.#values.kinds.filter((kind) => kind.kept === kept && kind.roles.includes(this.#role))
  }

  #readCache(): unknown {
    const text = readIfThere(this.#paths.cache)
    if (text === undefined) return undefined
    const { success, data } = cacheFile.safeParse(parseJson(text))
    return success && textDigest(data.content) === data.sha256 ? parseJson(data.content) : 'damaged'
  }

  #readSecrets(): unknown {
    const text = readIfThere(this.#paths.secret)
    return text === undefined ? undefined : (parseJson(text) ?? 'damaged')
  }

  #take(kept: Kept, content: unknown): void {
    if (content === undefined) return
    const fields: Fields | undefined = typeof content === 'object' && content !== null ? { ...content } : undefined
    for (const kind of this.#kinds(kept)) {
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
