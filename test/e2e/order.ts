/**
 * Which end-to-end suites run when. First those of the two groups, one of each group at a time, in `npm test` beside parts of the path; then all
 * others, alone. What breaks the mesh comes last, so that nothing it leaves behind is another suite's trouble.
 */
import { globSync } from 'node:fs'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '..', '..')

/**
 * A suite that is named here runs beside one of the other group. It has keyspaces and identities of its own, stops no part, counts nothing that
 * others add to, and asks of no answer that it come soon. One of the groups at most makes many objects: nodes agree on the schema when nobody changes it, and
 * drivers wait ten seconds for that. Who is not named runs alone.
 */
export const besideEachOther: readonly (readonly string[])[] = [
  // Who puts a policy in force, for the mesh has one at a time. The other group's suites need no rule but those of policy.yaml.
  ['drivers/pages', 'compatibility'],
  ['drivers/cqlsh', 'drivers/node', 'drivers/java', 'drivers/python', 'drivers/go'],
]

/** Later is more disturbing; suites that are not named come before these. */
const last = ['log-ins', 'gateways', 'bypass', 'hostile', 'fault']

export interface EndToEndPlan {
  /** Each in its order, one beside the other. */
  readonly groups: readonly (readonly string[])[]
  /** One after the other, when the groups are through. */
  readonly alone: readonly string[]
}

/** Paths from the repository's root; with words, only files that contain one of them. */
export function endToEndPlan(words: readonly string[] = []): EndToEndPlan {
  const files = globSync('test/e2e/**/*.e2e.test.ts', { cwd: repository }).filter(
    (file) => words.length === 0 || words.some((word) => file.includes(word)),
  )
  const groups = besideEachOther.map((names) => names.map(fileOf).filter((file) => files.includes(file)))
  const alone = files
    .filter((file) => !groups.flat().includes(file))
    .sort((a, b) => rankOf(a) - rankOf(b) || a.localeCompare(b))
  return { groups: groups.filter((group) => group.length > 0), alone }
}

export function fileOf(name: string): string {
  return `test/e2e/${name}.e2e.test.ts`
}

function rankOf(file: string): number {
  return last.findIndex((word) => file.includes(word))
}
