/**
 * The audit of sidecars, read back: which files hold a stretch of time, and their lines one by one. Files of lines may be gigabytes, so none of
 * them is ever held as a whole.
 */
import { createReadStream, readdirSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { serialOf } from '../../audit/sealed/files.ts'
import { SealedLines } from '../../audit/sealed/lines.ts'
import { UnreadableInput } from '../options.ts'

export interface AuditFile {
  readonly path: string
  readonly bytes: number
  readonly writtenMs: number
}

/** Far above `auditLineBytesMax`: what is longer was not written by a sidecar. */
const lineBytesMax = 1024 * 1024
const chunkBytes = 1024 * 1024

/**
 * Where the sidecars of this host write, beside the control plane's folder: `sidecar/audit` (a sidecar with the default state folder) and
 * `sidecar/<name>/audit` (several, as the demonstration has them). Empty where there are none.
 */
export function auditDirsBeside(controlStateDir: string): string[] {
  const sidecars = join(dirname(controlStateDir), 'sidecar')
  return ['audit', ...namesIn(sidecars).map((name) => join(name, 'audit'))]
    .map((name) => join(sidecars, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
}

/** A file of lines, or a segment that is sealed. */
export function isAuditFile(name: string): boolean {
  return /^audit-.*\.jsonl$/.test(name) || serialOf(name) !== undefined
}

/**
 * The files of a folder that may hold records of `sinceMs` and later, in the order of time. A file's name says when it was begun and its
 * modification time when it was last written; a copy may have lost the latter, and then too much is read, never too little.
 * @throws UnreadableInput when the folder cannot be read
 */
export function auditFilesSince(directory: string, sinceMs: number): AuditFile[] {
  const files: AuditFile[] = []
  try {
    for (const name of readdirSync(directory).sort()) {
      if (!isAuditFile(name)) continue
      const path = join(directory, name)
      const found = statSync(path, { throwIfNoEntry: false })
      // Removed since the folder was read.
      if (found === undefined) continue
      const { mtimeMs, size } = found
      if (mtimeMs >= sinceMs && size > 0) files.push({ path, bytes: size, writtenMs: mtimeMs })
    }
  } catch (cause) {
    throw new UnreadableInput(`${directory} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
  return files
}

/** Reads files of either form, those of one folder in their order: a segment leans on the one before. */
export function recordReader(
  onLine: (line: string) => void,
  onBytes: (bytes: number) => void,
): (path: string) => Promise<void> {
  const folders = new Map<string, SealedLines>()
  return async (path) => {
    if (serialOf(basename(path)) === undefined) return await readLines(path, onLine, onBytes)
    const folder = dirname(path)
    const sealed = folders.get(folder) ?? new SealedLines(onLine)
    folders.set(folder, sealed)
    const bytes = await readFile(path)
    sealed.segment(bytes)
    onBytes(bytes.length)
  }
}

/**
 * Hands over each whole line without its line feed, and after each piece of the file its length in bytes. A last line without a line feed is
 * one that a sidecar is writing, or one that was torn: it is handed over as well.
 */
export async function readLines(
  path: string,
  onLine: (line: string) => void,
  onBytes: (bytes: number) => void,
): Promise<void> {
  let carried: Buffer[] = []
  let carriedBytes = 0
  const emit = (end: Buffer): void => {
    const line = carriedBytes === 0 ? end : Buffer.concat([...carried, end])
    carried = []
    carriedBytes = 0
    if (line.length > 0) onLine(line.toString('utf8'))
  }
  for await (const piece of createReadStream(path, { highWaterMark: chunkBytes })) {
    const chunk = piece as Buffer
    let start = 0
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      emit(chunk.subarray(start, end))
      start = end + 1
    }
    const rest = chunk.subarray(start)
    if (rest.length > 0 && carriedBytes + rest.length <= lineBytesMax) {
      carried.push(rest)
      carriedBytes += rest.length
    }
    onBytes(chunk.length)
  }
  if (carriedBytes > 0) emit(Buffer.alloc(0))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}
