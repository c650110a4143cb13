/** What aggregates are made of, for the form of DESCRIBE that lists them without their texts. */

import { readRowsLayout } from '../../cql/answers/rows.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { BodyReader } from '../../cql/reader.ts'

export const aggregatesQuery =
  'SELECT keyspace_name, aggregate_name, argument_types, state_func, final_func FROM system_schema.aggregates'

/** Functions of each aggregate, by keyspace, name and the types of its arguments. */
export type MadeOf = ReadonlyMap<string, readonly string[]>

export function aggregateKey(keyspace: string, name: string, types: string): string {
  return JSON.stringify([keyspace, name, types])
}

const rowsAStep = 64

/**
 * In steps.
 * @param answer to `aggregatesQuery`
 */
export function* madeOf(answer: Buffer, version: ProtocolVersion): Generator<undefined, MadeOf> {
  const found = new Map<string, string[]>()
  const { columnCount, rowCount, rowsAt } = readRowsLayout(wholeEnvelope(answer), version)
  const reader = new BodyReader().reset(answer, rowsAt, answer.length)
  for (let row = 0; row < rowCount; row++) {
    if (row % rowsAStep === rowsAStep - 1) yield
    const cells = Array.from({ length: columnCount }, () => {
      const bytes = reader.skipBytes()
      return bytes < 0 ? null : answer.subarray(reader.at - bytes, reader.at)
    })
    const [keyspace, name, types, ...functions] = cells
    const key = aggregateKey(String(keyspace), String(name), textsOf(types ?? Buffer.alloc(4)).join(', '))
    found.set(
      key,
      functions.flatMap((each) => (each === null ? [] : [each.toString()])),
    )
  }
  return found
}

/** The elements of a list<text>, as versions 3 to 5 write it. */
function textsOf(list: Buffer): string[] {
  const texts: string[] = []
  let at = 4
  for (let left = list.readInt32BE(0); left > 0; left--) {
    const bytes = list.readInt32BE(at)
    texts.push(list.toString('utf8', at + 4, at + 4 + bytes))
    at += 4 + bytes
  }
  return texts
}
