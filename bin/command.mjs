/**
 * How the program is started: by the pinned Node.js, which runs TypeScript as it stands.
 *
 * What strips the types is a WebAssembly module of 30 MB that would stay in memory, and stripping takes longer than all else that a start
 * does. So a role that stays has its code from a file without types (`role.mjs`), which is made by `npm run build`, or at the first start
 * (`pack.mjs`). Node.js has a compile cache for the same; but what a process took from that stays in its memory, 8 MB beside a database.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { codeFile, codeFolder, digestChars, keyOf, root } from './code.mjs'

export const nodeMajor = 26
const pinned = join(root, 'node_modules', '.bin', 'node')
const program = join(root, 'src', 'cli', 'main.ts')
const own = Number(process.versions.node.split('.')[0]) >= nodeMajor

/** They stay in memory. */
const longRunning = new Set(['sidecar', 'gateway'])

/**
 * A young generation of 2 MB at most, where V8 would let it grow to 16 (bench/README.md has what it costs, which is nothing that could be
 * told). The one WebAssembly module, Cedar, is compiled simply: it decides once for each statement, and what compiled it better was memory
 * that stayed. `gc` is for one collection when the role has started (src/telemetry/start-garbage.ts).
 *
 * The way of a request is some two hundred small functions. V8 puts no more than 920 bytes of bytecode of others into one by default, and
 * calls the rest; with room for 4,000 a sidecar's own code takes a sixth less for each request (bench/notebook.md).
 *
 * OpenSSL's settings say that no session tickets are sent. Who has settings of their own (OPENSSL_CONF, NODE_OPTIONS) keeps them.
 */
const roleFlags = () => [
  '--max-semi-space-size=2',
  '--liftoff-only',
  '--expose-gc',
  '--max-inlined-bytecode-size-cumulative=4000',
  ...(hasOpenSslSettings(process.env) ? [] : [`--openssl-config=${join(root, 'bin', 'openssl.cnf')}`]),
]

/**
 * File, arguments and environment to start `ringfence` with; undefined where there is no Node.js that can.
 * @param {readonly string[]} args of the program
 */
export function commandOf(args) {
  const file = existsSync(pinned) ? pinned : own ? process.execPath : undefined
  if (file === undefined) return undefined
  if (!longRunning.has(args[0] ?? '')) return { file, args: [program, ...args], env: { ...process.env } }
  const code = packedCode(file)
  const first = `--import=${new URL('role.mjs', import.meta.url)}`
  return { file, args: [...roleFlags(), first, program, ...args], env: thriftyEnvironment(code) }
}

/** A flag of ours would count before either. */
function hasOpenSslSettings({ OPENSSL_CONF: file, NODE_OPTIONS: flags = '' }) {
  return file !== undefined || /--openssl-(shared-)?config\b/.test(flags)
}

/** One heap of the C library instead of one for each thread; and code out of one file instead of the compile cache. */
function thriftyEnvironment(code) {
  const {
    NODE_COMPILE_CACHE: cache,
    RINGFENCE_CODE: _,
    ...env
  } = {
    ...process.env,
    MALLOC_ARENA_MAX: process.env.MALLOC_ARENA_MAX ?? '1',
  }
  if (code !== undefined) return { ...env, RINGFENCE_CODE: code }
  return cache === undefined ? env : { ...env, NODE_COMPILE_CACHE: cache }
}

/** The key of the file (`code.mjs`), which is made here where it is not there, or is damaged. Undefined where it cannot be made: all works as well. */
function packedCode(node) {
  try {
    const key = keyOf(createHash('sha256'))
    const file = codeFile(key)
    if (isWhole(file)) return key
    mkdirSync(codeFolder, { recursive: true })
    accessSync(codeFolder, constants.W_OK)
    const made = { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' }
    const { status, stderr } = spawnSync(node, ['--no-warnings', join(root, 'bin', 'pack.mjs')], made)
    if (isWhole(file)) return key
    throw new Error(status === 0 ? 'the sources changed meanwhile' : stderr.trim())
  } catch (error) {
    const why = `note: types are stripped from the code at this start, which takes 30 MB more: ${error.message}`
    process.stderr.write(`${why}\n  hint: npm run build in ${root} as the user who installed it\n`)
    return undefined
  }
}

/** As it was made, by its own digest. */
function isWhole(file) {
  if (!existsSync(file)) return false
  const bytes = readFileSync(file)
  const digest = createHash('sha256').update(bytes.subarray(digestChars)).digest('hex')
  return bytes.toString('latin1', 0, digestChars) === digest
}
