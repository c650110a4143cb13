/** A file of the record, whatever its form: lines of JSON, or a segment that is sealed. */
import { basename } from 'node:path'
import { serialOf } from '../audit/sealed/files.ts'

export interface RecordFile {
  readonly path: string
  readonly bytes: number
  /** When it was last written, where that is known. */
  readonly writtenMs?: number
}

export function isSegment({ path }: RecordFile): boolean {
  return serialOf(basename(path)) !== undefined
}

/** From the beginning, up to before the end. */
export interface TimeRange {
  readonly fromMs: number
  readonly toMs: number
}
