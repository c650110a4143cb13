/** Where the record is that a command asks about, as flags say it: archives, folders of sidecars, or those beside the control plane. */
import { closeSync, existsSync, openSync, readdirSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'
import { type Command, Option } from 'commander'
import { isArchive } from '../../archive/positions.ts'
import { isSegment, type RecordFile } from '../../archive/record-file.ts'
import type { RecordSources } from '../../archive/record-view.ts'
import { startOfSegment } from '../../audit/sealed/recover.ts'
import { RingfenceError } from '../../base/errors.ts'
import { collect, setting, UnreadableInput } from '../options.ts'
import { auditDirsBeside, auditFilesSince, isAuditFile } from '../policy/audit-files.ts'
import { localZone, readTime, readZone, type SaidTime, timeText } from '../time-words.ts'
import { unlessGone } from './tail-files.ts'

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
  return { archives, files: withoutCopies(files, realpathIfThere(join(stateDir, 'collected'))) }
}

function realpathIfThere(path: string): string | undefined {
  return existsSync(path) ? realpathSync(path) : undefined
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

/**
 * What was collected of a segment is its beginning, and counts before what its host has: it was checked when it came. The longer one counts
 * where it goes on from there. Segments of two logs are never one, whatever their names.
 * @throws UnreadableInput where two say different things
 */
function withoutCopies(files: readonly RecordFile[], collected: string | undefined): RecordFile[] {
  const isCollected = ({ path }: RecordFile): boolean =>
    collected !== undefined && unlessGone(() => realpathSync(path))?.startsWith(`${collected}${sep}`) === true
  const counting = new Map<string, RecordFile>()
  const dropped = new Set<RecordFile>()
  const byName = Map.groupBy(files.filter(isSegment), ({ path }) => basename(path))
  for (const same of byName.values()) {
    if (same.length === 1) continue
    for (const file of same) {
      const start = unlessGone(() => startOfSegment(file.path))
      if (start === undefined) {
        dropped.add(file)
        continue
      }
      const segment = `${start.head?.key} ${basename(file.path)}`
      const known = counting.get(segment)
      const [longer, other] = known === undefined || file.bytes > known.bytes ? [file, known] : [known, file]
      if (other === undefined) {
        counting.set(segment, longer)
        continue
      }
      const [kept, left] = longer.bytes === other.bytes && isCollected(other) ? [other, longer] : [longer, other]
      if (!isCollected(kept) && !goesOn(kept, left)) {
        throw new UnreadableInput(`${kept.path} and ${left.path} are of one segment and say different things`, {
          hint: 'verify both logs: ringfence audit verify <dir>; then ask one of them: --from <dir>',
        })
      }
      counting.set(segment, kept)
      dropped.add(left)
    }
  }
  return files.filter((file) => !dropped.has(file))
}

const comparedBytes = 1024 * 1024

/** Whether the longer one begins with what the other has. */
function goesOn(longer: RecordFile, other: RecordFile): boolean {
  const [a, b] = [openSync(longer.path, 'r'), openSync(other.path, 'r')]
  const [ofA, ofB] = [Buffer.allocUnsafe(comparedBytes), Buffer.allocUnsafe(comparedBytes)]
  try {
    for (let at = 0; at < other.bytes; ) {
      const count = Math.min(comparedBytes, other.bytes - at)
      const read = [readSync(a, ofA, 0, count, at), readSync(b, ofB, 0, count, at)]
      if (read[0] !== count || read[1] !== count || !ofA.subarray(0, count).equals(ofB.subarray(0, count))) return false
      at += count
    }
    return true
  } finally {
    closeSync(a)
    closeSync(b)
  }
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
