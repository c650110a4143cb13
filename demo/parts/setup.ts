/**
 * The real parts: NGINX with its stream module, JDK 17, Maven, and Cassandra's jars. Finds them; what is missing is
 * installed through apt as root, or else named with the exact command. The jars come from Maven Central, once.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import { createProgress, type Progress } from './progress.ts'

export const cassandraVersion = '5.0.9'
export const repoRoot: string = join(import.meta.dirname, '..', '..')
export const defaultStateDir: string = join(repoRoot, '.ringfence')

export interface Parts {
  /** Path of a Java 17 program. */
  readonly java: string
  readonly jarsDir: string
  readonly nginx: NginxProgram
}

export interface NginxProgram {
  readonly program: string
  /** Path of the stream module where it has to be loaded; undefined where it is built in. */
  readonly streamModule: string | undefined
}

/** Written last, so a download that was interrupted is done again. */
const marker = '.complete'

/**
 * Finds or installs everything.
 * @param stateDir where the jars go when no other copy is there: `<stateDir>/parts/cassandra-<version>`
 * @throws RingfenceError UNAVAILABLE with the command to run, when something is missing that only root can install
 */
export async function setUpParts({
  stateDir = defaultStateDir,
  progress = createProgress(),
}: {
  readonly stateDir?: string
  readonly progress?: Progress
}): Promise<Parts> {
  const jarsDir = findJars(stateDir)
  const packages: string[] = []
  if ((await findNginx()) === undefined) packages.push('nginx', 'libnginx-mod-stream')
  if ((await findJava()) === undefined) packages.push('openjdk-17-jdk-headless')
  if (jarsDir === undefined && findProgram('mvn') === undefined) packages.push('maven')
  if (packages.length > 0) await installPackages(packages, progress)

  const nginx = await findNginx()
  if (nginx === undefined) throw missing('NGINX with its stream module', ['nginx', 'libnginx-mod-stream'])
  const java = await findJava()
  if (java === undefined) throw missing('JDK 17', ['openjdk-17-jdk-headless'])
  return { java, nginx, jarsDir: jarsDir ?? (await fetchJars(stateDir, progress)) }
}

/** For the tests of what Prometheus is told. @throws RingfenceError UNAVAILABLE as `setUpParts` does */
export async function setUpPrometheus(progress: Progress = createProgress()): Promise<void> {
  const isThere = (): boolean => findProgram('prometheus') !== undefined && findProgram('promtool') !== undefined
  if (!isThere()) await installPackages(['prometheus'], progress)
  if (!isThere()) throw missing('Prometheus', ['prometheus'])
}

/** The jars of this state folder, or the ones of the repository's own: they are the same and 66 MB large. */
function findJars(stateDir: string): string | undefined {
  const folders = [stateDir, defaultStateDir].map((dir) => join(dir, 'parts', `cassandra-${cassandraVersion}`))
  return folders.find((folder) => existsSync(join(folder, marker)))
}

async function fetchJars(stateDir: string, progress: Progress): Promise<string> {
  const target = join(stateDir, 'parts', `cassandra-${cassandraVersion}`)
  const unfinished = `${target}.unfinished`
  return progress.step(`Cassandra ${cassandraVersion} from Maven Central`, async (report) => {
    rmSync(unfinished, { recursive: true, force: true })
    mkdirSync(unfinished, { recursive: true })
    let jars = 0
    const pom = join(repoRoot, 'deploy', 'cassandra', 'pom.xml')
    const args = ['--batch-mode', '--file', pom, 'dependency:copy-dependencies', `-DoutputDirectory=${unfinished}`]
    await runProgram('mvn', args, {}, (line) => {
      if (/Downloaded from .*\.jar/.test(line)) report(`${++jars} jars`)
    })
    if (!readdirSync(unfinished).some((file) => file === `cassandra-all-${cassandraVersion}.jar`)) {
      throw new RingfenceError('UNAVAILABLE', `Maven brought no cassandra-all-${cassandraVersion}.jar`)
    }
    writeFileSync(join(unfinished, marker), '')
    rmSync(target, { recursive: true, force: true })
    renameSync(unfinished, target)
    return target
  })
}

