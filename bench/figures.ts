/** What a run leaves behind: the machine in one line, the figures as JSON, the medians as a picture. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname } from 'node:path'
import { type Cores, wordsFor } from './cores.ts'
import type { Load } from './loads.ts'
import type { Options } from './options.ts'
import { type Bars, plotOf } from './plot.ts'
import type { Ratio } from './ratios.ts'
import { columns, type MeasuredRow, type Row } from './table.ts'

export interface Figures {
  readonly machine: string
  readonly medians: readonly Row[]
  readonly ratios: readonly Ratio[]
  readonly measured: readonly MeasuredRow[]
}

const plotted = new Set(['CPU µs/request', 'requests/s', 'p99 ms', 'memory MB'])

/** `path` takes the JSON; the picture goes beside it, as `.svg`. */
export function writeFigures(path: string, figures: Figures, loads: readonly Load[]): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(figures, null, 2)}\n`)
  writeFileSync(path.replace(/(\.json)?$/, '.svg'), plotOf(barsOf(figures.medians, loads), figures.machine))
}

function barsOf(medians: readonly Row[], loads: readonly Load[]): Bars[] {
  return loads.map(({ name }) => {
    const rows = medians.filter((row) => row.load === name)
    const figures = columns
      .filter(([title]) => plotted.has(title))
      .map(([title, cell]) => ({
        title,
        values: rows.map((row) => {
          const text = cell(row)
          const value = Number(text)
          return { system: row.system, value: Number.isFinite(value) ? value : undefined, text }
        }),
      }))
    return { load: name, figures }
  })
}

/** How and on what it was measured. */
export function machineOf(options: Options, cores: Cores | undefined): string {
  const { rounds, seconds, seldomLoads, protocol, rowBytes, workers } = options
  const seldom = seldomLoads.length === 0 ? '' : ` (from ${seldomLoads[0]!.name} on once for each start)`
  const plan = `${rounds} × ${seconds} s${seldom}, protocol v${protocol}, rows of ${rowBytes} bytes, ${workers} ${workers === 1 ? 'worker' : 'workers'} in each hop; ${wordsFor(cores)}`
  const nginx = /nginx\/[\d.]+/.exec(outputOf('nginx', '-v'))?.[0] ?? 'no nginx'
  const haproxy = /HAProxy version [\d.]+/.exec(outputOf('haproxy', '-v'))?.[0].replace(' version', '') ?? 'no HAProxy'
  return `${plan}; ${processorAndCommit()}, ${nginx}, ${haproxy}`
}

export function processorAndCommit(): string {
  const [processor] = cpus()
  const commit = outputOf('git', 'rev-parse', '--short', 'HEAD') || 'unknown'
  return `${cpus().length} cores (${processor?.model}), Node.js ${process.version}, commit ${commit}`
}

function outputOf(command: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(command, args, { encoding: 'utf8', cwd: import.meta.dirname })
  return status === 0 ? `${stdout}${stderr}`.trim() : ''
}
