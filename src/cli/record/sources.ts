/** Where the record is that a command asks about, as flags say it: archives, folders of sidecars, or those beside the control plane. */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { isArchive } from '../../archive/positions.ts'
import { isSegment, type RecordFile } from '../../archive/record-file.ts'
import type { RecordSources } from '../../archive/record-view.ts'
import { RingfenceError } from '../../base/errors.ts'
import { collect, setting, UnreadableInput } from '../options.ts'
import { auditDirsBeside, auditFilesSince, isAuditFile } from '../policy/audit-files.ts'
import { localZone, readTime, readZone, type SaidTime, timeText } from '../time-words.ts'

export interface SourceFlags {
  readonly stateDir: string
  readonly from?: string[]
}

/** `--from`, and `--state-dir` for what is there without it. */
export function withSources(command: Command): Command {
  return command
    .addOption(setting('control', '--state-dir <dir>', 'of the control plane').default('.ringfence/control'))
    .option(
      '--from <dir>',
      'audit folder of a sidecar, or an archive; may be repeated (those beside --state-dir)',
      collect(String),
    )
}

export interface TimeFlags {
  readonly since: string
  readonly until?: string
  readonly zone?: string
}

export function withTimes(command: Command, since: string): Command {
  return command
    .addOption(new Option('--since <time>', '"last night", yesterday, "since monday", 2h, a date').default(since))
    .option('--until <time>', 'the end (now, or the end of what --since names)')
    .option('--zone <name>', 'of the times that are said, such as Europe/Berlin (that of this machine)')
}

export interface SaidRange {
  readonly fromMs: number
  readonly toMs: number
  readonly zone: string
}

/** @throws RingfenceError USAGE for a range that has nothing in it: of that, "nobody" would always be true */
export function rangeOf({ since, until, zone: named }: TimeFlags, nowMs: number): SaidRange {
  const zone = named === undefined ? localZone() : readZone(named)
  const from: SaidTime = readTime(since, nowMs, zone)
  const to = until === undefined ? Math.min(from.toMs ?? nowMs, nowMs) : readTime(until, nowMs, zone).fromMs
  if (from.fromMs >= to) {
    const [start, end] = [timeText(from.fromMs, zone, nowMs), timeText(to, zone, nowMs)]
    throw new RingfenceError(
      'USAGE',
      `--since is not before ${until === undefined ? 'now' : '--until'}: ${start} and ${end}, ${zone}`,
      {
        hint: 'the earlier time is --since',
      },
    )
  }
  return { fromMs: from.fromMs, toMs: to, zone }
}

/** Where `audit pack` writes unless it is told otherwise. */
export function archiveBeside(stateDir: string): string {
  return join(dirname(stateDir), 'archive')
}

/** @throws UnreadableInput where there is nothing, and where something can't be read: no answer says "nobody" of what was not read */
export function sourcesOf({ stateDir, from }: SourceFlags, sinceMs: number): RecordSources {
  const folders = from ?? foldersBeside(stateDir)
  if (folders.length === 0) {
    throw new UnreadableInput(`there is no record beside ${stateDir}`, {
      hint: 'name the audit folder of each sidecar, or an archive: --from <dir>',
    })
  }
  for (const folder of folders) {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new UnreadableInput(`${folder} is no folder`, { hint: 'name the audit folder of a sidecar, or an archive' })
    }
  }
  const once = [...new Map(folders.map((folder) => [realpathSync(folder), folder])).values()]
  const archives = once.filter(isArchive)
  const files = once.filter((folder) => !archives.includes(folder)).flatMap((folder) => filesIn(folder, sinceMs))
  return { archives, files: withoutCopies(files) }
}

/** Those that have a record: one may have been made for a process that did not start yet. */
function foldersBeside(stateDir: string): string[] {
  const archive = archiveBeside(stateDir)
  return [
    ...[...auditDirsBeside(stateDir), ...collectedIn(stateDir)].filter((folder) =>
      readdirSync(folder).some(isAuditFile),
    ),
    ...(existsSync(archive) && isArchive(archive) ? [archive] : []),
  ]
}

/** What the control plane has collected, a folder for each log. */
function collectedIn(stateDir: string): string[] {
  const collected = join(stateDir, 'collected')
  if (!existsSync(collected)) return []
  return readdirSync(collected, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(collected, name))
}

/** What was collected of a segment is its beginning: of both the longer one counts. */
function withoutCopies(files: readonly RecordFile[]): RecordFile[] {
  const longest = new Map<string, RecordFile>()
  for (const file of files.filter(isSegment)) {
    const known = longest.get(basename(file.path))
    if (known === undefined || file.bytes > known.bytes) longest.set(basename(file.path), file)
  }
  return files.filter((file) => !isSegment(file) || longest.get(basename(file.path)) === file)
}

/** Of a sealed record all segments: whoever reads it knows which of them it leans on. */
function filesIn(folder: string, sinceMs: number): RecordFile[] {
  const files = auditFilesSince(folder, 0).filter((file) => file.writtenMs >= sinceMs || isSegment(file))
  if (files.length === 0 && !readdirSync(folder).some(isAuditFile)) {
    throw new UnreadableInput(`${folder} has no record`, {
      hint: 'name the audit folder of a sidecar, which has files audit-*, or an archive',
    })
  }
  return files
}
