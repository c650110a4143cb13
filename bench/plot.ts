/** The medians as a picture: a row for each load, a column for each figure, a bar for each system. SVG, without a library. */

export interface Bars {
  readonly load: string
  readonly figures: readonly {
    readonly title: string
    /** Undefined where a system has no such figure. */
    readonly values: readonly { readonly system: string; readonly value: number | undefined; readonly text: string }[]
  }[]
}

const cell = { width: 340, bar: 16, gap: 6, names: 150, numbers: 70 } as const
const margin = 16
const title = 24
const colours = ['#4c78a8', '#f58518', '#54a24b', '#b279a2', '#e45756', '#72b7b2', '#9d755d']

/** Bars of one cell share a scale; different cells do not, since loads differ by a factor of thirty. */
export function plotOf(rows: readonly Bars[], caption: string): string {
  const systems = [...new Set(rows.flatMap(({ figures }) => figures.flatMap(({ values }) => values.map(systemOf))))]
  const parts: string[] = []
  let y = margin
  for (const { load, figures } of rows) {
    const barsMost = Math.max(...figures.map(({ values }) => values.length))
    for (const [column, figure] of figures.entries()) {
      const x = margin + column * (cell.width + margin)
      parts.push(words(x, y + 14, `${load}: ${figure.title}`, 'font-weight="600"'))
      const most = Math.max(...figure.values.map(({ value }) => value ?? 0), Number.MIN_VALUE)
      const room = cell.width - cell.names - cell.numbers
      for (const [index, { system, value, text }] of figure.values.entries()) {
        const top = y + title + index * (cell.bar + cell.gap)
        const width = (((value ?? 0) / most) * room).toFixed(1)
        const colour = colours[systems.indexOf(system) % colours.length]
        parts.push(words(x, top + 12, system))
        parts.push(`<rect x="${x + cell.names}" y="${top}" width="${width}" height="${cell.bar}" fill="${colour}"/>`)
        parts.push(words(x + cell.names + Number(width) + 4, top + 12, text))
      }
    }
    y += title + barsMost * (cell.bar + cell.gap) + margin
  }
  parts.push(words(margin, y + 12, caption, 'fill="#666"'))
  const columns = Math.max(...rows.map(({ figures }) => figures.length))
  const width = margin + columns * (cell.width + margin)
  const height = y + title + margin
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<title>What a request costs</title>
<rect width="${width}" height="${height}" fill="#fff"/>
${parts.join('\n')}
</svg>
`
}

function systemOf({ system }: { readonly system: string }): string {
  return system
}

function words(x: number, y: number, text: string, attributes = ''): string {
  const escaped = text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`
}
