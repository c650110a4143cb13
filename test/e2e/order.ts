/** The order of the end-to-end suites: what breaks the mesh comes last, so that nothing it leaves behind is another suite's trouble. */
import { globSync } from 'node:fs'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '..', '..')
/** Later is more disturbing; suites that are not named come before these. */
const last = ['gateways', 'bypass', 'hostile', 'fault']

/** Paths from the repository's root; with words, only files that contain one of them. */
export function endToEndFiles(words: readonly string[] = []): string[] {
  return globSync('test/e2e/**/*.e2e.test.ts', { cwd: repository })
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort((a, b) => rankOf(a) - rankOf(b) || a.localeCompare(b))
}

function rankOf(file: string): number {
  return last.findIndex((word) => file.includes(word))
}
