/** Markdown as the formatter leaves it; the first columns are words. */
export function markdown(titles: readonly string[], rows: readonly (readonly string[])[], words = 3): string {
  const lines = [titles, ...rows]
  const widths = titles.map((_, column) => Math.max(3, ...lines.map((line) => line[column]!.length)))
  const padded = lines.map((line) =>
    line.map((cell, column) => (column < words ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))),
  )
  const rule = widths.map((width, column) => (column < words ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [padded[0]!, rule, ...padded.slice(1)].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
