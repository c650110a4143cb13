/** The thread of `Analyst`: texts in, facts or refusals out. */
import { parentPort } from 'node:worker_threads'
import { RingfenceError } from '../base/errors.ts'
import { analyse } from '../cql/statement/analyse.ts'
import { collectStartGarbage } from '../telemetry/start-garbage.ts'
import type { AnalyseAnswer, Analysed, AnalyseOrder } from './analyst.ts'

// The first texts that a thread reads take several times as long as those after them.
for (let i = 0; i < 3; i++) analysed(`SELECT a, B, "C" FROM t WHERE k IN (${"1, ?, 'x', f(y), ".repeat(500)}1)`)
collectStartGarbage()

parentPort?.on('message', ({ id, texts }: AnalyseOrder) => {
  parentPort?.postMessage({ id, analysed: texts.map(analysed) } satisfies AnalyseAnswer)
})

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
