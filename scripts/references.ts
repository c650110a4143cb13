/** References in code and documents to what stands elsewhere: rows of the catalogues, files, links. */

/** What is no row of a catalogue, though it looks like one. */
const rowPattern =
  /\b(?:attacks?|rows?)(?:\s+\*)? ([A-F]\d{1,2})\b|\(([A-F]\d{1,2})\)|'([A-F]\d{1,2})(?:: | [a-z$])|row: '([A-F]\d{1,2})'/g

/** Words that belong to papers which are not here. */
const strangers: readonly RegExp[] = [
  /\b(?:mesh|design|data-access|attacks-and-faults|aesthetics|next)(?:\.md)? (?:§|traps? \d)/g,
  /\b(?:mesh|data-access|attacks-and-faults)\.md\b/g,
  /\btraps? [A-Z]?\d+/g,
  /\(G\d{1,2}[;)]/g,
  /\bissue \d+/gi,
]

const filePattern = /`((?:[\w.-]+\/)*[\w-]+(?:\.[\w-]+)*\.(?:ts|mjs|md|sh|rn))`/g
const linkPattern = /\]\(([^)\s#]+)(?:#[^)]*)?\)/g

export interface Known {
  /** Rows of `docs/attacks.md`. */
  readonly rows: ReadonlySet<string>
  /** Paths from the repository's root. */
  readonly files: readonly string[]
}

/** What one file refers to and is not there; a sentence for each. */
export function danglingReferences(file: string, text: string, { rows, files }: Known): string[] {
  const problems: string[] = []
  for (const pattern of strangers)
    for (const [words] of text.matchAll(pattern)) problems.push(`${file}: “${words}” is in no paper of this repository`)
  for (const [, ...found] of text.matchAll(rowPattern)) {
    const row = found.find((one) => one !== undefined) ?? ''
    if (!rows.has(row)) problems.push(`${file}: docs/attacks.md has no row ${row}`)
  }
  for (const [, path = ''] of text.matchAll(filePattern)) {
    const end = path.startsWith('./') ? path.slice(1) : `/${path}`
    if (!files.some((one) => `/${one}`.endsWith(end))) problems.push(`${file}: there is no ${path}`)
  }
  if (!file.endsWith('.md')) return problems
  for (const [, target = ''] of text.matchAll(linkPattern)) {
    if (/^[a-z]+:/.test(target)) continue
    const path = new URL(target, `file:///${file}`).pathname.slice(1).replace(/\/$/, '')
    if (!files.some((one) => one === path || one.startsWith(`${path}/`)))
      problems.push(`${file}: links to ${target}, which is not there`)
  }
  return problems
}

/** The rows of a catalogue of `docs/`: number, and the cell that says what shows it. */
export function rowsOf(markdown: string): Map<string, string> {
  const rows = new Map<string, string>()
  for (const [, number = '', shownBy = ''] of markdown.matchAll(/^\| *([A-F]?\d{1,2}) *\|.*\| ([^|]+) \|$/gm))
    rows.set(number, shownBy)
  return rows
}
