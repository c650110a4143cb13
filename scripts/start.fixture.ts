/** A small installation: what starts the program as it is, and a program that says of each of its processes and threads whether it loaded the stripper. */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

const repository = join(import.meta.dirname, '..')

const main = `
import { fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import { version } from '../version.ts'
const strips: boolean = process.moduleLoadList.some((name: string) => name.includes('amaro'))
console.log(JSON.stringify({ version, strips }))
if (process.argv.includes('--later')) {
  for (const name of ['later', 'inside', 'asked']) rmSync(new URL('../' + name + '.ts', import.meta.url))
  console.log(JSON.stringify({ version: createRequire(import.meta.url)('../later.ts').version, strips }))
  console.log(JSON.stringify({ version: (await import('../asked.ts')).version, strips }))
}
if (process.argv.includes('--others')) {
  fork(import.meta.filename)
  new Worker(new URL(import.meta.url))
}
`

export interface Said {
  /** One of each process and thread. */
  readonly strips: readonly boolean[]
  readonly versions: readonly number[]
  readonly err: string
}

export class Installation {
  readonly root: string
  /** Where its code without types is kept. */
  readonly codeFolder: string

  constructor(root: string) {
    this.root = root
    this.codeFolder = join(root, 'node_modules', '.cache', 'ringfence')
    for (const folder of ['src/cli', 'src/telemetry']) mkdirSync(join(root, folder), { recursive: true })
    cpSync(join(repository, 'bin'), join(root, 'bin'), { recursive: true })
    cpSync(join(repository, 'src/telemetry/optimiser.ts'), join(root, 'src/telemetry/optimiser.ts'))
    writeFileSync(join(root, 'package.json'), '{"type":"module"}')
    this.write('src/cli/main.ts', main)
    this.write('src/version.ts', 'export const version: number = 1\n')
    // Loaded when the program is told to, and gone then.
    this.write('src/later.ts', "export { inside as version } from './inside.ts'\n")
    this.write('src/inside.ts', 'export const inside: number = 2\n')
    this.write('src/asked.ts', 'export const version: number = 3\n')
  }

  write(name: string, source: string): void {
    writeFileSync(join(this.root, name), source)
  }

  /** The files with code, none where nothing could be kept. */
  get codeFiles(): string[] {
    return readdirSync(this.codeFolder).filter((name) => name.endsWith('.code'))
  }

  /** By `bin/ringfence.mjs`, as a person does. */
  async start(args: readonly string[] = [], options: StartOptions = {}): Promise<Said> {
    return said(this.spawn([join(this.root, 'bin', 'ringfence.mjs'), 'sidecar', ...args], options))
  }

  /** By Node.js itself, with what `bin/command.mjs` would load first. */
  async startRole(key: string): Promise<Said> {
    const role = join(this.root, 'bin', 'role.mjs')
    return said(this.spawn([`--import=${role}`, join(this.root, 'src/cli/main.ts')], { env: { RINGFENCE_CODE: key } }))
  }

  spawn(args: readonly string[], { env = {}, cwd = this.root, uid }: StartOptions = {}): ChildProcess {
    const { NODE_OPTIONS: _, NODE_COMPILE_CACHE: __, ...own } = process.env
    const who = uid === undefined ? {} : { uid, gid: uid }
    return spawn(process.execPath, args, { cwd, env: { ...own, ...env }, stdio: 'pipe', ...who })
  }
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly uid?: number
}

async function said(child: ChildProcess): Promise<Said> {
  const [out, err] = await Promise.all([text(child.stdout!), text(child.stderr!)])
  const lines = out
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly version: number; readonly strips: boolean })
  return { strips: lines.map(({ strips }) => strips), versions: lines.map(({ version }) => version), err }
}
