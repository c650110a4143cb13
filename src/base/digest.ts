import { createHash } from 'node:crypto'

/** SHA-256 of a text, in hexadecimal letters: by it two ends tell whether they have the same. */
export function textDigest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
