/** `evidence`: populations for an auditor, with what proves where they came from, and samples of them that anybody can draw again. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Command, Option } from 'commander'
import { controls } from '../../archive/populations.ts'
import { viewRecord } from '../../archive/record-view.ts'
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import { flushFolder, writeFileAtomically } from '../../mesh/files.ts'
import { countOption, readInput, UnreadableInput } from '../options.ts'
import { exitCode, type Format, print, printAsIs, printJson, table } from '../output.ts'
import { csvRecords, csvText, headLines } from '../record/answer.ts'
import { askRecord } from '../record/asking.ts'
import { rangeOf, type SourceFlags, sourcesOf, type TimeFlags, withSources, withTimes } from '../record/sources.ts'
import { version } from '../version.ts'
import { withOutput } from './admin-command.ts'

/** A population is read as a whole. */
const linesMax = 1_000_000
const manifestName = 'manifest.json'

interface Made {
  readonly file: string
  readonly words: string
  readonly query: string
  readonly rows: number
  readonly sha256: string
}

interface ExportFlags extends SourceFlags, TimeFlags {
  readonly control: string
  readonly into: string
  readonly output: Format
}

interface SampleFlags {
  readonly seed: string
  readonly size: number
}

export function addEvidence(program: Command): void {
  const evidence = program.command('evidence').description('what an auditor asks for, from the record')
  const exporting = evidence
    .command('export')
    .description('populations of a control as CSV, with a manifest: query, tool, time, count and SHA-256 of each')
    .addOption(
      new Option('--control <id>', 'of SOC 2 or ISO/IEC 27001:2022')
        .choices(controls.map(({ id }) => id))
        .makeOptionMandatory(),
    )
    .option('--into <dir>', 'a folder for each control is made in it', 'evidence')
  withOutput(withSources(withTimes(exporting, '90d'))).action(exportControl)
  evidence
    .command('sample')
    .description('lines of a population by chance: the same seed gives the same lines to everybody')
    .argument('<file>', 'a CSV of evidence export; its manifest stands beside it')
    .requiredOption('--seed <text>', 'that the auditor chooses')
    .addOption(countOption('--size <count>', 'lines', 25))
    .action(sample)
}

async function exportControl(flags: ExportFlags): Promise<void> {
  const control = controls.find(({ id }) => id === flags.control)!
  const range = rangeOf(flags, Date.now())
  const sources = sourcesOf(flags, range.fromMs)
  const folder = join(flags.into, control.id)
  using working = new WorkingFolder(join(flags.into, `.${control.id}.making`))
  const made = await askRecord(async (database) => {
    const read = await viewRecord(database, sources, range)
    working.begin()
    const files: Made[] = []
    for (const { name, words, sql } of control.populations) {
      const answer = await database.ask(`${sql} LIMIT ${linesMax + 1}`)
      if (answer.rows.length > linesMax) {
        throw new RingfenceError('USAGE', `${name} has more than ${linesMax} lines`, {
          hint: 'choose a shorter --since',
        })
      }
      const text = csvText(answer)
      writeFileAtomically(join(working.path, `${name}.csv`), text, 0o600)
      database.mustGoOn()
      files.push({ file: `${name}.csv`, words, query: sql, rows: answer.rows.length, sha256: sha256Hex(text) })
    }
    return { files, read }
  })
  if (made === undefined) return
  const manifest = {
    control: control.id,
    words: control.words,
    tool: `ringfence ${version}`,
    made: new Date().toISOString(),
    from: new Date(range.fromMs).toISOString(),
    to: new Date(range.toMs).toISOString(),
    archives: sources.archives,
    parquetFiles: made.read.parquet,
    recordFiles: made.read.lines,
    populations: made.files,
  }
  const text = `${JSON.stringify(manifest, undefined, 2)}\n`
  writeFileAtomically(join(working.path, manifestName), text, 0o600)
  working.moveInto(folder, [...made.files.map(({ file }) => file), manifestName])
  if (flags.output === 'json') return printJson({ folder, manifestSha256: sha256Hex(text), ...manifest })
  const rows = made.files.map(({ file, rows: count, sha256 }) => [file, String(count), sha256.slice(0, 16)])
  const head = headLines(`${control.id} (${control.words})`, range)
  print(`${head.join('\n')}\n\n${table(['POPULATION', 'LINES', 'SHA-256'], rows, [1])}\n`)
  print(`${join(folder, manifestName)}, SHA-256:\n${sha256Hex(text)}`)
}

/** Populations are made in it and come to their place together, so that what was cancelled leaves no half of them. */
class WorkingFolder implements Disposable {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  begin(): void {
    rmSync(this.path, { recursive: true, force: true })
    mkdirSync(this.path, { recursive: true, mode: 0o700 })
  }

  moveInto(folder: string, names: readonly string[]): void {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const name of names) renameSync(join(this.path, name), join(folder, name))
    flushFolder(folder)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** By the hash of seed and line, so that it needs no order and no generator of numbers: anybody can check it. */
function sample(file: string, { seed, size }: SampleFlags): void {
  const text = readInput(file)
  mustBeInManifest(file, text)
  const [heading = '', ...records] = csvRecords(text)
  const chosen = records
    .map((record, at) => ({ record, key: sha256Hex(`${seed}\n${at}\n${record}`) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .slice(0, size)
    .map(({ record }) => record)
  process.stderr.write(`${chosen.length} of ${records.length} lines, by the seed ${JSON.stringify(seed)}\n`)
  printAsIs([heading, ...chosen].join('\r\n'))
}

/** A sample of what was changed since is worth nothing. */
function mustBeInManifest(file: string, text: string): void {
  const path = join(dirname(file), manifestName)
  if (!existsSync(path)) {
    throw new UnreadableInput(`${path} is not there`, { hint: 'take the CSV and its manifest together' })
  }
  const manifest = JSON.parse(readInput(path)) as { populations?: { file?: unknown; sha256?: unknown }[] }
  const entry = manifest.populations?.find((one) => one.file === basename(file))
  if (entry?.sha256 === sha256Hex(text)) return
  process.exitCode = exitCode.failed
  throw new RingfenceError('UNAVAILABLE', `${file} is not what its manifest says`, { hint: 'export it again' })
}
