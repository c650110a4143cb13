/** The load maker `latte`, built once from its crate `latte-cli` into a folder of the state folder. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '../../demo/parts/setup.ts'

const release = '0.29.0'

/** Builds it at low priority where it is not there yet, for some minutes. Answers the binary, or a reason for people why there is none. */
export function findLatte(stateDir: string, say: (line: string) => void): { binary: string } | { missing: string } {
  const root = join(stateDir, 'toolchains', 'latte')
  const binary = join(root, 'bin', 'latte')
  if (existsSync(binary)) return { binary }
  const cargo = findProgram('cargo')
  if (cargo === undefined) {
    return { missing: 'latte is built by cargo, and there is none: install Rust (https://rustup.rs), then try again' }
  }
  say(`building latte-cli ${release} from crates.io, once; it takes some minutes`)
  mkdirSync(root, { recursive: true })
  const args = ['install', 'latte-cli', '--version', release, '--locked', '--root', root, '--jobs', '1']
  const { status } = spawnSync('nice', ['-n', '19', cargo, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  if (status === 0 && existsSync(binary)) return { binary }
  return {
    missing: 'latte-cli could not be built; it also needs the headers of OpenSSL (Debian: libssl-dev, pkg-config)',
  }
}
