/** The policy of the mesh. */
import { z } from 'zod'
import type { PolicySnapshot } from '../../mesh/pushed.ts'
import { type Administrator, nameOf } from '../callers.ts'
import { checkPolicyBytes } from '../policy-revisions.ts'
import type { ControlParts } from './parts.ts'

export const policyAnswer = z.object({ revision: z.int(), source: z.string(), epoch: z.int().optional() })

export function currentPolicy({ registry }: ControlParts): PolicySnapshot {
  return registry.policies.current
}

export const policyOrder = z.strictObject({
  source: z.string(),
  fileName: z.string().max(4096),
  dryRun: z.boolean().default(false),
})
export const appliedPolicy = z.object({ revision: z.int(), applied: z.boolean() })

export async function applyPolicy(
  { registry, validatePolicy, log }: ControlParts,
  caller: Administrator,
  { source, fileName, dryRun }: z.infer<typeof policyOrder>,
): Promise<z.infer<typeof appliedPolicy>> {
  checkPolicyBytes(source)
  await validatePolicy(source, fileName)
  const { current } = registry.policies
  if (dryRun) return { revision: current.revision, applied: false }
  // A text that is in force already is made a new revision where proxies run another, so that they take it.
  if (source === current.source && registry.conflict === undefined)
    return { revision: current.revision, applied: false }
  const { revision } = registry.policies.apply(source, fileName)
  log.info({ revision, fileName, by: nameOf(caller) }, 'policy applied')
  return { revision, applied: true }
}
