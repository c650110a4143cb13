/** The folder of the audit, and the words for one that cannot be written to. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { RingfenceError } from '../base/errors.ts'

/** Step by step, because mkdirSync's `recursive` never returns for a path below /proc (Node 26.10). */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, 0o700)
  } catch (reason) {
    const code = reason instanceof Error && 'code' in reason ? reason.code : undefined
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(path) === path) throw reason
    makeDirectory(dirname(path))
    mkdirSync(path, 0o700)
  }
}

export function writeFailure(reason: unknown): RingfenceError {
  if (reason instanceof RingfenceError) return reason
  const code = reason instanceof Error && 'code' in reason ? String(reason.code) : 'unknown error'
  return new RingfenceError('UNAVAILABLE', `the audit cannot be written: ${code}`, {
    cause: reason,
    hint: 'free space on the disk of the audit directory, or make it writable',
  })
}
