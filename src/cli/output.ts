/** What commands print: tables for people, JSON for programs; colours only where a person looks. */
import type { RingfenceError } from '../base/errors.ts'
import { printable } from '../base/printable.ts'

export { printable }

export type Format = 'table' | 'json'

const esc = '\u001b['
const colours = { red: '31', green: '32', yellow: '33', grey: '90', bold: '1' } as const
export type Colour = keyof typeof colours

export function paint(text: string, colour: Colour): string {
  return isColoured() ? `${esc}${colours[colour]}m${text}${esc}0m` : text
}

/** A person looks, and did not ask for text without colours (no-color.org). */
export function isColoured(): boolean {
  return process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '' && !process.argv.includes('--no-color')
}

export interface Cell {
  readonly text: string
  readonly colour?: Colour
}

/** Columns as wide as their widest cell, two spaces apart; numbers (`right`) to the right. */
export function table(
  heads: readonly string[],
  rows: readonly (readonly (Cell | string)[])[],
  right: readonly number[] = [],
): string {
  const cells = rows.map((row) =>
    row.map((cell) => (typeof cell === 'string' ? { text: printable(cell) } : { ...cell, text: printable(cell.text) })),
  )
  const widths = heads.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]?.text.length ?? 0)))
  const line = (row: readonly Cell[]): string =>
    row
      .map(({ text, colour }, i) => {
        const width = widths[i] ?? 0
        const padded = right.includes(i) ? text.padStart(width) : i === row.length - 1 ? text : text.padEnd(width)
        return colour === undefined ? padded : paint(padded, colour)
      })
      .join('  ')
      .trimEnd()
  return [line(heads.map((text) => ({ text, colour: 'grey' as const }))), ...cells.map(line)].join('\n')
}

// What `paint` makes, and what orders a text.
const own = /(\u001b\[(?:\d\d?)m|[\n\t])/

/** Whatever strangers put into it, it does nothing to the terminal; a JSON text stays the same JSON. */
export function print(text: string): void {
  const safe = text
    .split(own)
    .map((part, index) => (index % 2 === 1 ? part : printable(part)))
    .join('')
  printAsIs(safe)
}

/** For documents of the operator's own that go into files. */
export function printAsIs(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2))
}

/** `4m12s`, `3d4h`; `expired` when negative. */
export function formatDuration(ms: number): string {
  if (ms < 0) return 'expired'
  const seconds = Math.floor(ms / 1000)
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ]
  if (d >= 365) return `${Math.floor(d / 365)}y${d % 365}d`
  if (d > 0) return `${d}d${h}h`
  if (h > 0) return `${h}h${m}m`
  return m > 0 ? `${m}m${s}s` : `${s}s`
}

/** Exit codes, so that a script can tell a refusal from a fault (sysexits.h where it has one). */
export const exitCode = {
  ok: 0,
  failed: 1,
  denied: 2,
  invalid: 3,
  testsFailed: 4,
  usage: 64,
  unreadable: 65,
} as const

export function exitCodeOf(fault: RingfenceError): number {
  if (fault.code === 'CONFIG' || fault.code === 'TOO_LARGE') return exitCode.invalid
  return fault.code === 'USAGE' ? exitCode.usage : exitCode.failed
}
