/** `policy explain`: what a statement would touch, which rules were considered, and what came of it. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { Consistency } from '../../cql/protocol.ts'
import type { Access, Amount, StatementFacts } from '../../cql/statement/facts.ts'
import { proofs } from '../../identity/proofs/index.ts'
import { driverMetadataRule } from '../../policy/builtin.ts'
import type { ExplainedAccess } from '../../policy/explain.ts'
import { loadPolicy } from '../../policy/load.ts'
import type { CompiledPolicy } from '../../policy/policy.ts'
import type { Principal } from '../../policy/principal.ts'
import type { SchemaView } from '../../policy/request.ts'
import { limitWords } from '../../sidecar/limits/answer.ts'
import { leastWeight } from '../../sidecar/limits/charges.ts'
import { policyInForce } from '../in-force.ts'
import { collect, readInput } from '../options.ts'
import { type Cell, exitCode, paint, print, printable, printJson, table } from '../output.ts'
import { limitsOf } from '../policy/limit-replay.ts'
import { readSchema } from '../policy/schema-file.ts'
import { parseInstant } from '../policy/suite.ts'
import type { Answer, Question } from '../policy/trial.ts'
import {
  authenticationOf,
  builtinRules,
  notUnderstoodRule,
  questionDefaults,
  Trial,
  understand,
} from '../policy/trial.ts'
import { claimsFrom, isFault, parseClaim, principalOf, trustDomainIn } from '../policy/who.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'

interface ExplainFlags extends AdminFlags {
  readonly as?: string
  readonly person?: string
  readonly group?: string[]
  readonly role?: string
  readonly claim?: (readonly [string, string])[]
  readonly workloadClaim?: (readonly [string, string])[]
  readonly file?: string
  readonly keyspace?: string
  readonly schema?: string
  readonly consistency: string
  readonly address: string
  readonly authentication?: string[]
  readonly at?: string
  readonly all?: boolean
}

export function addExplain(policy: Command): void {
  adminCommand(policy, 'explain', 'why a statement would be permitted or refused')
    .argument('<statement>', 'one CQL statement')
    .option('--as <id>', 'SPIFFE id of who asks')
    .option('--person <name>', 'who asks, or stands behind it, such as corp/alice')
    .option('--group <name>', 'of the person, such as corp/analysts; may be repeated', collect(String))
    .option('--role <arn>', 'of who asks, at a cloud')
    .option('--claim <name=value>', 'that the evidence has; may be repeated, also for a list', collect(parseClaim))
    .option(
      '--workload-claim <name=value>',
      'the same of the workload that --person stands behind',
      collect(parseClaim),
    )
    .option('-f, --file <file>', 'a policy to ask; the one in force by default')
    .option('--keyspace <name>', 'keyspace in force, as after USE')
    .option('--schema <file>', 'CQL that makes the tables, such as DESCRIBE prints; rules on scans and views need it')
    .addOption(
      new Option('--consistency <level>', 'of the request')
        .choices(Object.keys(Consistency))
        .default(questionDefaults.consistency),
    )
    .option('--address <ip>', 'where the client is', questionDefaults.clientAddress)
    .option(
      '--authentication <method>',
      `how the caller proved who it is: ${proofs.methods.join(', ')} (default: ${questionDefaults.authentication}); may be repeated`,
      collect(parseMethod),
    )
    .option('--at <time>', 'when, such as 2026-01-01T10:00Z; now by default')
    .option('--all', 'also the rules for other identities')
    .addHelpText(
      'after',
      '\nEnds with 0 when it goes through, 2 when it is refused, 3 for a policy or schema that does not validate.',
    )
    .action(explain)
}

async function explain(statement: string, flags: ExplainFlags): Promise<void> {
  const { revision, source, name } = await policyOf(flags)
  const schema = flags.schema === undefined ? undefined : readSchema(readInput(flags.schema), flags.schema)
  const policy = source === undefined ? undefined : loadPolicy(source, name)
  const question: Question = {
    as: principalIn(flags, policy),
    keyspace: flags.keyspace,
    statement,
    values: undefined,
    pageSize: questionDefaults.pageSize,
    clientAddress: flags.address,
    authentication: authenticationOf(flags.authentication ?? [questionDefaults.authentication]),
    consistency: flags.consistency,
    nowMs: timeOf(flags.at),
  }
  const trial = new Trial(policy, revision, schema)
  const answer = trial.ask(question)
  process.exitCode = answer.verdict === 'deny' ? exitCode.denied : exitCode.ok
  if (answer.rule === notUnderstoodRule) {
    if (flags.output === 'json') printJson({ policy: name, revision, ...answerJson(answer) })
    else print(verdictText(answer, name, revision))
    return
  }
  const { facts, request } = understand(question)
  const explanation = trial.explain(question.as, facts, request)
  if (flags.output === 'json') {
    const json = { policy: name, revision, ...answerJson(answer), request, facts, ...explanation }
    printJson(
      JSON.parse(JSON.stringify(json, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))),
    )
    return
  }
  const accesses = different(explanation.accesses)
  const isOfTwo = new Set(accesses.map(({ who }) => who)).size > 1
  const pending = answer.pending.filter(({ rule }) => !builtinRules.has(rule))
  const sections = [
    section('facts', factsText(facts, accesses)),
    section('rules considered', accesses.map((one) => consideredText(one, isOfTwo, flags.all === true)).join('\n')),
    section('Cedar', cedarText(accesses)),
    section('schema', flags.schema === undefined ? `not given (--schema): ${unknownWithoutSchema}` : ''),
    section('values', request.preparing ? 'LIMIT or TTL is bound: judged as its PREPARE would be' : ''),
    section('rate limits', limitsText(policy, question, facts, schema)),
    section('masks', answer.masks.map(({ column, mask, rule }) => `${column}: ${mask.kind} (rule ${rule})`).join('\n')),
    section('each request must meet', pending.map(({ text, rule }) => `${text} (rule ${rule})`).join('\n')),
  ]
  print(`${sections.filter((text) => text !== '').join('\n\n')}\n\n${verdictText(answer, name, revision)}`)
}

/** Those that concern it, and what it takes of each, were it to be let through. */
function limitsText(
  policy: CompiledPolicy | undefined,
  { as, clientAddress }: Question,
  facts: StatementFacts,
  schema: SchemaView | undefined,
): string {
  return limitsOf(policy, as, clientAddress, facts, schema)
    .map(({ charge, meter }) => {
      const { rule } = charge
      const words = `${limitWords(meter)}${rule.observe ? ', observed' : ''}`
      return printable(`${rule.name}: ${words}; weight ${leastWeight(charge)}`)
    })
    .join('\n')
}

