/** The thread of `Analyst`: texts in, facts or refusals out. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { RingfenceError } from '../base/errors.ts'
import { takeApart } from '../base/thread-copy.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { collectStartGarbage } from '../telemetry/start-garbage.ts'
import type { AnalyseAnswer, Analysed, AnalyseOrder } from './analyst.ts'

// The first texts that a thread reads take several times as long as those after them.
for (let i = 0; i < 3; i++) analysed(`SELECT a, B, "C" FROM t WHERE k IN (${"1, ?, 'x', f(y), ".repeat(500)}1)`)
collectStartGarbage()

// None where it is no thread: `bin/command.mjs` loads this file to keep its code.
const port = (workerData as { readonly pieces: MessagePort } | null)?.pieces

parentPort?.on('message', ({ id, texts }: AnalyseOrder) => {
  const { head, pieces } = takeApart(analysedOnce(texts))
  // Before the head, so that they are there when it is.
  for (const piece of pieces) port?.postMessage(piece)
  parentPort?.postMessage({ id, head, pieces: pieces.length } satisfies AnalyseAnswer)
})

/** Facts that are alike become one object, which is copied once: thousands of texts of a BATCH may differ in numbers only. */
function analysedOnce(texts: readonly string[]): readonly Analysed[] {
  if (texts.length === 1) return texts.map(analysed)
  const known = new Map<string, Analysed>()
  return texts.map((text) => {
    const one = analysed(text)
    const key = JSON.stringify(one, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
    const same = known.get(key)
    if (same !== undefined) return same
    known.set(key, one)
    return one
  })
}

function analysed(text: string): Analysed {
  try {
    return { facts: analyse(text) }
  } catch (reason) {
    if (reason instanceof RingfenceError && (reason.code === 'SYNTAX' || reason.code === 'INVALID')) {
      return { code: reason.code, message: reason.message }
    }
    // A fault of ours ends the thread, and with it only the statements that wait for it.
    throw reason
  }
}
