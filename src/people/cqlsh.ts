/**
 * The user's own cqlsh, as that person. It talks to a listener of ours on loopback. Its password is made for this one run, and is in a file
 * that only its owner may read.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { contained, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { startConnect } from './connect/start.ts'
import { writeOwnFile } from './own-files.ts'
import type { ProfileFolder } from './profile.ts'

/** Where to go and as whom is ours to say; all else (colours, formats, COPY) is as the person has it. */
const ownSections: ReadonlySet<string> = new Set([
  'connection',
  'ssl',
  'certfiles',
  'authentication',
  'auth_provider',
  'plain_text_auth',
])

/** @returns cqlsh's exit code. @throws RingfenceError */
export async function runCqlsh(
  folder: ProfileFolder,
  program: string | undefined,
  args: readonly string[],
  say: (words: string) => void,
): Promise<number> {
  const path = findCqlsh(program)
  const files = mkdtempSync(join(tmpdir(), 'ringfence-cqlsh-'))
  try {
    const credentialsFile = join(files, 'credentials')
    const listen = { address: '127.0.0.1', port: 0 }
    const running = await startConnect(folder, { listen, credentialsFile, isForPerson: true, say })
    try {
      const rcFile = join(files, 'cqlshrc')
      writeOwnFile(rcFile, `${withoutOwnSections(usersRc())}\n[connection]\nssl = false\n`)
      const { CQLSH_HOST: _, CQLSH_PORT: __, ...env } = process.env
      const child = spawn(path, ['--cqlshrc', rcFile, '--credentials', credentialsFile, ...args], {
        stdio: 'inherit',
        env: { ...env, CQLSH_HOST: running.address, CQLSH_PORT: String(running.port) },
      })
      return await endOf(child)
    } finally {
      running.stop()
    }
  } finally {
    rmSync(files, { recursive: true, force: true })
  }
}

/** @throws RingfenceError UNAVAILABLE */
function findCqlsh(program: string | undefined): string {
  const { PATH: path = '' } = process.env
  const places = program === undefined ? path.split(delimiter).map((folder) => join(folder, 'cqlsh')) : [program]
  const found = places.find(isExecutable)
  if (found !== undefined) return found
  throw new RingfenceError('UNAVAILABLE', program === undefined ? 'cqlsh is not in PATH' : `${program} is no program`, {
    hint: 'pipx install cqlsh, or that of Cassandra 4.1 or later; or --cqlsh <file>',
  })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function usersRc(): string {
  try {
    return readFileSync(join(homedir(), '.cassandra', 'cqlshrc'), 'utf8')
  } catch {
    return ''
  }
}

/** An INI file without the sections that say where to go and as whom. */
export function withoutOwnSections(text: string): string {
  let isOwn = false
  const kept = text.split('\n').filter((line) => {
    const [, section] = /^\s*\[([^\]]*)\]/.exec(line) ?? []
    if (section !== undefined) isOwn = ownSections.has(section.trim())
    return !isOwn
  })
  return kept.join('\n')
}

/** A terminal sends SIGINT to cqlsh too, which ends its statement; we go on until it ends. */
function endOf(child: ChildProcess): Promise<number> {
  process.on('SIGINT', () => {})
  process.on(
    'SIGTERM',
    contained(nothingEnds, 'a signal', () => void child.kill('SIGTERM')),
  )
  return new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on(
      'exit',
      contained({ onFault: reject }, 'the end of cqlsh', (code: number | null) => resolve(code ?? 1)),
    )
  })
}
