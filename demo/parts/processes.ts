/**
 * The processes of one state folder: start, watch and stop them, and never anybody else's.
 *
 * Every child leads its own session, so Ctrl-C reaches only us and we stop the children in an order that is right. A record
 * of each (pid, start time, boot) lies in `<stateDir>/run`; a run that died without cleaning up is found by it and cleaned
 * up by the next one. A pid alone is never trusted: the start time has to match as well.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { RingfenceError } from '../../src/base/errors.ts'

export interface SpawnOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** How long `stop()` waits between SIGTERM and SIGKILL. Default 10 s. */
  readonly graceMs?: number
}

/** For a process of Node.js with little to do: a young generation of 2 MB, and one heap of the C library instead of one for each thread. */
export const littleToDo = {
  flags: ['--max-semi-space-size=2'],
  env: { MALLOC_ARENA_MAX: '1' },
} as const

export interface Child {
  readonly name: string
  readonly pid: number
  readonly logFile: string
  /** Resolves when the process is gone, however it went. */
  readonly exited: Promise<Exit>
  readonly running: boolean
  /** SIGTERM to the process, SIGKILL to its whole group when that is not enough. Idempotent. */
  stop(): Promise<void>
  /** SIGKILL to the whole group, as a crash would be. */
  kill(): Promise<void>
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** False when we asked for it. */
  readonly unexpected: boolean
}

interface Recorded {
  readonly name: string
  readonly pid: number
  /** Clock ticks since boot at which the process started (proc(5), stat field 22). */
  readonly start: number
  readonly boot: string
}

export class Processes {
  readonly stateDir: string
  readonly #children = new Set<Child>()
  readonly #runDir: string
  #closing = false
  readonly #onProcessExit = (): void => {
    for (const child of this.#children) signalGroup(child.pid, 'SIGTERM')
  }

