/** The bench's child processes: start one, wait for its port, read its CPU clock, end it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const started = new Set<ChildProcess>()

/** Starts a program with its output in `logFile` and `env` beside the environment. `stopAll` ends it. */
export function start(
  logFile: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const log = openSync(logFile, 'a')
  const child = spawn(command, args, { stdio: ['ignore', log, log], env: { ...process.env, ...env } })
  closeSync(log)
  started.add(child)
  child.once('exit', () => started.delete(child))
  return child
}

export async function stopAll(): Promise<void> {
  for (const child of started) child.kill('SIGTERM')
  for (let waitedMs = 0; started.size > 0 && waitedMs < 5000; waitedMs += 50) await sleep(50)
  for (const child of started) child.kill('SIGKILL')
}

/** Rejects when nothing accepts there after a minute, or when `child` has ended. A second is usual; a busy machine takes many more. */
export async function untilListening(child: ChildProcess, port: number, what: string): Promise<void> {
  const deadline = performance.now() + 60_000
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`${what} ended before it listened; its log says why`)
    if (await accepts(port)) return
    await sleep(50)
  }
  throw new Error(`${what} does not listen on port ${port}`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** A port of 127.0.0.1 that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port')),
      )
    })
  })
}

/** Linux counts in hundredths of a second here, on every platform that Node runs on. */
const ticksPerSecond = 100

/** User and system seconds that the processes and their living descendants have used (proc(5), fields 14 and 15). */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0
  for (const { fields } of family(pids)) ticks += Number(fields[11]) + Number(fields[12])
  return ticks / ticksPerSecond
}

/** Resident memory of the processes and their living descendants; pages that they share are counted for each. */
export function residentBytes(pids: readonly number[]): number {
  return memoryOf(pids).reduce((sum, each) => sum + each.residentBytes, 0)
}

export interface Memory {
  readonly pid: number
  /** `VmRSS`: the pages in memory, those shared with others too. */
  readonly residentBytes: number
  /** `Pss` of `smaps_rollup`: shared pages divided by who shares them; undefined where it may not be read. */
  readonly proportionalBytes: number | undefined
  /** Pages of its own, neither of a file nor shared: `RssAnon`. */
  readonly anonymousBytes: number
}

/** Of each process and each of its living descendants by itself. */
export function memoryOf(pids: readonly number[]): Memory[] {
  return family(pids).map(({ pid }) => {
    const kilobytes = (file: string, name: string): number | undefined => {
      const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readProc(pid, file) ?? '')?.[1]
      return found === undefined ? undefined : Number(found) * 1024
    }
    return {
      pid,
      residentBytes: kilobytes('status', 'VmRSS') ?? 0,
      proportionalBytes: kilobytes('smaps_rollup', 'Pss'),
      anonymousBytes: kilobytes('status', 'RssAnon') ?? 0,
    }
  })
}

/** The processes and their living descendants. */
export function familyOf(pids: readonly number[]): number[] {
  return family(pids).map(({ pid }) => pid)
}

/** The processes and their living descendants, each with the fields of its `stat` behind the name, from the third on. */
function family(pids: readonly number[]): { pid: number; fields: string[] }[] {
  const all = new Map<number, string[]>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    const text = Number.isInteger(pid) ? readProc(pid, 'stat') : undefined
    if (text !== undefined) all.set(pid, text.slice(text.lastIndexOf(')') + 2).split(' '))
  }
  const belongs = (pid: number): boolean => {
    if (pids.includes(pid)) return true
    const parent = Number(all.get(pid)?.[1] ?? 0)
    return parent > 1 && belongs(parent)
  }
  return [...all].filter(([pid]) => belongs(pid)).map(([pid, fields]) => ({ pid, fields }))
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    // It ended between readdir and read.
    return undefined
  }
}