async function installPackages(packages: readonly string[], progress: Progress): Promise<void> {
  if (process.getuid?.() !== 0 || findProgram('apt-get') === undefined) throw missing(packages.join(', '), packages)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await progress.step('apt-get update', () => runProgram('apt-get', ['update', '-q'], env))
  await progress.step(`apt-get install ${packages.join(' ')}`, (report) =>
    runProgram('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], env, (line) => {
      const [, doing, name] = /^(Unpacking|Setting up) (\S+)/.exec(line) ?? []
      if (doing !== undefined) report(`${doing.toLowerCase()} ${name}`)
    }),
  )
  if (packages.includes('nginx')) {
    progress.note(
      '  (Debian starts a web server with its NGINX package; Ringfence starts its own and does not need that one)',
    )
  }
}

function missing(what: string, packages: readonly string[]): RingfenceError {
  const jdk = packages.includes('openjdk-17-jdk-headless')
    ? '\n  (where Debian has no JDK 17 any more, install another build of it and set JAVA_HOME)'
    : ''
  const root = process.getuid?.() === 0 ? '' : 'sudo '
  return new RingfenceError('UNAVAILABLE', `missing: ${what}`, {
    hint: `run this, then try again:\n\n    ${root}apt-get update && ${root}apt-get install -y ${packages.join(' ')}\n${jdk}`,
  })
}

async function findJava(): Promise<string | undefined> {
  const homes = [process.env.JAVA_HOME, ...listOrNone('/usr/lib/jvm').map((name) => join('/usr/lib/jvm', name))]
  const candidates = [
    findProgram('java'),
    ...homes.map((home) => (home === undefined ? undefined : join(home, 'bin', 'java'))),
  ]
  for (const java of candidates) {
    if (java === undefined || !existsSync(java)) continue
    if (/version "17[."]/.test(await outputOf(java, ['-version']))) return java
  }
  return undefined
}

async function findNginx(): Promise<NginxProgram | undefined> {
  const program = findProgram('nginx')
  if (program === undefined) return undefined
  const built = await outputOf(program, ['-V'])
  if (/--with-stream(?!=|_)/.test(built)) return { program, streamModule: undefined }
  const modules = /--modules-path=(\S+)/.exec(built)?.[1] ?? '/usr/lib/nginx/modules'
  const streamModule = join(modules, 'ngx_stream_module.so')
  return existsSync(streamModule) ? { program, streamModule } : undefined
}

/** First of the path's folders that has it, and of `sbin`, which an ordinary user's path leaves out. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

function listOrNone(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

function outputOf(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('error', () => resolve(''))
    child.on('close', () => resolve(output))
  })
}

/** Runs a program to its end, line by line. Throws UNAVAILABLE with the last lines that it wrote. */
export function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  onLine: (line: string) => void = () => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const last: string[] = []
    const take = (chunk: Buffer): void => {
      for (const line of chunk.toString().split('\n')) {
        if (line.trim() === '') continue
        onLine(line)
        last.push(line)
        if (last.length > 20) last.shift()
      }
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    const command = `${program} ${args.join(' ')}`
    child.on('error', (cause) => reject(new RingfenceError('UNAVAILABLE', `cannot run ${command}`, { cause })))
    child.on('close', (code) => {
      if (code === 0) resolve()
      else reject(new RingfenceError('UNAVAILABLE', `${command} failed (exit ${code})`, { hint: last.join('\n  ') }))
    })
  })
}

/** `node demo/parts/setup.ts` sets up the parts and nothing else. */
if (import.meta.main) {
  const parts = await setUpParts({})
  console.log(JSON.stringify(parts, undefined, 2))
}