  private constructor(stateDir: string) {
    this.stateDir = stateDir
    this.#runDir = join(stateDir, 'run')
    process.on('exit', this.#onProcessExit)
  }

  /**
   * Takes the state folder for this process, after stopping what a crashed earlier run left behind.
   * Throws USAGE when another live process holds it.
   */
  static async open(stateDir: string, say: (line: string) => void = () => {}): Promise<Processes> {
    const runDir = join(stateDir, 'run')
    mkdirSync(runDir, { recursive: true })
    const ownerFile = join(runDir, 'owner.json')
    const owner = readRecord(ownerFile)
    if (owner !== undefined && owner.pid !== process.pid && isAlive(owner)) {
      throw new RingfenceError('USAGE', `${stateDir} is in use by process ${owner.pid}`, {
        hint: 'stop that one with Ctrl-C, or choose another folder and ports: --state-dir DIR --port-offset 1000',
      })
    }
    for (const file of readdirSync(runDir)) {
      if (!file.endsWith('.json') || file === 'owner.json') continue
      const left = readRecord(join(runDir, file))
      if (left !== undefined && groupMembers(left).length > 0) {
        say(`stopping ${left.name} (pid ${left.pid}), left over from an earlier run`)
        await stopGroup(left, 10_000)
      }
      rmSync(join(runDir, file), { force: true })
    }
    writeFileSync(ownerFile, JSON.stringify(recordOf('owner', process.pid)))
    return new Processes(stateDir)
  }

  /** Starts a program in its own session with its output in `<stateDir>/log/<name>.log`. Throws UNAVAILABLE when it cannot run. */
  async spawn(name: string, command: string, args: readonly string[], options: SpawnOptions = {}): Promise<Child> {
    if (this.#closing) throw new RingfenceError('UNAVAILABLE', `not starting ${name}: everything is being stopped`)
    const logDir = join(this.stateDir, 'log')
    mkdirSync(logDir, { recursive: true })
    const logFile = join(logDir, `${name}.log`)
    const log = openSync(logFile, 'a')
    const started = spawn(command, args, {
      cwd: options.cwd ?? this.stateDir,
      env: { ...process.env, ...options.env },
      detached: true,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    const pid = await pidOf(started, name)
    const recordFile = join(this.#runDir, `${name}.json`)
    const record = recordOf(name, pid)
    writeFileSync(recordFile, JSON.stringify(record))

    let asked = false
    let exit: Exit | undefined
    const exited = new Promise<Exit>((resolve) => {
      started.once('exit', (code, signal) => {
        exit = { code, signal, unexpected: !asked }
        this.#children.delete(child)
        // A later start under the same name has a record of its own by now.
        if (readRecord(recordFile)?.pid === pid) rmSync(recordFile, { force: true })
        resolve(exit)
      })
    })
    const graceMs = options.graceMs ?? 10_000
    const child: Child = {
      name,
      pid,
      logFile,
      exited,
      get running() {
        return exit === undefined
      },
      stop: async () => {
        asked = true
        await stopGroup(record, graceMs)
        await exited
      },
      kill: async () => {
        asked = true
        signalGroup(pid, 'SIGKILL')
        // Workers hold their ports until they are gone too.
        await stopGroup(record, 0)
        await exited
      },
    }
    this.#children.add(child)
    return child
  }

  get children(): readonly Child[] {
    return [...this.#children]
  }

  /** Stops all children together, lets no new one start, and gives the folder back. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true
    await Promise.all([...this.#children].map((child) => child.stop()))
    process.off('exit', this.#onProcessExit)
    rmSync(join(this.#runDir, 'owner.json'), { force: true })
  }
}

function pidOf(started: ChildProcess, name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    started.once('spawn', () => resolve(started.pid!))
    started.once('error', (cause) => {
      reject(new RingfenceError('UNAVAILABLE', `cannot start ${name}: ${cause.message}`, { cause }))
    })
  })
}

/** SIGTERM to the leader, which knows how to stop its workers; then to what it left; then SIGKILL to all who are still there. */
async function stopGroup(target: Recorded, graceMs: number): Promise<void> {
  if (groupMembers(target).includes(target.pid)) signal(target.pid, 'SIGTERM')
  const deadline = performance.now() + graceMs
  let leftToldToo = false
  for (;;) {
    const members = groupMembers(target)
    if (members.length === 0) return
    if (performance.now() > deadline) signalGroup(target.pid, 'SIGKILL')
    else if (!members.includes(target.pid) && !leftToldToo) {
      leftToldToo = true
      signalGroup(target.pid, 'SIGTERM')
    }
    await sleep(30)
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // it is gone already, which is what was wanted
  }
}

function signalGroup(pid: number, name: NodeJS.Signals): void {
  signal(-pid, name)
}

function recordOf(name: string, pid: number): Recorded {
  return { name, pid, start: statOf(pid)?.start ?? 0, boot: bootId() }
}

function readRecord(file: string): Recorded | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Recorded
    return Number.isInteger(record.pid) && record.pid > 1 ? record : undefined
  } catch {
    return undefined
  }
}

function isAlive(record: Recorded): boolean {
  const stat = statOf(record.pid)
  return record.boot === bootId() && stat !== undefined && stat.start === record.start && stat.state !== 'Z'
}

/**
 * The live processes of the recorded session. A number that the system gave to a stranger since then has another start
 * time as leader, and gives an empty list; without its leader, a session keeps its number from being given away.
 */
function groupMembers(record: Recorded): number[] {
  if (record.boot !== bootId()) return []
  const leader = statOf(record.pid)
  if (leader !== undefined && leader.start !== record.start) return []
  const members: number[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const stat = statOf(pid)
    if (stat !== undefined && stat.state !== 'Z' && stat.session === record.pid && stat.start >= record.start)
      members.push(pid)
  }
  return members
}

/** proc(5): the name in parentheses may hold anything, so fields are counted from the last closing one. */
function statOf(pid: number): { state: string; session: number; start: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, session: Number(fields[3]), start: Number(fields[19]) }
  } catch {
    return undefined
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
}
