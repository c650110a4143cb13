/** `audit tail`: the last lines of the record, and with `-f` those that come. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { Following } from '../following.ts'
import { countOption, UnreadableInput } from '../options.ts'
import { isColoured, paint } from '../output.ts'
import { type SourceFlags, sourcesOf, withSources } from '../record/sources.ts'
import { parseTable, type TableName } from '../record/table-name.ts'
import { RecordTail } from '../record/tail.ts'
import { dayOf, isWanted, jsonOf, lineOf, shownLine, type TailWanted } from '../record/tail-filter.ts'
import { localZone, readZone } from '../time-words.ts'

interface TailFlags extends SourceFlags {
  readonly follow?: boolean
  readonly lines: number
  readonly limit?: number
  readonly person?: string
  readonly workload?: string
  readonly table?: TableName
  readonly denied?: boolean
  readonly zone?: string
  readonly output: 'table' | 'json'
}

const lookEveryMs = 200
const linesMax = 10_000

export function addTail(audit: Command): void {
  const command = audit
    .command('tail')
    .description('the last lines of the record; with -f also those that come')
    .option('-f, --follow', 'go on until Ctrl-C')
    .addOption(
      new Option('-n, --lines <count>', `of what is there, at most ${linesMax}`).default(10).argParser(parseLines),
    )
    .addOption(countOption('--limit <count>', 'end after so many lines in all'))
    .option('--person <name>', 'behind the request, such as alice or corp/alice; * stands for any letters')
    .option('--workload <name>', 'that asked, such as svc/orders or a SPIFFE id; * stands for any letters')
    .option('--table <name>', 'a keyspace, or keyspace.table, as CQL writes it', parseTable)
    .option('--denied', 'what was refused only, log-ins too')
    .option('--zone <name>', 'of the times that are shown (that of this machine)')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addHelpText(
      'after',
      `
Looks for the last lines in the last MiB of each log: who and audit query ask
about all. With -o json each line is one of the record. Of a sealed record a
request is shown when its outcome is there. Where the day is another one than
that of the line before, a line says it, with the zone.

Ends with 0, 65 where there is no record to follow, and 130 after Ctrl-C.`,
    )
  withSources(command).action(tail)
}

function parseLines(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > linesMax) {
    throw new InvalidArgumentError(`a whole number up to ${linesMax} is expected`)
  }
  return Number(text)
}

async function tail(flags: TailFlags): Promise<void> {
  const list = (): ReturnType<typeof sourcesOf>['files'] => sourcesOf(flags, 0).files
  if (list().length === 0) {
    throw new UnreadableInput('there is nothing to follow: an archive does not grow by lines', {
      hint: 'name the audit folder of a sidecar: --from <dir>',
    })
  }
  using shown = new Shown(flags)
  const followed = new RecordTail(list, (line) => shown.line(line))
  while (!shown.isOver && (await followed.step()));
  if (flags.follow !== true) followed.end()
  await shown.last()
  while (flags.follow === true && !shown.isOver) {
    const hasCome = await followed.step()
    await shown.written()
    if (!hasCome) await shown.wait(lookEveryMs)
  }
}

interface Kept {
  readonly time: string
  readonly text: string
}

/** What is printed: the last ones of what was there, then those that come. */
class Shown implements Disposable {
  readonly #flags: TailFlags
  readonly #wanted: TailWanted
  readonly #zone: string
  readonly #following: Following
  /** Before all that was there is read: the last ones, with their time. */
  #kept: Kept[] | undefined = []
  /** Of the line that was printed last. */
  #day = ''

  constructor(flags: TailFlags) {
    this.#flags = flags
    const { person, workload, denied, table } = flags
    this.#wanted = { person, workload, denied, keyspace: table?.keyspace, table: table?.table }
    this.#zone = flags.zone === undefined ? localZone() : readZone(flags.zone)
    this.#following = new Following(flags.limit)
  }

  get isOver(): boolean {
    return this.#following.isOver
  }

  line(text: string): void {
    const line = lineOf(text)
    if (line === undefined || !isWanted(line, this.#wanted)) return
    const shown = { time: String(line.time), text: this.#textOf(text, line) }
    if (this.#kept === undefined) this.#print(shown)
    else if (this.#flags.lines > 0) {
      this.#kept.push(shown)
      // Seldom, for it costs as much as there are lines.
      if (this.#kept.length > 2 * this.#flags.lines) this.#dropFirst(this.#kept)
    }
  }

  /** Prints the last ones of what was there, of all folders in the order of time. */
  async last(): Promise<void> {
    const kept = this.#kept ?? []
    this.#dropFirst(kept)
    this.#kept = undefined
    for (const one of kept) this.#print(one)
    await this.written()
  }

  written(): Promise<void> {
    return this.#following.written()
  }

  async wait(ms: number): Promise<void> {
    const { signal } = this.#following
    await this.#following.unlessOver(sleep(ms, undefined, { signal }))
  }

  #textOf(text: string, line: NonNullable<ReturnType<typeof lineOf>>): string {
    if (this.#flags.output === 'json') return jsonOf(text)
    return shownLine(line, { zone: this.#zone, widthMax: process.stdout.columns ?? 80, color: isColoured() })
  }

  #print({ time, text }: Kept): void {
    this.#following.print(`${this.#newDayOf(time)}${text}`)
  }

  /** For people: the line with the day, where it is another one. */
  #newDayOf(time: string): string {
    if (this.#flags.output === 'json') return ''
    const day = dayOf(time, this.#zone)
    if (day === undefined || day === this.#day) return ''
    this.#day = day
    return `${paint(day, 'grey')}\n`
  }

  #dropFirst(kept: Kept[]): void {
    kept.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
    kept.splice(0, kept.length - this.#flags.lines)
  }

  [Symbol.dispose](): void {
    this.#following[Symbol.dispose]()
  }
}
