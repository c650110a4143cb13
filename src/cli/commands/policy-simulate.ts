/** `policy simulate`: replays what sidecars audited against a draft, and lists what would come out otherwise. */
import { type Command, InvalidArgumentError } from 'commander'
import { loadPolicy } from '../../policy/load.ts'
import { collect, durationOption, readInput, setting, UnreadableInput } from '../options.ts'
import { type Cell, exitCode, paint, print, printable, printJson, table } from '../output.ts'
import type { AuditFile } from '../policy/audit-files.ts'
import { auditDirsBeside, auditFilesSince, recordReader } from '../policy/audit-files.ts'
import type { OverLimit } from '../policy/limit-replay.ts'
import type { Group, Report } from '../policy/replay.ts'
import { Replay } from '../policy/replay.ts'
import { readSchema } from '../policy/schema-file.ts'
import { Trial } from '../policy/trial.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'

interface SimulateFlags extends AdminFlags {
  readonly file: string
  readonly since: number
  readonly auditDir?: string[]
  readonly schema?: string
  readonly limit: number
  readonly rules?: boolean
}

const progressAfterMs = 2_000
/** On a terminal one line is written anew; elsewhere each is a line of its own. */
const progressEveryMs = process.stderr.isTTY ? 1_000 : 10_000

export function addSimulate(policy: Command): void {
  adminCommand(policy, 'simulate', 'replay audited requests against a draft and list what would change')
    .requiredOption('-f, --file <file>', 'the draft; - for standard input')
    .addOption(durationOption('--since <duration>', 'how far back', '24h'))
    .addOption(
      setting('policy', '--audit-dir <dir>', 'of a sidecar; may be repeated (those beside --state-dir)').argParser(
        collect(String),
      ),
    )
    .option('--schema <file>', 'CQL that makes the tables, such as DESCRIBE prints; rules on scans and views need it')
    .option('--limit <count>', 'lines to print', parseCount, 50)
    .option('--rules', 'also list what stays as it is by another rule')
    .addHelpText(
      'after',
      `
Literals and bound values are not in the audit. A verdict that would depend on them counts as "could not be judged".

Ends with 0 when nothing would newly be refused, 2 when something would, 1 when there was nothing to replay,
3 for a draft that does not validate, 65 for a file or folder that cannot be read.`,
    )
    .action(simulate)
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('a count is a whole number')
  return Number(text)
}

async function simulate(flags: SimulateFlags): Promise<void> {
  const draft = loadPolicy(readInput(flags.file), flags.file)
  const schema = flags.schema === undefined ? undefined : readSchema(readInput(flags.schema), flags.schema)
  const directories = flags.auditDir ?? auditDirsBeside(flags.stateDir)
  if (directories.length === 0) {
    throw new UnreadableInput(`there is no sidecar’s audit beside ${flags.stateDir}`, {
      hint: 'name the audit directory of each sidecar: --audit-dir <dir>',
    })
  }
  const sinceMs = Date.now() - flags.since
  const files = directories.flatMap((directory) => auditFilesSince(directory, sinceMs))
  const replay = new Replay(new Trial(draft, 0, schema), sinceMs)
  await readAll(files, replay)
  const report = replay.report()
  if (flags.output === 'json') {
    printJson({ draft: flags.file, sinceMs, directories, files: files.map(({ path }) => path), ...report })
  } else print(reportText(flags, directories, files, report))
  if (report.requests === 0) process.exitCode = exitCode.failed
  else
    process.exitCode =
      refused(report) > 0 || report.ungrouped > 0 || isOverLimit(report) ? exitCode.denied : exitCode.ok
}

