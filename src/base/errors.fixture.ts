/** What work refuses, as tests ask for it. Anything but a RingfenceError goes through, or fails the test. */
import assert from 'node:assert/strict'
import { RingfenceError } from './errors.ts'

/** The code; `none` where nothing was refused. */
export function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError, String(reason))
    return reason.code
  }
  return 'none'
}

/** The lines of what is wrong with a document; none where it is taken. */
export function problemsOf(load: () => unknown): string[] {
  try {
    load()
  } catch (reason) {
    assert.ok(reason instanceof RingfenceError && reason.code === 'CONFIG', String(reason))
    return reason.message.split('\n')
  }
  return []
}

/** Of a fuzzer: whether arbitrary bytes or text were refused. */
export function isRefused(work: () => unknown): boolean {
  try {
    work()
    return false
  } catch (reason) {
    if (reason instanceof RingfenceError) return true
    throw reason
  }
}