const unknownWithoutSchema = 'what is a scan or a view, and default TTLs, are not known'

interface Named {
  readonly name: string
  /** 0 for a file, which has none. */
  readonly revision: number
  /** Undefined while no policy was ever applied. */
  readonly source: string | undefined
}

async function policyOf(flags: ExplainFlags): Promise<Named> {
  if (flags.file !== undefined) return { name: flags.file, revision: 0, source: readInput(flags.file) }
  const { revision, source } = await policyInForce(flags.stateDir)
  if (revision === 0) return { name: 'no policy', revision, source: undefined }
  return { name: `revision ${revision}`, revision, source }
}

function principalIn(flags: ExplainFlags, policy: CompiledPolicy | undefined): Principal {
  const { as, person, group, role, claim, workloadClaim } = flags
  const workloadClaims = workloadClaim === undefined ? undefined : claimsFrom(workloadClaim)
  const who = { as, person, groups: group, role, claims: claimsFrom(claim), workloadClaims }
  const principal = principalOf(who, trustDomainIn(policy))
  if (!isFault(principal)) return principal
  const flag = { groups: '--group', workloadClaims: '--workload-claim' }[String(principal.key)] ?? `--${principal.key}`
  throw new RingfenceError('USAGE', `${flag}: ${principal.message}`, { hint: '--as spiffe://demo.local/svc/orders' })
}

function parseMethod(text: string): string {
  if (proofs.methods.includes(text)) return text
  throw new InvalidArgumentError(`it is one of ${proofs.methods.join(', ')}`)
}

function timeOf(text: string | undefined): number {
  if (text === undefined) return Date.now()
  const at = parseInstant(text)
  if (at !== undefined) return at
  throw new RingfenceError('USAGE', `--at: ${JSON.stringify(text)} is no moment`, { hint: '--at 2026-01-01T10:00Z' })
}

function answerJson({ verdict, rule, rules, reason, masks, pending }: Answer): object {
  return { verdict, rule, rules, reason, masks, pending }
}

function section(title: string, body: string): string {
  if (body === '') return ''
  return [paint(title, 'bold'), ...indented(body)].join('\n')
}

/** A BATCH asks for what its statements ask for, and they ask again. */
function different(accesses: readonly ExplainedAccess[]): ExplainedAccess[] {
  return [...new Map(accesses.map((one) => [`${one.who} ${accessText(one.access)}`, one])).values()]
}

