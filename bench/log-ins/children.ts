/** Processes of the bench that are asked over IPC, one question at a time: `serveQuestions` in them, `Child` here. */
import { type ChildProcess, fork } from 'node:child_process'
import { getPriority, setPriority } from 'node:os'
import { join } from 'node:path'

/** The other end of a `Child`. What a question throws is told there, and ends this process. */
export function serveQuestions(answer: (question: unknown) => Promise<unknown>): void {
  process.on('message', (question) => {
    answer(question).then(
      (value) => process.send?.({ value }),
      (reason: unknown) => process.send?.({ error: String(reason) }, () => process.exit(1)),
    )
  })
  process.on('disconnect', () => process.exit(0))
}

export class Child {
  readonly #process: ChildProcess

  /**
   * @param nice how much later than others it has its turn at a core, as nice(1) has it
   * @param env beside the environment of this process
   * @param flags of Node.js
   */
  constructor(file: string, nice = 0, env: Readonly<Record<string, string>> = {}, flags: readonly string[] = []) {
    this.#process = fork(join(import.meta.dirname, file), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...env },
      execArgv: [...process.execArgv, ...flags],
    })
    // A lower number is for root only.
    if (nice > getPriority(this.#process.pid!)) setPriority(this.#process.pid!, nice)
  }

  get pid(): number {
    return this.#process.pid!
  }

  ask<Answer>(question: object | 'go'): Promise<Answer> {
    const child = this.#process
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null): void => reject(new Error(`${child.spawnargs[1]} ended with code ${code}`))
      child.once('exit', onExit)
      child.once('message', (message: { value: Answer } | { error: string }) => {
        child.off('exit', onExit)
        if ('error' in message) reject(new Error(message.error))
        else resolve(message.value)
      })
      child.send(question)
    })
  }

  stop(): void {
    this.#process.kill()
  }
}
