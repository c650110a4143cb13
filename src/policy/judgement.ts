/** What adds up over the accesses of a statement: by which rules it is allowed, and which of them only observe. */
import { driverMetadataRule } from './builtin.ts'
import type { Verdict } from './verdict.ts'

export class Judgement {
  readonly allowedBy = new Set<string>()
  readonly observed = new Set<string>()
  visibleOnly = false

  take(verdict: Verdict): void {
    if (verdict.rules.length === 0 || verdict.builtin === true) this.allowedBy.add(driverMetadataRule)
    for (const { name } of verdict.rules) this.allowedBy.add(name)
    this.observe(verdict)
  }

  observe({ observed }: Verdict): void {
    for (const { name } of observed) this.observed.add(name)
  }
}

/** For the record: joined by `,`, at most 512 characters. */
export function joinRules(names: ReadonlySet<string>): string {
  const joined = [...names].join(',')
  return joined.length > 512 ? `${joined.slice(0, 511)}…` : joined
}
