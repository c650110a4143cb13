/** The bench's child processes: start one, wait for its port, read its CPU clock, end it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const started = new Set<ChildProcess>()

/** Starts a program with its output in `logFile`. `stopAll` ends it. */
export function start(logFile: string, command: string, args: readonly string[]): ChildProcess {
  const log = openSync(logFile, 'a')
  const child = spawn(command, args, { stdio: ['ignore', log, log] })
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

/** Rejects when nothing accepts there after 20 s, or when `child` has ended. */
export async function untilListening(child: ChildProcess, port: number, what: string): Promise<void> {
  const deadline = performance.now() + 20_000
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
  const stats = new Map<number, { parent: number; ticks: number }>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      stats.set(pid, { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) })
    } catch {
      // It ended between readdir and read.
    }
  }
  const belongs = (pid: number): boolean => {
    if (pids.includes(pid)) return true
    const stat = stats.get(pid)
    return stat !== undefined && stat.parent > 1 && belongs(stat.parent)
  }
  let ticks = 0
  for (const [pid, stat] of stats) if (belongs(pid)) ticks += stat.ticks
  return ticks / ticksPerSecond
}
