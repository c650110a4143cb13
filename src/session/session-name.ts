/** The name of a session in the record: sixteen hexadecimal digits that no other session has. It proves nothing. */
import { randomFillSync } from 'node:crypto'

const nameBytes = 8
/** Drawn for many names at a time: one call of the generator takes as long as for one. */
const drawn = Buffer.alloc(256 * nameBytes)
let at = drawn.length

export function sessionName(): string {
  if (at === drawn.length) {
    randomFillSync(drawn)
    at = 0
  }
  at += nameBytes
  return drawn.toString('hex', at - nameBytes, at)
}
