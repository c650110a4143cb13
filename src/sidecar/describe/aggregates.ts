/** What aggregates are made of, for the form of DESCRIBE that lists them without their texts. */

import type { ProtocolVersion } from '../../cql/protocol.ts'
import { readRows } from '../../cql/responses.ts'

export const aggregatesQuery =
  'SELECT keyspace_name, aggregate_name, argument_types, state_func, final_func FROM system_schema.aggregates'

/** Functions of each aggregate, by keyspace, name and the types of its arguments. */
export type MadeOf = ReadonlyMap<string, readonly string[]>

export function aggregateKey(keyspace: string, name: string, types: string): string {
  return JSON.stringify([keyspace, name, types])
}

/** @param answer to `aggregatesQuery` */
export function madeOf(answer: Buffer, version: ProtocolVersion): MadeOf {
  const found = new Map<string, string[]>()
  for (const [keyspace, name, types, ...functions] of readRows(answer, 0, answer.length, version).rows) {
    const key = aggregateKey(String(keyspace), String(name), textsOf(types ?? Buffer.alloc(4)).join(', '))
    found.set(
      key,
      functions.flatMap((each) => (each === null || each === undefined ? [] : [each.toString()])),
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
