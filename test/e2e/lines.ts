/**
 * Finds lines in files by words that they contain. The records of a run are some hundred megabytes and asked hundreds of times, so
 * they are searched as bytes, in one buffer: only a line that has the longest of the words is made a text.
 */
import { type FileHandle, open } from 'node:fs/promises'

const lineFeed = 0x0a
const bufferBytes = 4_194_304

/** The lines of all files, in order, that contain each of `words`; without words all of them. */
export async function linesWith(files: readonly string[], words: readonly string[]): Promise<string[]> {
  const found: string[] = []
  const longest = words.reduce((one, other) => (other.length > one.length ? other : one), '')
  const needle = Buffer.from(longest)
  const take = (line: string): void => {
    // Cassandra writes a statement as it came, and a carriage return in it ends a line as well.
    for (const part of line.split(/[\r\u2028\u2029]/)) if (words.every((word) => part.includes(word))) found.push(part)
  }
  let buffer: Buffer = Buffer.allocUnsafe(bufferBytes)
  for (const name of files) {
    const file = await open(name)
    try {
      buffer = await search(file, buffer, needle, take)
    } finally {
      await file.close()
    }
  }
  return found
}

/** Gives the buffer back, or a larger one that a long line needed. */
async function search(file: FileHandle, buffer: Buffer, needle: Buffer, take: (line: string) => void): Promise<Buffer> {
  let bytes = buffer
  /** Bytes at the start of the buffer: of a line that has no end yet. */
  let begun = 0
  for (;;) {
    if (begun === bytes.length) bytes = Buffer.concat([bytes], bytes.length * 2)
    const { bytesRead } = await file.read(bytes, begun, bytes.length - begun)
    const filled = begun + bytesRead
    // The last line may have no end.
    const end = bytesRead === 0 ? filled : bytes.subarray(0, filled).lastIndexOf(lineFeed) + 1
    searchLines(bytes.subarray(0, end), needle, take)
    if (bytesRead === 0) return bytes
    bytes.copyWithin(0, end, filled)
    begun = filled - end
  }
}

function searchLines(lines: Buffer, needle: Buffer, take: (line: string) => void): void {
  for (let at = 0; at < lines.length; ) {
    const hit = needle.length === 0 ? at : lines.indexOf(needle, at)
    if (hit === -1) return
    const start = at + lines.subarray(at, hit).lastIndexOf(lineFeed) + 1
    const lineEnd = lines.indexOf(lineFeed, hit)
    const end = lineEnd === -1 ? lines.length : lineEnd
    take(lines.toString('utf8', start, end))
    at = end + 1
  }
}
