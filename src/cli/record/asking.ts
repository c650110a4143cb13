/**
 * A question to the record at a terminal: how far it is, after two seconds; and Ctrl-C ends it and leaves nothing behind.
 *
 * Rule: lines of the record may lie in a temporary folder, so every signal that asks a process to end removes it first.
 */
import { constants } from 'node:os'
import { Cancelled, DamagedRecord, RecordDatabase } from '../../archive/database.ts'
import { contained, every, nothingEnds } from '../../base/contained.ts'
import { UnreadableInput } from '../options.ts'

const place = 'a question to the record'
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
type Signal = (typeof signals)[number]
const progressAfterMs = 2_000
/** On a terminal one line is written anew; elsewhere each is a line of its own. */
const progressEveryMs = process.stderr.isTTY ? 500 : 10_000

/** Undefined where it was cancelled. @param far how far it is, where the database does not know */
export async function askRecord<T>(
  question: (database: RecordDatabase) => Promise<T>,
  far?: () => string,
): Promise<T | undefined> {
  const ending: { by: Signal | undefined; database: RecordDatabase | undefined } = {
    by: undefined,
    database: undefined,
  }
  const cancel = contained(nothingEnds, place, (signal: Signal) => {
    ending.by = signal
    ending.database?.cancel()
  })
  for (const signal of signals) process.once(signal, cancel)
  try {
    using database = await RecordDatabase.open()
    ending.database = database
    if (ending.by !== undefined) database.cancel()
    return await told(database, question, far)
  } catch (reason) {
    if (reason instanceof DamagedRecord) throw new UnreadableInput(reason.message, reason.remedy)
    if (!(reason instanceof Cancelled)) throw reason
    process.stderr.write('cancelled; nothing is left behind\n')
    // As shells say it.
    process.exitCode = 128 + constants.signals[ending.by ?? 'SIGINT']
    return undefined
  } finally {
    for (const signal of signals) process.off(signal, cancel)
  }
}

async function told<T>(
  database: RecordDatabase,
  question: (database: RecordDatabase) => Promise<T>,
  far: (() => string) | undefined,
): Promise<T> {
  const startedMs = Date.now()
  let nextMs = startedMs + progressAfterMs
  const show = (): void => {
    const nowMs = Date.now()
    if (nowMs < nextMs) return
    nextMs = nowMs + progressEveryMs
    const { percentage } = database
    const text = `${far?.() ?? (percentage < 0 ? 'reading' : `${Math.round(percentage)} %`)}, ${Math.round((nowMs - startedMs) / 1000)}s`
    process.stderr.write(process.stderr.isTTY ? `\r${text} ` : `${text}\n`)
  }
  const timer = every(nothingEnds, place, 250, show)
  try {
    return await question(database)
  } finally {
    clearInterval(timer)
    if (process.stderr.isTTY && nextMs > startedMs + progressAfterMs) process.stderr.write('\r\u001b[K')
  }
}
