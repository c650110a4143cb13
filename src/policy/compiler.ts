/**
 * Policies are compiled on a thread of their own: reading 5,000 rules takes seconds, in which a proxy serves and a control plane renews.
 *
 *   source ─▶ compiler-thread.ts ─ a few hundred rules at a time, each when it is asked for ─▶ CompiledPolicy
 *
 * A thread lives for one policy, since policies are seldom and a thread keeps tens of megabytes.
 */
import { Worker } from 'node:worker_threads'
import { contained, nextTurn, type Owner } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { DataRules } from './data/rules.ts'
import { loadPolicy } from './load.ts'
import type { CompiledPolicy } from './policy.ts'

/** A policy of some forty rules is compiled where it is wanted: that takes milliseconds, and a thread takes a second to begin on a busy host. */
export const policyInlineBytesMax = 8192

export interface CompileOrder {
  readonly source: string
  readonly fileName: string
  /** Only whether it compiles is asked for. */
  readonly validateOnly: boolean
  /** See `loadPolicy`. A proxy takes what its control plane gives it. */
  readonly trustDomain: string | undefined
}

export type CompileAnswer =
  | { readonly kind: 'part'; readonly part: PolicyPart; readonly last: boolean }
  | { readonly kind: 'refused'; readonly message: string }

/** Lists to be put behind those of the parts before. */
export type PolicyPart = Pick<CompiledPolicy, 'rules' | 'cedar' | 'providers' | 'impersonations' | 'rateLimits'> &
  Pick<DataRules, 'masks' | 'retention' | 'holds' | 'guards'>

/**
 * As `loadPolicy`, beside the event loop.
 * @throws RingfenceError CONFIG where the policy does not compile; another error where that could not be found out
 */
export function compilePolicy(source: string, fileName: string): Promise<CompiledPolicy> {
  if (Buffer.byteLength(source) > policyInlineBytesMax)
    return onThread({ source, fileName, validateOnly: false, trustDomain: undefined })
  return new Promise((resolve) => resolve(loadPolicy(source, fileName)))
}

/** Throws as `compilePolicy` does, and where a subject is of another trust domain. */
export async function validatePolicy(source: string, fileName: string, trustDomain: string): Promise<void> {
  await onThread({ source, fileName, validateOnly: true, trustDomain })
}

function onThread(order: CompileOrder): Promise<CompiledPolicy> {
  return new Promise((resolve, reject) => {
    // Whoever has a policy of a megabyte has just read it, and to make a thread takes milliseconds too.
    nextTurn({ onFault: reject }, 'a thread that compiles', () => resolve(fromThread(order)))
  })
}

function fromThread(order: CompileOrder): Promise<CompiledPolicy> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./compiler-thread.ts', import.meta.url), {
      workerData: order,
      resourceLimits: { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 16 },
    })
    // Nobody waits for a policy when the process ends.
    worker.unref()
    const parts: PolicyPart[] = []
    const owner: Owner = {
      onFault(reason) {
        void worker.terminate()
        reject(reason)
      },
    }
    worker.on(
      'message',
      contained(owner, 'a part of a policy', (answer: CompileAnswer) => {
        if (answer.kind === 'refused') {
          void worker.terminate()
          reject(new RingfenceError('CONFIG', answer.message))
          return
        }
        parts.push(answer.part)
        if (answer.last) {
          void worker.terminate()
          resolve(joined(parts))
          return
        }
        // A message takes a millisecond or two to unpack; what else there is to be done comes in between.
        nextTurn(owner, 'the next part of a policy', () => worker.postMessage('next'))
      }),
    )
    worker.on('error', reject)
    worker.on('exit', () => reject(new Error('the thread that compiles policies has ended')))
  })
}

function joined(parts: readonly PolicyPart[]): CompiledPolicy {
  const data = new DataRules({
    masks: parts.flatMap(({ masks }) => masks),
    retention: parts.flatMap(({ retention }) => retention),
    holds: parts.flatMap(({ holds }) => holds),
    guards: parts.flatMap(({ guards }) => guards),
  })
  return {
    rules: parts.flatMap(({ rules }) => rules),
    cedar: parts.flatMap(({ cedar }) => cedar),
    data,
    providers: parts.flatMap(({ providers }) => providers),
    impersonations: parts.flatMap(({ impersonations }) => impersonations),
    rateLimits: parts.flatMap(({ rateLimits }) => rateLimits),
  }
}
