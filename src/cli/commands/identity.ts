/** `identity list`, `show` and `why`: who is in the mesh, by which chain from evidence to rules somebody may do what, and why somebody did not get in. */
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import type { TrafficLine } from '../../control/traffic.ts'
import { personOf, type SpiffeId } from '../../identity/spiffe.ts'
import { loadPolicy } from '../../policy/load.ts'
import { partiesOf } from '../../policy/principal.ts'
import { AdminClient } from '../admin-client.ts'
import { chainOf, type Link, type NamedBy } from '../identity/chain.ts'
import { remedyOf } from '../identity/remedies.ts'
import { whyTable } from '../identity/why-table.ts'
import { policyInForce } from '../in-force.ts'
import { collect, countOption, readInput } from '../options.ts'
import { exitCode, formatDuration, paint, print, printable, printJson, table } from '../output.ts'
import { claimsFrom, isFault, parseClaim, principalOf, trustDomainIn } from '../policy/who.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'
import { addRevocations } from './revocations.ts'

/** The control plane remembers a minute. */
const windowSeconds = 60

export function addIdentity(program: Command): void {
  const identity = program.command('identity').description('who is in the mesh, and what makes them who they are')
  adminCommand(identity, 'list', 'workloads and persons that talked to Cassandra in the last minute')
    .addOption(countOption('--seconds <count>', 'how far to look back, at most 60', windowSeconds))
    .addHelpText('after', '\nEnds with 0, also where nobody did; 1 where the control plane does not answer.')
    .action(list)
  adminCommand(identity, 'show', 'the chain from evidence to roles, in words')
    .argument('[who]', 'a SPIFFE id, a person such as corp/alice, or the ARN of a role')
    .option('--person <name>', 'who stands behind the workload, such as corp/alice')
    .option('--group <name>', 'of the person, such as corp/analysts; may be repeated', collect(String))
    .option('--role <arn>', 'of who asks, at a cloud')
    .option('--claim <name=value>', 'that the evidence has; may be repeated', collect(parseClaim))
    .option('-f, --file <file>', 'a policy to ask; the one in force by default')
    .addHelpText(
      'after',
      `
Groups, roles and claims stand in the evidence, which is not kept: name those that matter.

Ends with 0 where some rule names them, 2 where none does, 3 for a policy that does not validate, 64 for what names nobody,
65 where the policy cannot be read.`,
    )
    .action(show)
  adminCommand(identity, 'why', 'why the last log-ins of somebody were refused, and what to do')
    .argument(
      '<who>',
      "a client's address, a person such as corp/alice, a SPIFFE id, or a session as the record names it",
    )
    .addHelpText(
      'after',
      `
The control plane remembers the last refusals since it started. Whom a refused token claims to be about need not be there.

Ends with 0 where a refusal is known, 1 where none is or the control plane does not answer.`,
    )
    .action(why)
  addRevocations(identity)
}

/** Rows of the table; JSON has all that there are. */
const whyRowsMax = 20

async function why(who: string, { stateDir, output }: AdminFlags): Promise<void> {
  const answer = await new AdminClient(stateDir).refusals(who)
  const { refusals, nowMs, sinceMs, missed } = answer
  if (output === 'json') {
    process.exitCode = refusals.length > 0 ? exitCode.ok : exitCode.failed
    printJson({ ...answer, refusals: refusals.map((row) => ({ ...row, remedy: remedyOf(row.cause).remedy })) })
    return
  }
  if (refusals.length === 0) throw noneKnown(who, nowMs - sinceMs, missed)
  print(whyTable(refusals, { nowMs, widthMax: process.stdout.columns ?? 80, rowsMax: whyRowsMax }).join('\n'))
}

function noneKnown(who: string, forMs: number, missed: number): RingfenceError {
  const more = missed === 0 ? '' : `; ${missed} more had no room`
  return new RingfenceError(
    'UNAVAILABLE',
    `no refused log-in of ${who} is known; the control plane remembers for ${formatDuration(forMs)}${more}`,
    {
      hint: `write a person as corp/alice, or ask by the client's address; older ones are in the logs (log-in refused)`,
    },
  )
}

export interface Seen {
  readonly workload: string
  readonly person: string | undefined
  readonly requests: number
  readonly refused: number
  readonly errors: number
  readonly rules: readonly string[]
}

/** Each workload and person once, the busiest first. */
function seenIn(lines: readonly TrafficLine[]): Seen[] {
  const found = new Map<string, Seen>()
  for (const { workload, person, verdict, count, errors, rule } of lines) {
    const key = JSON.stringify([workload, person])
    const before = found.get(key)
    found.set(key, {
      workload,
      person,
      requests: (before?.requests ?? 0) + count,
      refused: (before?.refused ?? 0) + (verdict === 'deny' ? count : 0),
      errors: (before?.errors ?? 0) + errors,
      rules: [...new Set([...(before?.rules ?? []), ...(verdict === 'deny' ? [] : rule.split(','))])],
    })
  }
  return [...found.values()].sort((a, b) => b.requests - a.requests)
}

