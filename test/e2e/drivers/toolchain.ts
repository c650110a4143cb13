/**
 * Makes each driver program runnable: a Python environment with the drivers from PyPI, the Java driver's jars and one class, one
 * Go binary. What is made lies in `.ringfence/toolchains/<name>` with a marker of what it was made from, so it is made once.
 * A missing language is an expected answer (`absent`); a build that fails is an error.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = import.meta.dirname
const repository = join(here, '..', '..', '..')
const buildTimeoutMs = 600_000

export interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export type Toolchain = { readonly program: Program } | { readonly absent: string }

export type DriverName = 'node' | 'python' | 'java' | 'go' | 'cqlsh'

const makers: Readonly<Record<DriverName, () => Promise<Toolchain>>> = {
  node: async () => ({ program: { command: process.execPath, args: [join(here, 'node', 'main.ts')], env: {} } }),
  python: async () => {
    const python = await pythonEnvironment()
    if ('absent' in python) return python
    return { program: { command: join(python.dir, 'bin', 'python'), args: [join(here, 'python', 'main.py')], env: {} } }
  },
  cqlsh: async () => {
    const python = await pythonEnvironment()
    if ('absent' in python) return python
    const env = { RF_CQLSH: join(python.dir, 'bin', 'cqlsh') }
    return { program: { command: process.execPath, args: [join(here, 'cqlsh', 'main.ts')], env } }
  },
  java: javaProgram,
  go: goProgram,
}

/** The program of a driver, built if need be. Throws with the tool's own words when a build fails. */
export function toolchainOf(driver: DriverName): Promise<Toolchain> {
  return makers[driver]()
}

/** `bin` of an environment of its own has what `requirements` names. */
export async function pythonEnvironment(
  name = 'python',
  requirements = join(here, 'python', 'requirements.txt'),
): Promise<{ dir: string } | { absent: string }> {
  const dir = join(toolchainsDir(), name)
  if (!(await answers('python3', '--version'))) return { absent: 'python3 is not installed' }
  if (!(await answers('python3', '-c', 'import venv, ensurepip'))) return { absent: 'python3-venv is not installed' }
  await once(dir, [requirements], async () => {
    await execute('python3', ['-m', 'venv', dir])
    const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet', '-r', requirements]
    await execute(join(dir, 'bin', 'python'), pip)
  })
  return { dir }
}

async function javaProgram(): Promise<Toolchain> {
  const dir = join(toolchainsDir(), 'java')
  const pom = join(here, 'java', 'pom.xml')
  const source = join(here, 'java', 'Main.java')
  for (const [tool, flag] of [
    ['javac', '-version'],
    ['mvn', '--version'],
  ] as const) {
    if (!(await answers(tool, flag))) return { absent: `${tool} is not installed` }
  }
  const lib = join(dir, 'lib')
  const classes = join(dir, 'classes')
  await once(dir, [pom, source], async () => {
    await execute('mvn', ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${lib}`])
    await execute('javac', ['-encoding', 'UTF-8', '-cp', join(lib, '*'), '-d', classes, source])
  })
  const args = ['-Xmx256m', '-Dfile.encoding=UTF-8', '-cp', `${classes}:${join(lib, '*')}`, 'Main']
  return { program: { command: 'java', args, env: {} } }
}

async function goProgram(): Promise<Toolchain> {
  const dir = join(toolchainsDir(), 'go')
  const module = join(here, 'go')
  if (!(await answers('go', 'version'))) return { absent: 'go is not installed' }
  const binary = join(dir, 'driver')
  await once(dir, [join(module, 'go.mod'), join(module, 'go.sum'), join(module, 'main.go')], () =>
    execute('go', ['build', '-o', binary, '.'], module),
  )
  return { program: { command: binary, args: [], env: {} } }
}

/** `bin` has the program of a Go module, by the last name of the module, and those that are named. */
export async function goPrograms(
  name: string,
  module: string,
  programs: readonly string[] = [],
): Promise<{ bin: string } | { absent: string }> {
  if (!(await answers('go', 'version'))) return { absent: 'go is not installed' }
  const bin = join(toolchainsDir(), name)
  const written = readdirSync(module).filter((file) => file.endsWith('.go'))
  const sources = ['go.mod', 'go.sum', ...written.sort()].map((file) => join(module, file))
  await once(bin, sources, () => execute('go', ['build', '-o', `${bin}/`, '.', ...programs], module))
  return { bin }
}

export function toolchainsDir(): string {
  return process.env.RINGFENCE_TOOLCHAINS ?? join(repository, '.ringfence', 'toolchains')
}

/** Runs `make` in an empty folder unless the folder was made from the same sources before. */
async function once(dir: string, sources: readonly string[], make: () => Promise<void>): Promise<void> {
  const hash = createHash('sha256')
  for (const source of sources) hash.update(readFileSync(source)).update('\0')
  const madeFrom = hash.digest('hex')
  const marker = join(dir, 'made-from')
  const isMade = (): boolean => existsSync(marker) && readFileSync(marker, 'utf8') === madeFrom
  if (isMade()) return
  const release = await lock(`${dir}.lock`)
  try {
    // By a suite that ran beside this one, while this one waited.
    if (isMade()) return
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir, { recursive: true })
    await make()
    writeFileSync(marker, madeFrom)
  } finally {
    release()
  }
}

/** One process makes a toolchain. The lock of a process that is gone, or is older than a build can be, counts for nothing. */
async function lock(file: string): Promise<() => void> {
  mkdirSync(dirname(file), { recursive: true })
  for (const until = performance.now() + buildTimeoutMs; ; await sleep(100)) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' })
      return () => rmSync(file, { force: true })
    } catch (reason) {
      if ((reason as NodeJS.ErrnoException).code !== 'EEXIST') throw reason
      if (performance.now() > until || !isAlive(ownerOf(file))) rmSync(file, { force: true })
    }
  }
}

/** The process that holds the lock; undefined while it writes its number, and when it has let go. */
function ownerOf(file: string): number | undefined {
  try {
    return Number(readFileSync(file, 'utf8')) || undefined
  } catch {
    return undefined
  }
}

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return true
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function answers(command: string, ...args: string[]): Promise<boolean> {
  try {
    await run(command, args, { timeout: 30_000 })
    return true
  } catch {
    return false
  }
}

async function execute(command: string, args: readonly string[], cwd?: string): Promise<void> {
  try {
    await run(command, args, { timeout: buildTimeoutMs, maxBuffer: 64 * 1024 * 1024, ...(cwd ? { cwd } : {}) })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} failed: ${`${stderr}\n${stdout}`.trim().slice(-4000) || String(error)}`)
  }
}
