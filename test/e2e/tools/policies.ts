/** The policy examples of tools. */
import { globSync } from 'node:fs'
import { join } from 'node:path'

const examples = join(import.meta.dirname, '..', '..', '..', 'examples', 'policies')

export function toolPolicies(): string[] {
  return globSync('tool-*.yaml', { cwd: examples })
    .filter((name) => !name.endsWith('_test.yaml'))
    .sort()
    .map((name) => join(examples, name))
}
