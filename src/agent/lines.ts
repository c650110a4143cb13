/** Text that comes in pieces, as lines. A line beyond its bound is skipped and said, and those after it are read. */
export class LineReader {
  readonly #lengthMax: number
  readonly #onLine: (line: string) => void
  readonly #onTooLong: () => void
  #pieces: string[] = []
  #length = 0
  #skipping = false

  constructor(lengthMax: number, onLine: (line: string) => void, onTooLong: () => void) {
    this.#lengthMax = lengthMax
    this.#onLine = onLine
    this.#onTooLong = onTooLong
  }

  push(text: string): void {
    let at = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
      this.#add(text.slice(at, end))
      const line = this.#skipping ? undefined : this.#pieces.join('')
      this.#pieces = []
      this.#length = 0
      this.#skipping = false
      at = end + 1
      if (line !== undefined) this.#onLine(line)
    }
    this.#add(text.slice(at))
  }

  #add(piece: string): void {
    if (this.#skipping || piece === '') return
    this.#length += piece.length
    if (this.#length <= this.#lengthMax) {
      this.#pieces.push(piece)
      return
    }
    this.#skipping = true
    this.#pieces = []
    this.#onTooLong()
  }
}
