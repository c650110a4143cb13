/** A command of the operator's, by the shell. What it prints goes to our standard error. */
import { spawn } from 'node:child_process'
import { after, contained, nothingEnds } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'

/** Resolves when it has ended with 0. @throws RingfenceError UNAVAILABLE, also after `msMax`, when it and what it started are ended */
export async function runCommand(command: string, msMax: number): Promise<void> {
  const fault = await new Promise<string | undefined>((resolve) => {
    // A group of its own, so that what it started ends with it.
    const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 2, 2], detached: true })
    let late = false
    const timer = after(nothingEnds, 'the time of a command', msMax, () => {
      late = true
      if (child.pid !== undefined) endGroup(child.pid)
    })
    const end = (words: string | undefined): void => {
      clearTimeout(timer)
      resolve(words)
    }
    child.on(
      'error',
      contained(nothingEnds, 'a command', ({ message }: Error) => end(`cannot be run: ${message}`)),
    )
    child.on(
      'exit',
      contained(nothingEnds, 'a command', (code: number | null, signal: NodeJS.Signals | null) => {
        if (late) end(`took longer than ${msMax / 1000}s and was ended`)
        else end(code === 0 ? undefined : `ended with ${code ?? signal}`)
      }),
    )
  })
  if (fault !== undefined) throw new RingfenceError('UNAVAILABLE', `the command ${fault}`)
}

function endGroup(id: number): void {
  try {
    process.kill(-id, 'SIGKILL')
  } catch {
    // It has ended just now.
  }
}
