/**
 * Errors in which the node names the role that it knows the mesh by. No client knows of that role, and none is told its name: it hears what
 * is missing, and that it is the mesh that has not got it. UNAUTHORIZED stays UNAUTHORIZED. BAD_CREDENTIALS becomes OVERLOADED: the client's
 * own credentials are good, and a driver that hears so asks another sidecar.
 */
import type { Envelope } from '../envelope.ts'
import {
  CqlErrorCode,
  envelopeHeaderBytes,
  headerFlags,
  headerOpcode,
  headerStream,
  Opcode,
  writeHeader,
} from '../protocol.ts'
import { bodyStart, errorCode, readError } from '../responses.ts'

const textAt = 4
const lengthBytes = 2
const textBytesMax = 65_535

/**
 * The same ERROR without the role's name; undefined where there is nothing to change. Cassandra writes `User <role> …` in each UNAUTHORIZED
 * that names whoever is logged in (`service/ClientState`, `cql3/restrictions/StatementRestrictions`, `cql3/statements/*RoleStatement`), and
 * `<role> is not permitted to log in` in BAD_CREDENTIALS.
 */
export function withoutRoleName(envelope: Envelope): Buffer | undefined {
  const { bytes, start, end } = envelope
  if (headerOpcode(bytes, start) !== Opcode.ERROR) return undefined
  const code = errorCode(envelope)
  const shown = mayNameRole(code) ? shownText(code, readError(envelope).message) : undefined
  if (shown === undefined) return undefined
  const at = bodyStart(envelope) + textAt
  const text = cut(Buffer.from(shown))
  const length = Buffer.allocUnsafe(lengthBytes)
  length.writeUInt16BE(text.length)
  const rest = bytes.subarray(at + lengthBytes + bytes.readUInt16BE(at), end)
  const changed = Buffer.concat([bytes.subarray(start, at), length, text, rest])
  if (code === CqlErrorCode.BAD_CREDENTIALS) changed.writeInt32BE(CqlErrorCode.OVERLOADED, at - start - textAt)
  const body = changed.length - envelopeHeaderBytes
  writeHeader(changed, changed[0]!, headerFlags(bytes, start), headerStream(bytes, start), Opcode.ERROR, body)
  return changed
}

const lacks = / (has no [A-Z_]+(?: nor [A-Z_]+)? permission on .*)$/s
const insufficient = / (does not have sufficient privileges .*)$/s
const noLogIn = 'the node does not let the mesh log in: the operator of the node has to let its role do so'
const hint = 'policy permits it, so the operator of the node has to grant it'

/** Of an error's code: whether its text may have the name in it. */
export function mayNameRole(code: number): boolean {
  return code === CqlErrorCode.UNAUTHORIZED || code === CqlErrorCode.BAD_CREDENTIALS
}

function shownText(code: number, message: string): string | undefined {
  if (code === CqlErrorCode.BAD_CREDENTIALS) return noLogIn
  if (!message.startsWith('User ')) return undefined
  // The role's name may hold anything; what follows the first of the node's own words is what is missing.
  const missing = lacks.exec(message)?.[1] ?? insufficient.exec(message)?.[1]
  if (missing === undefined) return `the node refuses this to the mesh: ${hint}`
  return `the node refuses this to the mesh, whose role there ${missing}: ${hint}`
}

function cut(text: Buffer): Buffer {
  return text.subarray(0, textBytesMax)
}
