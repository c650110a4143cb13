import { hash } from 'node:crypto'

/** SHA-256 in hexadecimal letters: by it two ends tell whether they have the same, and by it a token is known where it may not be told. */
export function sha256Hex(content: string | Uint8Array): string {
  return hash('sha256', content, 'hex')
}
