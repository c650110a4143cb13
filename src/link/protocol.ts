/**
 * The mesh link: one TLS 1.3 connection (ALPN `ringfence/2`) between a gateway worker and a sidecar that carries many sessions.
 * Stream ids stay the session's own, so answers cannot cross.
 *
 *   frame   [ session: 4 bytes ][ CQL envelope: 9 bytes of header, body ]
 *
 * An envelope whose version byte is CONTROL is not CQL but about the link or a session; its opcode is a `Control` and its body
 * is JSON. Rule: a control body is validated before a field of it is used, and a session number is used only after OPEN.
 *
 *   gateway                                  sidecar
 *      │ ◀───────────────────────── HELLO {…} │  session 0, first, and again whenever the node's state changes
 *      │ OPEN 7 {passport, version, …} ─────▶ │
 *      │ ◀───────────────── OPENED 7 │ CLOSE 7 {code, message, cause, words}
 *      │ QUERY, EXECUTE, … of 7 ────────────▶ │
 *      │ ◀──────────────────── RESULT, ERROR of 7
 *      │ GIVEN 7 {answer} ──────────────────▶ │  what the next request of 7 is answered with, if it is permitted
 *      │ ◀─ PIECE 7, PIECE 7, … ────────────▶ │  a long envelope, either way (pieces.ts)
 *      │ ◀─ PAUSE 7 {}, RESUME 7 {} ────────▶ │  send no envelope of 7 until RESUME, either way: its receiver has too much of it
 *      │ CLOSE 7 ───────────────────────────▶ │
 *      │ ◀────────────────────────── DRAIN {} │  session 0: the sidecar is about to stop, sessions should move
 *      │ SCHEMA? {} ────────────────────────▶ │  session 0: which schema versions do the nodes have now?
 *      │ ◀──────────────────── SCHEMA {versions}
 *      │ RING? {} ──────────────────────────▶ │  session 0: who owns which tokens, how is each keyspace replicated?
 *      │ ◀──────────────── RING {nodes, keyspaces}
 *      │ TABLE? {keyspace, table} ──────────▶ │  session 0: what is its partition key?
 *      │ ◀──────────────────── TABLE {partitionKey}
 */
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { cutText } from '../base/text.ts'
import { envelopeHeaderBytes, writeHeader } from '../cql/protocol.ts'

export const linkProtocol = 'ringfence/2'
/** An older end: it takes whole envelopes only, and is neither paused nor pauses. */
export const linkProtocol1 = 'ringfence/1'
export const linkProtocols: readonly string[] = [linkProtocol, linkProtocol1]
/** Longest body of a frame between ends that send long envelopes in pieces. */
export const frameBodyBytesMax = 256 * 1024
/** No CQL version has this number, in either direction. */
export const controlVersion = 0x7f
export const sessionBytes = 4

export const Control = {
  HELLO: 1,
  OPEN: 2,
  OPENED: 3,
  CLOSE: 4,
  PING: 5,
  PONG: 6,
  SCHEMA_QUERY: 7,
  SCHEMA: 8,
  DRAIN: 9,
  RING_QUERY: 10,
  RING: 11,
  TABLE_QUERY: 12,
  TABLE: 13,
  PAUSE: 14,
  RESUME: 15,
  GIVEN: 16,
  PIECE: 17,
} as const

/** A text that somebody else chose, such as the node: what is too long is cut, on both ends, and never refused. */
const cut = (lengthMax: number) => z.string().transform((text) => cutText(text, lengthMax))
/** Names of the schema in a question of the gateway; Cassandra's own are shorter, so there is nothing with a longer one. */
export const schemaNameMax = 256

export const helloSchema = z.object({
  name: cut(128),
  /** False while the node does not answer. */
  ready: z.boolean(),
  clusterName: cut(256),
  dataCenter: cut(128),
  rack: cut(128),
  releaseVersion: cut(64),
  partitioner: cut(256),
  /** The node's own id, as a UUID's text; empty while it is not known. */
  hostId: cut(36),
  /** Equal for equal answers to RING_QUERY; empty while the ring is not known. */
  ring: cut(64),
  /** Changes whenever the schema that the sidecar holds changed: answers to TABLE_QUERY may be others now. */
  schemaEpoch: z.int().nonnegative(),
})
export type Hello = z.infer<typeof helloSchema>

