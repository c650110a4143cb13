/**
 * One process packs into an archive at a time.
 *
 * Rule: a lock is none when its process is gone for certain: no such process, or another one that has its number now. Of a process of another
 * host or container nobody here can tell, so that one holds until a person removes it.
 */
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { readIfThere } from '../mesh/files.ts'

const holderSchema = z.object({ pid: z.int().min(1), started: z.string().optional(), host: z.string() })
type Holder = z.infer<typeof holderSchema>

/** For so long one without words may be of a process that is about to write them. */
const wordlessMs = 10_000
const triesMax = 3

/** @throws RingfenceError UNAVAILABLE while another process has it */
export function lockArchive(archive: string): Disposable {
  const path = join(archive, '.lock')
  const own = JSON.stringify({ pid: process.pid, started: startOf(process.pid), host: hostname() } satisfies Holder)
  for (let tries = 1; ; tries++) {
    try {
      writeFileSync(path, own, { flag: 'wx', mode: 0o600 })
      return { [Symbol.dispose]: () => release(path, own) }
    } catch (cause) {
      if (!isCode(cause, 'EEXIST')) throw cause
      const told = readIfThere(path)
      if (told !== undefined && (tries === triesMax || isHeld(path, told))) throw held(path, told, cause)
      if (told !== undefined) takeAway(path, told)
    }
  }
}

function release(path: string, own: string): void {
  if (readIfThere(path) === own) rmSync(path, { force: true })
}

function isHeld(path: string, told: string): boolean {
  const holder = holderIn(told)
  if (holder === undefined) {
    const writtenMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
    return Date.now() - writtenMs < wordlessMs
  }
  return holder.host !== hostname() || lives(holder)
}

function holderIn(told: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(told))
  } catch {
    return undefined
  }
}

function lives({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0)
  } catch (reason) {
    // It is another user's where it says so.
    if (!isCode(reason, 'EPERM')) return false
  }
  const now = startOf(pid)
  return started === undefined || now === undefined || now === started
}

/** When a process started, in ticks since the machine did (proc(5), field 22 of stat); undefined where no system says it. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the program's name in parentheses, and may have any.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

/** Moved first: another process may have taken the lock since, and then it goes back. */
function takeAway(path: string, told: string): void {
  const taken = `${path}.${process.pid}`
  try {
    renameSync(path, taken)
  } catch (reason) {
    if (isCode(reason, 'ENOENT')) return
    throw reason
  }
  if (readIfThere(taken) === told) rmSync(taken, { force: true })
  else renameSync(taken, path)
}

function held(path: string, told: string, cause: unknown): RingfenceError {
  const { pid, host } = holderIn(told) ?? {}
  const who = pid === undefined ? '' : ` (${pid} on ${host})`
  return new RingfenceError('UNAVAILABLE', `another process${who} packs into this archive`, {
    cause,
    hint: `wait for its end; what it packs is not packed twice. Where there is no such process, remove ${path}`,
  })
}

function isCode(reason: unknown, code: string): boolean {
  return reason instanceof Error && 'code' in reason && reason.code === code
}
