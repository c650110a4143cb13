/** The tree of another commit, unpacked for a run, so that a change on the fast path shows its cost beside what was there before. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, realpathSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

export interface UnpackedCommit {
  readonly root: string
  /** As the table shows it. */
  readonly name: string
}

/**
 * Unpacks `commit` below `directory`; its packages are those of this tree. The repository itself is only read.
 * @throws Error when git does not know the commit
 */
export function unpackCommit(commit: string, directory: string): UnpackedCommit {
  const hash = git('rev-parse', '--short', '--verify', `${commit}^{commit}`).toString().trim()
  const target = join(directory, `tree-${hash}`)
  mkdirSync(target)
  execFileSync('tar', ['-x', '-C', target], { input: git('archive', hash) })
  symlinkSync(realpathSync(join(root, 'node_modules')), join(target, 'node_modules'))
  return { root: target, name: `mesh at ${hash}` }
}

function git(...args: string[]): Buffer {
  return execFileSync('git', args, { cwd: root, maxBuffer: 1024 * 1024 * 1024, stdio: ['ignore', 'pipe', 'pipe'] })
}
