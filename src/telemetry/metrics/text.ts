/**
 * Families as text: OpenMetrics 1.0, and the older form of Prometheus for whoever does not ask for that. In pieces, so that a long text does not
 * hold up the loop that serves clients.
 */
import type { Family, HistogramSample, Labels, Sample } from './family.ts'

export type TextForm = 'openmetrics' | 'prometheus'

export const contentTypes: Readonly<Record<TextForm, string>> = {
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
}

/** By the header `Accept`. */
export function formFor(accept: string | undefined): TextForm {
  return accept?.includes('application/openmetrics-text') === true ? 'openmetrics' : 'prometheus'
}

/** About so many characters make a piece. */
const pieceMax = 32_768

export function* metricsText(families: Iterable<Family>, form: TextForm): Generator<string> {
  let piece = ''
  for (const family of families) {
    if (family.samples.length === 0) continue
    const { name, help, type } = family
    const shown = type === 'counter' && form === 'prometheus' ? `${name}_total` : name
    piece += `# HELP ${shown} ${escapeHelp(help)}\n# TYPE ${shown} ${type}\n`
    if (family.type === 'histogram') {
      const ends = [...family.bounds.map(String), '+Inf']
      for (const sample of family.samples) {
        piece += histogramLines(name, ends, sample)
        if (piece.length < pieceMax) continue
        yield piece
        piece = ''
      }
      continue
    }
    const suffix = type === 'counter' ? '_total' : ''
    for (const sample of family.samples) {
      piece += line(name + suffix, sample)
      if (piece.length < pieceMax) continue
      yield piece
      piece = ''
    }
  }
  if (form === 'openmetrics') piece += '# EOF\n'
  yield piece
}

function histogramLines(name: string, ends: readonly string[], { labels, buckets, sum }: HistogramSample): string {
  const written = labelsText(labels)
  const before = written === '' ? '' : `${written},`
  const around = written === '' ? '' : `{${written}}`
  let count = 0
  let lines = ''
  for (const [at, end] of ends.entries()) {
    count += buckets[at] ?? 0
    lines += `${name}_bucket{${before}le="${end}"} ${count}\n`
  }
  return `${lines}${name}_sum${around} ${sum}\n${name}_count${around} ${count}\n`
}

function line(name: string, { labels, value }: Sample): string {
  const written = labelsText(labels)
  return `${name}${written === '' ? '' : `{${written}}`} ${value}\n`
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([label, value]) => `${label}="${escapeValue(value)}"`)
    .join(',')
}

function escapeValue(value: string): string {
  return value.toWellFormed().replace(/["\\\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`))
}

function escapeHelp(help: string): string {
  return help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
}
