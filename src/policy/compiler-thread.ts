/** The thread of `compilePolicy`: one source in, its policy out in parts. */
import { parentPort, workerData } from 'node:worker_threads'
import { RingfenceError } from '../base/errors.ts'
import { loadPolicy } from '../policy/load.ts'
import type { CompileAnswer, CompileOrder, PolicyPart } from './compiler.ts'

/** Rules of each kind in one message. */
const rulesAPart = 200

const { source, fileName, validateOnly, trustDomain } = workerData as CompileOrder
const nothing: PolicyPart = {
  rules: [],
  cedar: [],
  masks: [],
  retention: [],
  holds: [],
  guards: [],
  providers: [],
  impersonations: [],
  rateLimits: [],
}
const answers = answersTo()

function send(): void {
  const answer = answers.next().value
  if (answer !== undefined) parentPort?.postMessage(answer)
}

function* answersTo(): Generator<CompileAnswer, undefined> {
  try {
    const policy = loadPolicy(source, fileName, trustDomain)
    const { masks, retention, holds, guards } = policy.data
    const { rules, cedar, providers, impersonations, rateLimits } = policy
    const whole: PolicyPart = { rules, cedar, masks, retention, holds, guards, providers, impersonations, rateLimits }
    const longest = validateOnly ? 0 : Math.max(...Object.values(whole).map((list: readonly unknown[]) => list.length))
    for (let from = 0; ; from += rulesAPart) {
      const last = from + rulesAPart >= longest
      const part = validateOnly ? nothing : partOf(whole, from)
      yield { kind: 'part', part, last }
      if (last) return undefined
    }
  } catch (reason) {
    // Anything but a fault of the policy's own ends the thread, and its caller hears so.
    if (!(reason instanceof RingfenceError) || reason.code !== 'CONFIG') throw reason
    yield { kind: 'refused', message: reason.message }
  }
  return undefined
}

function partOf(whole: PolicyPart, from: number): PolicyPart {
  const to = from + rulesAPart
  return {
    rules: whole.rules.slice(from, to),
    cedar: whole.cedar.slice(from, to),
    masks: whole.masks.slice(from, to),
    retention: whole.retention.slice(from, to),
    holds: whole.holds.slice(from, to),
    guards: whole.guards.slice(from, to),
    providers: whole.providers.slice(from, to),
    impersonations: whole.impersonations.slice(from, to),
    rateLimits: whole.rateLimits.slice(from, to),
  }
}

parentPort?.on('message', send)
send()
