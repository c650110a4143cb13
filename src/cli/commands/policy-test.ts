/** `policy test`: runs the cases of `*_test.yaml` files and says which came out otherwise than wanted, and by which rule. */
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { exitCode, type Format, paint, print, printable, printJson } from '../output.ts'
import type { CaseResult, Suite } from '../policy/suite.ts'
import { findTestFiles, loadSuites } from '../policy/suite.ts'
import { withOutput } from './admin-command.ts'

export function addTest(policy: Command): void {
  withOutput(
    policy
      .command('test')
      .description('run the cases of *_test.yaml files; no control plane is asked')
      .argument('[paths...]', 'files, and folders with files in them', ['.']),
  )
    .option('-v, --verbose', 'name the cases that pass, too')
    .addHelpText(
      'after',
      `
A test file lies beside the policy that it tests:

  apiVersion: ringfence.dev/v1alpha1
  kind: PolicyTest
  metadata: { name: orders }
  spec:
    policy: orders.yaml
    schema: |            # or schemaFile: shop.cql
      CREATE TABLE shop.orders (id uuid PRIMARY KEY, card text);
    cases:
      - as: spiffe://demo.local/svc/orders
        statement: SELECT card FROM shop.orders WHERE id = ?
        want: deny       # allow, deny, observe or masked
        rule: no-cards   # which must have decided; may be left out

In place of \`as\`, or beside it, a case may give person: corp/alice, groups: [corp/analysts], claims: { acr: mfa } and
role: arn:aws:iam::123456789012:role/etl: a workload (as) with a person behind it is judged as both. Claims are the person's
then, and workloadClaims: { acr: pwd } the workload's own.

A case may also give name, keyspace, values (a list, or a map for :names), pageSize, and
when: { clientAddress: 10.0.0.1, at: 2026-01-01T10:00Z, consistency: QUORUM, authentication: [oidc] }.

Ends with 0 when all pass, 4 when one fails, 3 for a file that does not validate, 65 for one that cannot be read.`,
    )
    .action((paths: string[], flags: { output: Format; verbose?: boolean }) => {
      const results = loadAll(findTestFiles(paths)).flatMap((suite) => suite.run(Date.now()))
      const failed = results.filter(({ passed }) => !passed)
      if (flags.output === 'json') {
        printJson({ passed: results.length - failed.length, failed: failed.length, cases: results })
      } else {
        for (const result of flags.verbose === true ? results : failed) print(resultText(result))
        print(`${results.length - failed.length} passed, ${failed.length} failed`)
      }
      process.exitCode = failed.length === 0 ? exitCode.ok : exitCode.testsFailed
    })
}

/** Faults of every file are told at once. */
function loadAll(files: readonly string[]): Suite[] {
  const faults: RingfenceError[] = []
  const suites = files.flatMap((file) => {
    try {
      return loadSuites(file)
    } catch (reason) {
      const fault = RingfenceError.from(reason, 'UNAVAILABLE')
      if (fault.code !== 'CONFIG') throw reason
      faults.push(fault)
      return []
    }
  })
  if (faults.length > 0) throw new RingfenceError('CONFIG', faults.map(({ message }) => message).join('\n'))
  return suites
}

function resultText({ passed, file, line, name, wanted, came }: CaseResult): string {
  const where = `${printable(`${file}:${line}`)} ${printable(name)}`
  if (passed) return `${paint('√', 'green')} ${where}: ${came.verdict} (rule ${printable(came.rule)})`
  const rule = wanted.rule === undefined ? '' : ` (rule ${wanted.rule})`
  const verdicts = printable(`wanted ${wanted.verdict}${rule}, came ${came.verdict} (rule ${came.rule})`)
  const reason = came.reason === undefined ? '' : `: ${printable(came.reason)}`
  return `${paint('×', 'red')} ${where}: ${verdicts}${reason}`
}
