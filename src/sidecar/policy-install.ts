/**
 * Puts the policy that was pushed last in force.
 *
 * Rule: a policy that does not compile is never in force; the last good one stays. A large one is compiled beside the loop and then swapped
 * in.
 */
import { nothingEnds, settle } from '../base/contained.ts'
import { sha256Hex } from '../base/digest.ts'
import { RingfenceError } from '../base/errors.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import type { PolicySnapshot } from '../mesh/pushed.ts'
import { compilePolicy, policyInlineBytesMax } from '../policy/compiler.ts'
import type { PolicyEngine } from '../policy/engine.ts'
import { loadPolicy } from '../policy/load.ts'
import type { CompiledPolicy } from '../policy/policy.ts'
import type { Logger } from '../telemetry/log.ts'

export class PolicyInstall {
  readonly #engine: PolicyEngine
  readonly #log: Logger
  readonly #onInstalled: (policy: CompiledPolicy) => void
  /** Of the text in force; undefined before the first. */
  #digest: string | undefined
  /** Why the last revision is not in force. */
  #fault: string | undefined
  /** The policy that came last, in force or under way. */
  #wanted: PolicySnapshot | undefined
  #stopped = false

  constructor(engine: PolicyEngine, log: Logger, onInstalled: (policy: CompiledPolicy) => void) {
    this.#engine = engine
    this.#log = log
    this.#onInstalled = onInstalled
  }

  install(policy: PolicySnapshot): void {
    // Before the first revision there is nothing to install, and nothing is permitted.
    if (policy.revision === 0) return
    this.#wanted = policy
    const fileName = `revision ${policy.revision}`
    const failed = (reason: unknown): void => this.#failed(policy, reason)
    // Nobody is served yet when the first comes, and nobody shall be before it is in force.
    if (this.#engine.revision === 0 || Buffer.byteLength(policy.source) <= policyInlineBytesMax) {
      try {
        this.#put(policy, loadPolicy(policy.source, fileName))
      } catch (reason) {
        failed(reason)
      }
      return
    }
    const compiling = compilePolicy(policy.source, fileName)
    const done = (compiled: CompiledPolicy): void => {
      // A later one came meanwhile.
      if (this.#wanted === policy && !this.#stopped) this.#put(policy, compiled)
    }
    settle(nothingEnds, 'a policy that is put in force', compiling, done, failed)
  }

  /** What is still being compiled is not put in force any more. */
  stop(): void {
    this.#stopped = true
  }

  report(): Pick<ProxyReport, 'policyRevision' | 'policyDigest' | 'policyFault'> {
    return {
      policyRevision: this.#engine.revision,
      policyDigest: this.#digest,
      ...(this.#fault === undefined ? {} : { policyFault: this.#fault }),
    }
  }

  #put({ source, revision }: PolicySnapshot, compiled: CompiledPolicy): void {
    this.#engine.install(compiled, revision)
    this.#onInstalled(compiled)
    this.#digest = sha256Hex(source)
    this.#fault = undefined
  }

  #failed(policy: PolicySnapshot, reason: unknown): void {
    const { revision } = policy
    this.#log.error({ err: reason, revision }, 'policy revision not installed')
    if (this.#wanted !== policy) return
    this.#fault = `revision ${revision}: ${RingfenceError.from(reason, 'CONFIG').message}`
  }
}
