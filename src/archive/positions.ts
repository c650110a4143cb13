/**
 * Which bytes of which files of the record the archive has. Each Parquet file says in its own footer what it was made of, so it is there with
 * its positions or not at all. `positions.json` has the same once more: it saves opening all of them, and knows those that were deleted since.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { sha256Hex } from '../base/digest.ts'
import { readIfThere, writeFileAtomically } from '../mesh/files.ts'
import { DamagedRecord, type RecordDatabase, sqlText } from './database.ts'

/** The key of a Parquet file's own metadata. */
export const positionsKey = 'ringfence.positions'
const cacheName = 'positions.json'

const positionSchema = z.object({
  /** Name of the file of the record, without its folder. */
  file: z.string(),
  from: z.int().min(0),
  to: z.int().min(1),
  lines: z.int().min(0),
  /** SHA-256 of these bytes, in hexadecimal. */
  sha256: z.string(),
})
const positionsSchema = z.array(positionSchema)
const cacheSchema = z.record(z.string(), positionsSchema)

/** Whole lines of one file. */
export type Position = z.infer<typeof positionSchema>

export interface Span {
  readonly from: number
  readonly to: number
}

/** What is in the archive, by name of the Parquet file. */
export type PositionsByFile = ReadonlyMap<string, readonly Position[]>

/** A Parquet file, below the archive's folder. */
export interface ArchiveFile {
  readonly path: string
  readonly name: string
  /** `2026-11-30T04`. */
  readonly hour: string
}

/** The Parquet files of an archive, in the order of time. */
export function archiveFiles(archive: string): ArchiveFile[] {
  const found: ArchiveFile[] = []
  for (const day of foldersOf(archive, /^day=(\d{4}-\d{2}-\d{2})$/)) {
    for (const hour of foldersOf(join(archive, day.name), /^hour=(\d{2})$/)) {
      const folder = join(archive, day.name, hour.name)
      for (const name of readdirSync(folder).sort()) {
        if (name.endsWith('.parquet'))
          found.push({ path: join(folder, name), name, hour: `${day.value}T${hour.value}` })
      }
    }
  }
  return found
}

export function isArchive(folder: string): boolean {
  return readIfThere(join(folder, cacheName)) !== undefined || foldersOf(folder, /^day=([\d-]+)$/).length > 0
}

function foldersOf(folder: string, pattern: RegExp): { name: string; value: string }[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const value = pattern.exec(name)?.[1]
      return value === undefined ? [] : [{ name, value }]
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Read it before the files are listed: then what it says is of files in the list, or of deleted ones. */
export function keptPositions(archive: string): PositionsByFile {
  const path = join(archive, cacheName)
  const text = readIfThere(path)
  if (text === undefined) return new Map()
  const hint =
    'take it from a copy; without it, what was packed and then deleted is packed again where its lines are still there'
  return new Map(Object.entries(readWith(cacheSchema, text, path, hint)))
}

/** What can't be read is never nothing: then lines would count twice, or not at all. */
function readWith<T>(schema: z.ZodType<T>, text: string, path: string, hint: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    throw new DamagedRecord(`${path} is damaged: it does not say what was packed`, hint, cause)
  }
}

export function keepPositions(archive: string, positions: PositionsByFile): void {
  writeFileAtomically(join(archive, cacheName), `${JSON.stringify(Object.fromEntries(positions))}\n`, 0o600)
}

/** Of these files too, from the footers of those that are not known yet. */
export async function withFooters(
  database: RecordDatabase,
  known: PositionsByFile,
  files: readonly ArchiveFile[],
): Promise<PositionsByFile> {
  const unknown = files.filter(({ name }) => !known.has(name))
  if (unknown.length === 0) return known
  const list = unknown.map(({ path }) => sqlText(path)).join(', ')
  const { rows } = await database.ask(
    `SELECT file_name, decode(value) AS value FROM parquet_kv_metadata([${list}]) WHERE decode(key) = $1`,
    [positionsKey],
  )
  const all = new Map(known)
  for (const { file_name: path, value } of rows) {
    const file = unknown.find((one) => one.path === path)
    if (file === undefined) continue
    all.set(file.name, readWith(positionsSchema, String(value), file.path, 'take the file from a copy of the archive'))
  }
  const foreign = unknown.find(({ name }) => !all.has(name))
  if (foreign !== undefined) {
    const hint = 'take it out of the archive'
    throw new DamagedRecord(`${foreign.path} does not say what it was made of: audit pack did not write it`, hint)
  }
  return all
}

/** Adds up what is there, by file of the record. */
export class Covered {
  readonly #spans = new Map<string, Span[]>()

  constructor(positions: PositionsByFile) {
    for (const each of positions.values()) for (const { file, from, to } of each) this.#add(file, { from, to })
  }

  #add(file: string, span: Span): void {
    const spans = this.#spans.get(file)
    if (spans === undefined) this.#spans.set(file, [span])
    else spans.push(span)
  }

  /** What of a file of this length is not there. */
  missing(file: string, bytes: number): Span[] {
    const missing: Span[] = []
    let at = 0
    for (const { from, to } of (this.#spans.get(file) ?? []).sort((a, b) => a.from - b.from)) {
      if (from > at) missing.push({ from: at, to: Math.min(from, bytes) })
      at = Math.max(at, to)
    }
    if (at < bytes) missing.push({ from: at, to: bytes })
    return missing
  }
}

/** The same positions give the same name, so that a file is never there twice. */
export function parquetName(hour: string, positions: readonly Position[]): string {
  return `${hour}-${sha256Hex(JSON.stringify(positions)).slice(0, 16)}.parquet`
}
