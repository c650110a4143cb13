/**
 * `policy`: what is in force, and the ways to try a draft before it is. The order in which people use them is validate, test, explain,
 * diff, simulate, apply; all but apply change nothing.
 */
import type { Command } from 'commander'
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import { loadPolicy } from '../../policy/load.ts'
import { AdminClient } from '../admin-client.ts'
import { awaitInForce, inForceText, policyInForce, shortDigest } from '../in-force.ts'
import { durationOption, readInput } from '../options.ts'
import { exitCode, type Format, paint, print, printAsIs, printable, printJson } from '../output.ts'
import type { DocumentDifference } from '../policy/difference.ts'
import { differences } from '../policy/difference.ts'
import { type AdminFlags, adminCommand, withOutput } from './admin-command.ts'
import { addExplain } from './policy-explain.ts'
import { addSimulate } from './policy-simulate.ts'
import { addTest } from './policy-test.ts'

export function addPolicy(program: Command): void {
  const policy = program.command('policy').description('who may do what')
  addValidate(policy)
  addTest(policy)
  addExplain(policy)
  addDiff(policy)
  addSimulate(policy)
  addApply(policy)
  adminCommand(policy, 'get', 'print the policy in force').action(async (flags: AdminFlags) => {
    const snapshot = await new AdminClient(flags.stateDir).policy()
    if (flags.output === 'json') printJson(snapshot)
    else if (snapshot.revision === 0) print('# no policy yet: everything is refused')
    else printAsIs(`# revision ${snapshot.revision}\n${snapshot.source}`)
  })
}

interface ApplyFlags extends AdminFlags {
  readonly file?: string
  readonly dryRun?: boolean
  readonly wait: number
}

function addApply(policy: Command): void {
  adminCommand(policy, 'apply', 'validate a policy and put it in force on every proxy')
    .argument('[file]', 'YAML documents; - for standard input')
    .option('-f, --file <file>', 'the same')
    .option('--dry-run', 'only validate')
    .addOption(durationOption('--wait <duration>', 'for proxies to put it in force', '5s'))
    .addHelpText('after', '\nEnds with 1 where a connected proxy did not put it in force within the wait.')
    .action(async (argument: string | undefined, flags: ApplyFlags) => {
      const file = flags.file ?? argument
      if (file === undefined)
        throw new RingfenceError('USAGE', 'no policy file', { hint: 'ringfence policy apply -f policy.yaml' })
      const dryRun = flags.dryRun === true
      const client = new AdminClient(flags.stateDir)
      const source = readInput(file)
      const answer = await client.applyPolicy(source, file, dryRun)
      if (dryRun) {
        if (flags.output === 'json') printJson(answer)
        else print(`${file} is valid; revision ${answer.revision} stays in force`)
        return
      }
      const digest = sha256Hex(source)
      const found = await awaitInForce(client, answer.revision, digest, flags.wait)
      if (flags.output === 'json') printJson({ ...answer, digest, ...found })
      else {
        const what = answer.applied ? `revision ${answer.revision}` : `unchanged; revision ${answer.revision}`
        print(printable(`${what} (${shortDigest(digest)}): ${inForceText(found)}`))
      }
      if (found.others.length > 0) process.exitCode = exitCode.failed
    })
}

// --- validate ------------------------------------------------------------------------------------------------------------

interface Validated {
  readonly file: string
  readonly valid: boolean
  /** `file:line:column: message`, in the order of the file. */
  readonly problems: readonly string[]
}

function addValidate(policy: Command): void {
  withOutput(
    policy
      .command('validate')
      .description('find every fault of policy files; no control plane is asked')
      .argument('<files...>', 'YAML documents; - for standard input'),
  )
    .addHelpText('after', '\nEnds with 0 when all are valid, 3 when one is not, 65 when one cannot be read.')
    .action((files: string[], flags: { output: Format }) => {
      const validated = files.map(validate)
      if (flags.output === 'json') printJson({ files: validated })
      else {
        for (const { file, valid, problems } of validated) {
          if (valid) print(`${paint('√', 'green')} ${printable(file)} is valid`)
          else for (const problem of problems) print(`${paint('×', 'red')} ${printable(problem)}`)
        }
      }
      process.exitCode = validated.every(({ valid }) => valid) ? exitCode.ok : exitCode.invalid
    })
}

function validate(file: string): Validated {
  const source = readInput(file)
  try {
    loadPolicy(source, file)
    return { file, valid: true, problems: [] }
  } catch (reason) {
    const fault = RingfenceError.from(reason, 'UNAVAILABLE')
    if (fault.code !== 'CONFIG') throw reason
    return { file, valid: false, problems: fault.message.split('\n') }
  }
}

// --- diff ----------------------------------------------------------------------------------------------------------------

interface Side {
  readonly name: string
  readonly source: string
}

function addDiff(policy: Command): void {
  adminCommand(policy, 'diff', 'what a file would change of the policy in force, or of another file')
    .argument('[files...]', 'the new file; or the old and the new one')
    .option('-f, --file <file>', 'the new file; - for standard input')
    .addHelpText(
      'after',
      '\nEnds with 0 when nothing differs, 1 when something does, 3 or 65 for a file that is no policy.',
    )
    .action(async (files: string[], flags: AdminFlags & { file?: string }) => {
      const all = flags.file === undefined ? files : [...files, flags.file]
      const [first, second] = all
      if (first === undefined || all.length > 2) {
        const hint = 'ringfence policy diff -f new.yaml, or ringfence policy diff old.yaml new.yaml'
        throw new RingfenceError('USAGE', `one or two files are compared, not ${all.length}`, { hint })
      }
      const before = second === undefined ? await sideInForce(flags.stateDir) : sideOf(first)
      const after = sideOf(second ?? first)
      const found = differences(before.source, after.source)
      if (flags.output === 'json') printJson({ before: before.name, after: after.name, differences: found })
      else print(differencesText(before.name, after.name, found))
      process.exitCode = found.length === 0 ? exitCode.ok : exitCode.failed
    })
}

function sideOf(file: string): Side {
  const source = readInput(file)
  loadPolicy(source, file)
  return { name: file, source }
}

async function sideInForce(stateDir: string): Promise<Side> {
  const { revision, source } = await policyInForce(stateDir)
  return { name: revision === 0 ? 'no policy' : `revision ${revision}`, source }
}

const changeMarks = { added: '+', removed: '-', changed: '~' } as const
const changeColours = { added: 'green', removed: 'red', changed: 'yellow' } as const

function differencesText(before: string, after: string, found: readonly DocumentDifference[]): string {
  if (found.length === 0) return printable(`${after} says the same as ${before}`)
  const lines = [printable(`${before} → ${after}`)]
  for (const { kind, name, change, keys } of found) {
    lines.push(paint(printable(`${changeMarks[change]} ${kind} ${name}`), changeColours[change]))
    for (const { key, before: old, after: now } of keys) {
      lines.push(printable(`    ${key}: ${valueText(old)} → ${valueText(now)}`))
    }
  }
  const count = (change: DocumentDifference['change']): number => found.filter((one) => one.change === change).length
  lines.push(`${count('added')} added, ${count('removed')} removed, ${count('changed')} changed`)
  return lines.join('\n')
}

function valueText(value: unknown): string {
  return value === undefined ? '(absent)' : JSON.stringify(value)
}
