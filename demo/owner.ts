/**
 * The policy of `npm run cluster -- --as owner`: an ordinary identity, which may do everything in keyspaces of its own and sees nothing of the
 * others. `strangersKeyspace` is never its own.
 */
import { RingfenceError } from '../src/base/errors.ts'
import { spiffeIds } from './parts/layout.ts'

export const owner: string = spiffeIds.service('owner')
export const strangersKeyspace = 'somebody_elses'
/** Lower case, for these are the names that a statement makes without quotes; `*` stands for the rest of a name. */
const pattern = /^[a-z][a-z0-9_]*\*?$|^\*$/

/** `*`: every keyspace but the stranger's, for suites whose keyspaces have names of all kinds. */
export function ownerPolicy(keyspaces: readonly string[]): string {
  for (const one of keyspaces) {
    if (!pattern.test(one))
      throw new RingfenceError('USAGE', `--keyspaces ${one} is not a keyspace's name`, {
        hint: "such as gocql_test or 'test*'",
      })
  }
  const named = JSON.stringify(keyspaces)
  const functions = JSON.stringify(keyspaces.map((one) => `${one}.*`))
  const head = (name: string, effect = ''): string =>
    `apiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: ${name} }\nspec:\n  subjects: [{ spiffeId: ${owner} }]\n${effect}`
  return [
    `${head('owner')}  keyspaces: ${named}\n  functions: ${functions}\n  operations: [ALL]\n`,
    `${head('owner-reads-traces')}  keyspaces: [system_traces]\n  operations: [SELECT, DESCRIBE, USE]\n`,
    `${head('not-the-owners', '  effect: deny\n')}  keyspaces: [${strangersKeyspace}]\n  functions: ["${strangersKeyspace}.*"]\n  operations: [ALL]\n`,
  ].join('---\n')
}