/** Tells on standard error how far it is when it takes long. */
async function readAll(files: readonly AuditFile[], replay: Replay): Promise<void> {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const startedMs = Date.now()
  let nextMs = startedMs + progressAfterMs
  let bytesRead = 0
  const progress = (bytes: number): void => {
    bytesRead += bytes
    const nowMs = Date.now()
    if (nowMs < nextMs) return
    nextMs = nowMs + progressEveryMs
    const text = `${megabytes(bytesRead)} of ${megabytes(total)} read, ${Math.round((nowMs - startedMs) / 1000)}s`
    process.stderr.write(process.stderr.isTTY ? `\r${text} ` : `${text}\n`)
  }
  const read = recordReader((line) => replay.line(line), progress)
  for (const { path } of files) {
    try {
      await read(path)
    } catch (cause) {
      throw new UnreadableInput(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }
  if (process.stderr.isTTY && nextMs > startedMs + progressAfterMs) process.stderr.write('\r\u001b[K')
}

/** Requests that went through and would be refused. */
function refused({ changed }: Report): number {
  return sum(changed.filter(({ verdictNow }) => verdictNow === 'deny'))
}

function isOverLimit({ overLimits }: Report): boolean {
  return overLimits.some(({ observe }) => !observe)
}

function reportText(
  flags: SimulateFlags,
  directories: readonly string[],
  files: readonly AuditFile[],
  report: Report,
): string {
  const { requests, unchanged, changed, otherRule, unjudged, ungrouped } = report
  const bytes = megabytes(files.reduce((total, file) => total + file.bytes, 0))
  const head = `${flags.file} against ${requests} requests since ${new Date(Date.now() - flags.since).toISOString()}`
  const lines = [printable(`${head} (${files.length} files, ${bytes})`)]
  if (flags.schema === undefined) {
    lines.push(paint('no --schema: which SELECT scans, views’ bases and default TTLs are not known', 'yellow'))
  }
  lines.push('')
  if (requests === 0) {
    return [...lines, printable(`nothing to replay in ${directories.join(', ')}: is --since long enough`)].join('\n')
  }
  const listed = flags.rules === true ? [...changed, ...otherRule] : changed
  if (listed.length > 0) lines.push(groupsTable(listed.slice(0, flags.limit)), '')
  if (listed.length > flags.limit) lines.push(`and ${listed.length - flags.limit} more lines: --limit, or -o json`, '')
  if (report.overLimits.length > 0) lines.push(limitsTable(report.overLimits.slice(0, flags.limit)), '')
  lines.push(
    `${unchanged} as before${otherRule.length === 0 ? '' : `, ${sum(otherRule)} of them by another rule (--rules)`}`,
  )
  lines.push(
    ...countLine(refused(report), 'would newly be refused', 'red'),
    ...countLine(
      sum(changed.filter(({ verdictNow }) => verdictNow !== 'deny')),
      'would newly go through, or on trial',
      'yellow',
    ),
    ...countLine(ungrouped, 'change as well, of more statements than are kept apart', 'yellow'),
    ...countLine(sum(unjudged), 'could not be judged', 'yellow'),
    ...unjudged.map(({ why, count }) => printable(`    ${count}: ${why}`)),
    ...countLine(
      report.overLimits.length,
      'are over a rate limit at some time, each counted once for each limit',
      'red',
    ),
    ...countLine(report.limitsLeftOut, 'seconds were too many to be looked at for rate limits', 'yellow'),
    ...countLine(report.masked, 'would be answered with columns hidden'),
    ...report.boundLater.map(({ rule, count }) =>
      printable(`${count} go through if their values meet ${rule}; the audit does not hold them`),
    ),
    ...countLine(report.notRequests, 'lines are beginnings and ends of sessions, or the writer’s notes'),
    ...countLine(report.unreadable, 'lines are no records', 'yellow'),
  )
  return lines.join('\n')
}

function countLine(count: number, words: string, colour?: 'red' | 'yellow'): string[] {
  if (count === 0) return []
  return [colour === undefined ? `${count} ${words}` : paint(`${count} ${words}`, colour)]
}

function groupsTable(groups: readonly Group[]): string {
  const rows = groups.map((group): (Cell | string)[] => {
    const { workload, keyspace, statement, verdictThen, verdictNow, ruleThen, ruleNow } = group
    return [
      String(group.count),
      workload,
      { text: `${verdictThen} → ${verdictNow}`, colour: verdictNow === 'deny' ? 'red' : 'yellow' },
      ruleThen === ruleNow ? ruleNow : `${ruleThen} → ${ruleNow}`,
      keyspace ?? '-',
      statement,
    ]
  })
  return table(['COUNT', 'WORKLOAD', 'VERDICT', 'RULE', 'KEYSPACE', 'STATEMENT'], rows, [0])
}

/** Whom a limit would have refused: how much of what was asked, and when. */
function limitsTable(overLimits: readonly OverLimit[]): string {
  const time = (ms: number): string => new Date(ms).toISOString().slice(0, 19)
  const rows = overLimits.map((one): (Cell | string)[] => [
    { text: String(one.over), colour: one.observe ? 'yellow' : 'red' },
    String(one.units),
    one.observe ? `${one.limit} (observed)` : one.limit,
    one.words,
    one.who === '' ? '-' : one.who,
    `${one.seconds}`,
    time(one.firstMs),
    `${time(one.worstMs)} (${one.worst})`,
  ])
  return table(['REFUSED', 'OF', 'LIMIT', 'RATE', 'WHO', 'SECONDS', 'FIRST', 'WORST'], rows, [0, 1, 5])
}

function sum(groups: readonly { readonly count: number }[]): number {
  return groups.reduce((total, { count }) => total + count, 0)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