async function list({ stateDir, output, seconds }: AdminFlags & { readonly seconds: number }): Promise<void> {
  const { lines } = await new AdminClient(stateDir).traffic(Math.min(seconds, windowSeconds))
  const seen = seenIn(lines)
  if (output === 'json') printJson({ seconds: Math.min(seconds, windowSeconds), identities: seen })
  else if (seen.length === 0) print('nobody talked to Cassandra')
  else {
    const rows = seen.map(({ workload, person, requests, refused, errors, rules }) => {
      return [workload, person ?? '–', String(requests), String(refused), String(errors), rules.join(', ')]
    })
    print(table(['WORKLOAD', 'PERSON', 'REQUESTS', 'REFUSED', 'ERRORS', 'RULES'], rows, [2, 3, 4]))
  }
}

interface ShowFlags extends AdminFlags {
  readonly person?: string
  readonly group?: string[]
  readonly role?: string
  readonly claim?: (readonly [string, string])[]
  readonly file?: string
}

async function show(who: string | undefined, flags: ShowFlags): Promise<void> {
  const { file, stateDir } = flags
  const policySource = file === undefined ? (await policyInForce(stateDir)).source : readInput(file)
  if (policySource === '') throw new RingfenceError('UNAVAILABLE', 'no policy is in force')
  const policy = loadPolicy(policySource, file ?? 'policy')
  const { person, role, group: groups } = flags
  const given = { person, role, groups, claims: claimsFrom(flags.claim), ...named(who) }
  const principal = principalOf(given, trustDomainIn(policy))
  if (isFault(principal)) {
    throw new RingfenceError('USAGE', principal.message, { hint: 'ringfence identity show corp/alice' })
  }
  const chain = chainOf(policy, principal)
  const isNamed = chain.every(({ rules, cedar }) => rules.length + cedar.length > 0)
  process.exitCode = isNamed ? exitCode.ok : exitCode.denied
  const seen = file === undefined ? await seenNow(stateDir, principal.spiffeId, principal.person) : undefined
  if (flags.output === 'json') printJson({ parties: chain, seen })
  else {
    const both = partiesOf(principal).length === 2 ? 'both must be permitted, unless a rule names the pair\n\n' : ''
    print(`${both}${chain.map(linkText).join('\n\n')}${seen === undefined ? '' : `\n\n${seenText(seen)}`}`)
  }
}

/** A SPIFFE id, an ARN, or a person. */
function named(who: string | undefined): { as?: string; role?: string; person?: string } {
  if (who === undefined) return {}
  if (who.startsWith('spiffe://')) return { as: who }
  return who.startsWith('arn:') ? { role: who } : { person: who }
}

async function seenNow(stateDir: string, spiffeId: SpiffeId, person: string | undefined): Promise<Seen[]> {
  const { lines } = await new AdminClient(stateDir).traffic(windowSeconds)
  const name = person ?? personOf(spiffeId)
  return seenIn(lines).filter((one) => one.workload === spiffeId || (name !== undefined && one.person === name))
}

function linkText({ kind, spiffeId, person, groups, role, evidence, rules, cedar }: Link): string {
  const rows: [string, string][] = [['SPIFFE id', spiffeId]]
  if (role !== undefined) rows.push(['role', role])
  for (const group of groups) rows.push(['group', group])
  for (const way of evidence) rows.push(['proved by', way])
  if (rules.length + cedar.length === 0) rows.push(['named by', 'no rule'])
  for (const rule of rules) rows.push(['named by', ruleText(rule)])
  for (const label of cedar) rows.push(['named by', label])
  const head = kind === 'person' ? `person ${person}` : `workload ${spiffeId}`
  return [paint(printable(head), 'bold'), ...rows.map(([key, text]) => `  ${key.padEnd(10)} ${printable(text)}`)].join(
    '\n',
  )
}

function ruleText({ label, effect, mode, by, gives, isPair }: NamedBy): string {
  const word = mode === 'observe' ? `${effect}, observed` : effect
  return `${label}, by ${by}${isPair ? ' (the pair)' : ''}: ${word} ${gives}`
}

function seenText(seen: readonly Seen[]): string {
  if (seen.length === 0) return 'not seen in the last minute'
  return seen
    .map(({ workload, person, requests, refused }) => {
      const who = person === undefined ? workload : `${person} through ${workload}`
      return printable(`seen in the last minute: ${who}, ${requests} requests, ${refused} refused`)
    })
    .join('\n')
}
