/**
 * Reads a page whose code blocks are run: an HTML comment before a block says what it is and where it belongs.
 *
 *   <!-- run: node 1 -->              commands, in bash on that host
 *   <!-- run: edge, ends with 1 -->   commands of which the last one has this exit code
 *   <!-- run: edge, for each node --> commands on one host, once for each node, whose name and address stand in it
 *   <!-- run: each host -->           commands on the edge and on each node
 *   <!-- file: each node /etc/x -->   a file as it stands
 *   <!-- keys: each node /etc/x -->   top-level keys of a YAML file that is there
 *   <!-- shows -->                    lines that the commands before have printed; … stands for anything
 *   <!-- applications: nginx -->      the reader's applications move; no block
 *
 * A block without a comment is a fault: then the page would say something that nobody has tried.
 */

/** Which hosts a block is for. `edge each` runs on `edge` once for each node. */
export type Where = 'edge' | 'edge each' | 'node 1' | 'other nodes' | 'each node' | 'each host'

interface Placed {
  readonly line: number
  readonly where: Where
  readonly text: string
}

export type Step =
  | (Placed & { readonly kind: 'run'; readonly exitCode: number; readonly shows: string[] })
  | (Placed & { readonly kind: 'file' | 'keys'; readonly path: string })
  | { readonly kind: 'applications'; readonly line: number; readonly way: string }

const places = 'edge, for each node|edge|node 1|other nodes|each node|each host'
const fenced = /^```(\w*)\n([\s\S]*?)^```$/m

/** @throws Error with the line of what is not understood */
export function stepsOf(page: string): Step[] {
  const steps: Step[] = []
  const lines = page.split('\n')
  let order: { readonly text: string; readonly line: number } | undefined
  for (let i = 0; i < lines.length; i++) {
    const line = i + 1
    const comment = /^<!-- (.+) -->$/.exec(lines[i]!)?.[1]
    if (comment !== undefined) {
      const way = /^applications: (\w+)$/.exec(comment)?.[1]
      if (way === undefined) order = { text: comment, line }
      else steps.push({ kind: 'applications', line, way })
      continue
    }
    if (!lines[i]!.startsWith('```')) continue
    const [whole, language = '', text = ''] = fenced.exec(lines.slice(i).join('\n')) ?? []
    if (whole === undefined) throw new Error(`line ${line}: the block does not end`)
    i += whole.split('\n').length - 1
    if (order?.line === line - 1) add(steps, order.text, text, line)
    else if (language !== 'text') throw new Error(`line ${line}: nothing says what this block is`)
    order = undefined
  }
  return steps
}

function add(steps: Step[], order: string, text: string, line: number): void {
  if (order === 'shows') {
    const before = steps.at(-1)
    if (before?.kind !== 'run') throw new Error(`line ${line}: nothing was run that could show this`)
    before.shows.push(...text.split('\n').filter((shown) => shown !== ''))
    return
  }
  const run = new RegExp(`^run: (${places})(?:, ends with (\\d+))?$`).exec(order)
  if (run !== null) {
    const exitCode = Number(run[2] ?? 0)
    steps.push({ kind: 'run', line, where: whereOf(run[1]!), text, exitCode, shows: [] })
    return
  }
  const file = new RegExp(`^(file|keys): (${places}) (/\\S+)$`).exec(order)
  if (file === null) throw new Error(`line ${line - 1}: "${order}" is not understood`)
  steps.push({ kind: file[1] as 'file' | 'keys', line, where: whereOf(file[2]!), path: file[3]!, text })
}

function whereOf(words: string): Where {
  return words === 'edge, for each node' ? 'edge each' : (words as Where)
}

/** Whether what was printed has each line that was to be shown, wherever, each part between … in its order. */
export function missingLines(printed: string, shows: readonly string[]): string[] {
  const found = printed.split('\n').map((line) => line.replaceAll(/\s+/g, ' '))
  return shows.filter((shown) => {
    const parts = shown.split('…').map((part) => part.trim().replaceAll(/\s+/g, ' '))
    return !found.some((line) => parts.reduce((at, part) => (at < 0 ? at : after(line, part, at)), 0) >= 0)
  })
}

function after(line: string, part: string, from: number): number {
  const at = line.indexOf(part, from)
  return at < 0 ? -1 : at + part.length
}
