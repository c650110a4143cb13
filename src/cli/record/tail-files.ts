/**
 * The files that a tail follows, each as a part of what it belongs to: segments of one log, wherever each lies at present, or the lines of a folder.
 *
 * Rule: a segment is known by its log's key and its name, not by its place: its copy elsewhere is the same bytes, and none is read twice.
 */
import { basename, dirname } from 'node:path'
import { isSegment, type RecordFile } from '../../archive/record-file.ts'
import { serialOf } from '../../audit/sealed/files.ts'
import { startOfSegment } from '../../audit/sealed/recover.ts'

export interface TailFile extends RecordFile {
  readonly id: string
  /** What belongs together has the same. */
  readonly whole: string
}

export class TailFiles {
  /** By path: what is read of a beginning once does not change. */
  readonly #keys = new Map<string, string>()

  /** Segments of a log in their order, and files of lines as they are listed. What is gone, and what has no beginning yet, is left out. */
  of(files: readonly RecordFile[]): TailFile[] {
    const found = files.flatMap((file): TailFile[] => {
      if (!isSegment(file)) return [{ ...file, id: file.path, whole: dirname(file.path) }]
      const key = this.#keyOf(file.path)
      return key === undefined ? [] : [{ ...file, id: `${key} ${basename(file.path)}`, whole: key }]
    })
    return [...Map.groupBy(found, ({ whole }) => whole).values()].flatMap((group) => group.sort(bySerial))
  }

  #keyOf(path: string): string | undefined {
    const known = this.#keys.get(path)
    if (known !== undefined) return known
    const key = unlessGone(() => startOfSegment(path).head?.key)
    if (key !== undefined) this.#keys.set(path, key)
    return key
  }
}

/** Lines stay in the order in which they are listed. */
function bySerial(a: RecordFile, b: RecordFile): number {
  return (serialOf(basename(a.path)) ?? 0) - (serialOf(basename(b.path)) ?? 0)
}

/** Of a file that was removed, or moved, after it was listed. */
export function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (reason) {
    if (isGone(reason)) return undefined
    throw reason
  }
}

export function isGone(reason: unknown): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === 'ENOENT'
}
