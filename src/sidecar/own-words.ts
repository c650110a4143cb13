/** What an envelope of the sidecar's own asks, in the words of `policy/own-permit.ts`. */
import type { Envelope } from '../cql/envelope.ts'
import { headerOpcode, headerVersion, Opcode, type ProtocolVersion } from '../cql/protocol.ts'
import { QueryView, readQuery } from '../cql/requests.ts'

const query = new QueryView()
const names = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))

/** The text of a QUERY; the name of any other opcode. */
export function wordsOf(envelope: Envelope): string {
  const { bytes, start } = envelope
  const opcode = headerOpcode(bytes, start)
  if (opcode !== Opcode.QUERY) return names.get(opcode) ?? ''
  readQuery(query, envelope, headerVersion(bytes, start) as ProtocolVersion)
  return query.text
}
