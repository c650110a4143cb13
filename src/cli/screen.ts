/**
 * What is written to a terminal so that it stays inside it: widths as they are seen, lines that are cut, and a screen that is drawn
 * again in place.
 *
 * Rule: no line is wider than the terminal and no picture higher, or the next one is drawn in the wrong place.
 */

/** Colours and the like (ECMA-48 SGR); they take no room. */
const sgrPattern = /\u001b\[[0-9;]*m/g
/** What terminals show two columns wide, near enough: East Asian scripts, full-width forms, and what is shown as a picture. */
const widePattern =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u
const combiningPattern = /\p{M}/u

function columnsOf(character: string): number {
  if (combiningPattern.test(character)) return 0
  return widePattern.test(character) ? 2 : 1
}

/** Columns that a text takes, without its colours. */
export function widthOf(text: string): number {
  let width = 0
  for (const character of text.replace(sgrPattern, '')) width += columnsOf(character)
  return width
}

/** The text in at most `widthMax` columns, with `…` where it was cut; colours stay and end. */
export function cut(text: string, widthMax: number): string {
  if (widthOf(text) <= widthMax) return text
  if (widthMax < 1) return ''
  let width = 0
  let kept = ''
  let coloured = false
  for (const part of text.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) {
      kept += part
      coloured = part !== '\u001b[0m'
      continue
    }
    for (const character of part) {
      const columns = columnsOf(character)
      if (width + columns > widthMax - 1) return `${kept}…${coloured ? '\u001b[0m' : ''}`
      kept += character
      width += columns
    }
  }
  return kept
}

/** The text with spaces up to `width` columns. */
export function pad(text: string, width: number, right = false): string {
  const spaces = ' '.repeat(Math.max(0, width - widthOf(text)))
  return right ? spaces + text : text + spaces
}

export interface Terminal {
  readonly columns?: number | undefined
  readonly rows?: number | undefined
  write(text: string): unknown
}

/** Draws a picture again and again, each over the one before. */
export class Screen {
  readonly #terminal: Terminal
  #drawn = 0
  #columnsDrawn = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  get columns(): number {
    return this.#terminal.columns ?? 80
  }

  /** Lines that a picture may have: the last row is for the cursor. */
  get linesMax(): number {
    return Math.max(1, (this.#terminal.rows ?? 24) - 1)
  }

  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, this.linesMax).map((line) => cut(line, this.columns))
    // A terminal that became lower has scrolled what was above away.
    const up = Math.min(this.#drawn, this.linesMax)
    // What was drawn for another width lies where the terminal broke it: all is wiped.
    const resized = this.#drawn > 0 && this.#columnsDrawn !== this.columns
    const back = resized ? '\u001b[2J\u001b[H' : `${up > 0 ? `\u001b[${up}A` : ''}\r\u001b[J`
    this.#terminal.write(`${back}${shown.join('\n')}\n`)
    this.#drawn = shown.length
    this.#columnsDrawn = this.columns
  }
}
