/**
 * How the program is started: by the pinned Node.js, which runs TypeScript as it stands.
 *
 * What strips the types is a WebAssembly module of 30 MB that would stay in memory, and stripping takes longer than all else that a start
 * does. So Node.js keeps what it made in a folder (its compile cache), and a start that finds the folder filled never loads that module.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const nodeMajor = 26
const root = fileURLToPath(new URL('..', import.meta.url))
const pinned = join(root, 'node_modules', '.bin', 'node')
const own = Number(process.versions.node.split('.')[0]) >= nodeMajor

/** What the long-running roles load besides the program itself. */
const roleModules = new Map([
  ['sidecar', ['src/sidecar/main.ts', 'src/sidecar/analyst-thread.ts']],
  ['gateway', ['src/gateway/main.ts', 'src/gateway/gateway.ts']],
])

/**
 * A young generation of 2 MB at most, where V8 would let it grow to 16 (bench/README.md has what it costs, which is nothing that could be
 * told). The one WebAssembly module, Cedar, is compiled simply: it decides once for each statement, and what compiled it better was memory
 * that stayed. `gc` is for one collection when the role has started (src/telemetry/start-garbage.ts).
 *
 * The way of a request is some two hundred small functions. V8 puts no more than 920 bytes of bytecode of others into one by default, and
 * calls the rest; with room for 4,000 a sidecar's own code takes a sixth less for each request (bench/notebook.md).
 *
 * OpenSSL's settings say that no session tickets are sent. Who has settings of their own (OPENSSL_CONF) keeps them.
 */
const roleFlags = [
  '--max-semi-space-size=2',
  '--liftoff-only',
  '--expose-gc',
  '--max-inlined-bytecode-size-cumulative=4000',
  ...(process.env.OPENSSL_CONF === undefined ? [`--openssl-config=${join(root, 'bin', 'openssl.cnf')}`] : []),
]

/**
 * File, arguments and environment to start `ringfence` with; undefined where there is no Node.js that can.
 * @param {readonly string[]} args of the program
 */
export function commandOf(args) {
  const file = existsSync(pinned) ? pinned : own ? process.execPath : undefined
  if (file === undefined) return undefined
  const modules = roleModules.get(args[0] ?? '')
  const flags = modules === undefined ? [] : roleFlags
  const env = { ...process.env, ...(modules === undefined ? {} : thrifty(file, flags, modules)) }
  return { file, args: [...flags, join(root, 'src', 'cli', 'main.ts'), ...args], env }
}

/** Environment for a role that stays: its code without the stripper, and one heap of the C library instead of one for each thread. */
function thrifty(node, flags, modules) {
  const cache = process.env.NODE_COMPILE_CACHE ?? codeFolder()
  const env = { MALLOC_ARENA_MAX: process.env.MALLOC_ARENA_MAX ?? '1' }
  if (cache === undefined) return env
  env.NODE_COMPILE_CACHE = cache
  fill(cache, node, flags, modules, env)
  return env
}

/** The user's own; whoever may write there may already do anything as that user. */
function codeFolder() {
  const caches = process.env.XDG_CACHE_HOME ?? (homedir() === '' ? undefined : join(homedir(), '.cache'))
  return caches === undefined ? undefined : join(caches, 'ringfence', 'code')
}

/** Loads everything once in a process of its own, unless that was done for these very files. Without the folder all works as well. */
function fill(cache, node, flags, modules, env) {
  const key = createHash('sha256')
    .update(JSON.stringify([node, flags, modules, stampOf(join(root, 'src'))]))
    .digest('hex')
  const stamp = join(cache, `filled-${key.slice(0, 16)}`)
  try {
    if (existsSync(stamp)) return
    mkdirSync(cache, { recursive: true, mode: 0o700 })
    const urls = [...modules, 'src/cli/main.ts'].map((module) => new URL(`../${module}`, import.meta.url).href)
    const script = urls.map((url) => `await import(${JSON.stringify(url)})`).join('\n')
    const options = { env: { ...process.env, ...env }, stdio: 'ignore' }
    // The program itself runs when it is loaded; that it prints its version is as little as it can do.
    const run = [...flags, '--input-type=module', '--eval', script, 'ringfence', '--version']
    const { status } = spawnSync(node, run, options)
    if (status === 0) writeFileSync(stamp, '')
  } catch {
    // No folder, or none that may be written: the types are stripped at each start.
  }
}

/** Changes with every source file; Node.js compares contents by itself, so that a stale folder is no danger, only large. */
function stampOf(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(folder, name))
      return `${name} ${size} ${mtimeMs}`
    })
}