export const openSchema = z.strictObject({
  passport: z.string().max(limits.passportBytesMax),
  /** The client's connection, for the record: the same at every sidecar. A name that the gateway gives, and no proof of anything. */
  session: z.string().regex(/^[0-9a-f]{16}$/),
  version: z.int().min(3).max(5),
  /** The keyspace in force, where the session lived on another link before. */
  keyspace: z.string().max(256).optional(),
  /** Events that the client registered for. */
  events: z.array(z.string().max(32)).max(8),
  /** How the client wants to hear of limits; absent as long as it does not matter, for an older sidecar does not know it. */
  limitAnswers: z.strictObject({ rateLimitError: z.boolean(), throwOnOverload: z.boolean() }).optional(),
})
export type Open = z.infer<typeof openSchema>

export const closeSchema = z.object({
  code: cut(32),
  message: cut(1024),
  /** Of what the client showed and the sidecar did not believe: its `RefusalCause`. */
  cause: cut(32).optional(),
  /** What the client may hear of that. */
  words: cut(1024).optional(),
})
export type Close = z.infer<typeof closeSchema>

export const schemaSchema = z.strictObject({ id: z.int(), versions: z.array(z.string().max(64)).max(4096) })

export const schemaQuerySchema = z.strictObject({ id: z.int() })

/** The ring as one node sees it, itself included. Down nodes are in it; those that have not joined yet are not. */
export const ringSchema = z.strictObject({
  id: z.int(),
  /** `Hello.ring` of this content. */
  digest: z.string().max(64),
  nodes: z
    .array(
      z.strictObject({
        hostId: z.string().max(36),
        dataCenter: z.string().max(128),
        rack: z.string().max(128),
        /** Murmur3 tokens as decimal numbers. */
        tokens: z.array(z.string().regex(/^-?[0-9]{1,19}$/)).max(4096),
      }),
    )
    .max(4096),
  /** Of keyspaces that are stored; `options` are those of `system_schema.keyspaces.replication` without `class`. */
  keyspaces: z
    .array(
      z.strictObject({
        name: z.string().max(256),
        /** Without its package: `NetworkTopologyStrategy`. */
        strategy: z.string().max(256),
        options: z.array(z.tuple([z.string().max(256), z.string().max(256)])).max(256),
      }),
    )
    .max(16_384),
})
export type Ring = z.infer<typeof ringSchema>

export const ringQuerySchema = z.strictObject({ id: z.int() })

export const tableQuerySchema = z.strictObject({
  id: z.int(),
  keyspace: z.string().max(schemaNameMax),
  table: z.string().max(schemaNameMax),
})

/** `partitionKey`: names in order; empty where the sidecar knows no such table. */
export const tableSchema = z.strictObject({ id: z.int(), partitionKey: z.array(z.string().max(256)).max(64) })

/** What is read of a question or answer that is not understood otherwise, so that nobody waits for it. */
export const numberedSchema = z.object({ id: z.int() })
/** The answer, an envelope in base64, to the next request of the session, which asks about the virtual topology. */
export const givenSchema = z.strictObject({ answer: z.base64().max(4 * 1024 * 1024) })

/** A control envelope; the outbox puts the session number in front. */
export function controlEnvelope(opcode: number, body: unknown): Buffer {
  const json = Buffer.from(JSON.stringify(body))
  const envelope = Buffer.allocUnsafe(envelopeHeaderBytes + json.length)
  writeHeader(envelope, controlVersion, 0, 0, opcode, json.length)
  json.copy(envelope, envelopeHeaderBytes)
  return envelope
}

/** The body of a control envelope; `undefined` for what does not fit: its loss is that of one message, not of the link. */
export function tryControl<T>(schema: z.ZodType<T>, envelope: Buffer): T | undefined {
  try {
    return readControl(schema, envelope)
  } catch {
    return undefined
  }
}

/** The body of a control envelope. Throws `LINK` for what does not fit its schema. */
export function readControl<T>(schema: z.ZodType<T>, envelope: Buffer): T {
  let value: unknown
  try {
    value = JSON.parse(envelope.toString('utf8', envelopeHeaderBytes))
  } catch (cause) {
    throw new RingfenceError('LINK', 'a control message of the mesh link is not JSON', { cause })
  }
  const parsed = schema.safeParse(value)
  if (!parsed.success) {
    throw new RingfenceError('LINK', 'a control message of the mesh link is malformed', { cause: parsed.error })
  }
  return parsed.data
}