function factsText(facts: StatementFacts, accesses: readonly ExplainedAccess[]): string {
  const lines: [string, string][] = [['operation', facts.verb]]
  // The engine's list, which knows the schema too: a scan, and the table that a view shows.
  for (const text of new Set(accesses.map(({ access }) => accessText(access)))) lines.push(['needs', text])
  const all = [facts, ...facts.children]
  const some = (test: (one: StatementFacts) => boolean): boolean => all.some(test)
  const amounts = (of: (one: StatementFacts) => Amount | undefined): string =>
    all
      .flatMap((one) => of(one) ?? [])
      .map(amountText)
      .join(', ')
  if (some(({ conditional }) => conditional)) lines.push(['conditional', 'yes: the answer shows the row'])
  if (some(({ allowFiltering }) => allowFiltering)) lines.push(['filtering', 'yes'])
  const ttl = amounts((one) => one.ttl)
  const limit = amounts((one) => one.limit)
  const timestamp = amounts((one) => one.timestamp)
  if (ttl !== '') lines.push(['TTL', ttl])
  if (limit !== '') lines.push(['LIMIT', limit])
  if (timestamp !== '') lines.push(['TIMESTAMP', timestamp])
  const where = facts.restrictions
    .map(
      ({ columns, operator, token }) =>
        `${token ? `token(${columns.join(', ')})` : columns.join(', ')} ${operator === 'other' ? '…' : operator}`,
    )
    .join('; ')
  if (where !== '') lines.push(['WHERE', where])
  for (const name of facts.classes) lines.push(['class', name])
  if (facts.markers.length > 0) lines.push(['markers', String(facts.markers.length)])
  return lines.map(([key, value]) => `${key.padEnd(11)} ${printable(value)}`).join('\n')
}

function amountText(amount: Amount): string {
  return 'literal' in amount ? String(amount.literal) : `bound (marker ${amount.marker + 1})`
}

/** In Cassandra's notation. */
function accessText({ permission, resource, columns }: Access): string {
  const about = columns === '*' ? ', every column' : columns.length > 0 ? `, columns ${columns.join(', ')}` : ''
  switch (resource.kind) {
    case 'table':
      return `${permission} on <table ${resource.keyspace ?? '?'}.${resource.table}>${about}`
    case 'keyspace':
      return `${permission} on <keyspace ${resource.keyspace ?? '?'}>`
    case 'function':
      return `${permission} on <function ${resource.keyspace ?? '?'}.${resource.name}>`
    case 'role':
      return `${permission} on <role ${resource.role}>`
    case 'cluster':
      return `${permission} on <the cluster>`
  }
}

const effectColours = { allow: 'green', deny: 'red' } as const

function consideredText({ who, access, considered }: ExplainedAccess, isOfTwo: boolean, all: boolean): string {
  const own = considered.filter(({ outcome, rule }) => outcome === 'matched' || rule !== driverMetadataRule)
  const shown = all ? own : own.filter(({ outcome }) => outcome !== 'other subject')
  const rows = shown.map(({ rule, label, effect, mode, outcome }): (Cell | string)[] => {
    const text = mode === 'observe' ? `${effect}, observed` : effect
    return [outcome === 'matched' ? { text, colour: effectColours[effect] } : text, rule, outcome, label]
  })
  const others = own.length - shown.length
  return [
    printable(isOfTwo ? `${accessText(access)}, for ${who}` : accessText(access)),
    ...(rows.length === 0 ? [] : indented(table(['EFFECT', 'RULE', 'OUTCOME', 'WHERE'], rows))),
    ...(others === 0 ? [] : [`  and ${others} for other identities (--all)`]),
    ...(own.length === 0 ? ['  none'] : []),
  ].join('\n')
}

/** Each rule that had a part once, however many accesses it speaks of. */
function cedarText(accesses: readonly ExplainedAccess[]): string {
  const texts = new Map<string, string>()
  for (const { considered } of accesses) {
    for (const { outcome, label, cedar } of considered) {
      if (outcome === 'matched' || outcome === 'some columns') texts.set(`${label}\n${cedar}`, `// ${label}\n${cedar}`)
    }
  }
  return [...texts.values()].map((text) => text.split('\n').map(printable).join('\n')).join('\n')
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `  ${line}`)
}

const verdictColours = { allow: 'green', deny: 'red', observe: 'yellow', masked: 'yellow' } as const
const verdictWords = {
  allow: 'allow',
  deny: 'deny',
  observe: 'observe: it goes through and would be refused, were the policy enforced',
  masked: 'masked: it goes through with columns hidden',
} as const

function verdictText(answer: Answer, name: string, revision: number): string {
  const by = `rule ${answer.rule}, ${revision === 0 ? name : `policy revision ${revision}`}`
  const lines = [`${paint(verdictWords[answer.verdict], verdictColours[answer.verdict])} (${printable(by)})`]
  if (answer.reason !== undefined) lines.push(`  ${printable(answer.reason)}`)
  return lines.join('\n')
}
