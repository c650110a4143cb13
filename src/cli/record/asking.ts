/** A question to the record at a terminal: how far it is, after two seconds; and Ctrl-C ends it and leaves nothing behind. */
import { Cancelled, DamagedRecord, RecordDatabase } from '../../archive/database.ts'
import { contained, every, nothingEnds } from '../../base/contained.ts'
import { UnreadableInput } from '../options.ts'
import { exitCode } from '../output.ts'

const place = 'a question to the record'
const progressAfterMs = 2_000
/** On a terminal one line is written anew; elsewhere each is a line of its own. */
const progressEveryMs = process.stderr.isTTY ? 500 : 10_000

/** Undefined where it was cancelled. @param far how far it is, where the database does not know */
export async function askRecord<T>(
  question: (database: RecordDatabase) => Promise<T>,
  far?: () => string,
): Promise<T | undefined> {
  using database = await RecordDatabase.open()
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
  const cancel = contained(nothingEnds, place, () => database.cancel())
  process.once('SIGINT', cancel)
  try {
    return await question(database)
  } catch (reason) {
    if (reason instanceof DamagedRecord) throw new UnreadableInput(reason.message, reason.remedy)
    if (!(reason instanceof Cancelled)) throw reason
    process.stderr.write('cancelled; nothing is left behind\n')
    process.exitCode = exitCode.cancelled
    return undefined
  } finally {
    process.off('SIGINT', cancel)
    clearInterval(timer)
    if (process.stderr.isTTY && nextMs > startedMs + progressAfterMs) process.stderr.write('\r\u001b[K')
  }
}
