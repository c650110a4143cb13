/**
 * The answer to RING_QUERY, made once for a ring and kept as bytes. For a thousand nodes it has megabytes, and every worker of every
 * gateway asks for it.
 *
 *   { "id": ___7, "digest": "…",  "nodes": […], "keyspaces": […] }
 *           the only part         └────────── content ─────────┘  the digest is its SHA-256
 *           that differs
 *
 * Rule: the content is canonical (nodes by host id, tokens, keyspaces and options by name), so that sidecars whose nodes see the same
 * ring say the same digest.
 */
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RingfenceError } from '../../base/errors.ts'
import { envelopeHeaderBytes, writeHeader } from '../../cql/protocol.ts'
import { Control, controlVersion, type Ring, ringSchema } from '../../link/protocol.ts'
import type { Row } from '../schema/load.ts'
import type { SchemaModel } from '../schema/model.ts'
import { byHostId, nodeOf } from './nodes.ts'

export type RingKeyspace = Ring['keyspaces'][number]

const { nodes: nodesSchema, keyspaces: keyspacesSchema } = ringSchema.shape

/** As `ringSchema` has it; nodes are held against it one by one. */
const nodesMax = 4096
/** Of 4,096 nodes with 256 tokens each it would be 23 MB. */
const contentBytesMax = 64 * 1024 * 1024
/** Number.MIN_SAFE_INTEGER in letters. */
const idBytes = 17
const idAt = envelopeHeaderBytes + '{"id":'.length

export class RingAnswer {
  /** `Hello.ring`. */
  readonly digest: string
  readonly #envelope: Buffer

  /** `content`: the pieces of `"nodes":[…],"keyspaces":[…]`. */
  constructor(digest: string, content: readonly Buffer[]) {
    this.digest = digest
    const head = Buffer.from(`{"id":${' '.repeat(idBytes)},"digest":"${digest}",`)
    this.#envelope = Buffer.concat([Buffer.alloc(envelopeHeaderBytes), head, ...content, Buffer.from('}')])
    writeHeader(this.#envelope, controlVersion, 0, 0, Control.RING, this.#envelope.length - envelopeHeaderBytes)
  }

  /** The control envelope that answers question `id`; valid until the next call. */
  envelope(id: number): Buffer {
    this.#envelope.write(String(id).padStart(idBytes), idAt)
    return this.#envelope
  }
}

/** The answer while no ring is known. */
export const noRing: RingAnswer = new RingAnswer('', [Buffer.from('"nodes":[],"keyspaces":[]')])

/** Of keyspaces that are stored, by name. */
export function replicationOf(schema: SchemaModel): RingKeyspace[] {
  const keyspaces: RingKeyspace[] = []
  for (const { name, replication } of schema.keyspaces.values()) {
    if (replication === undefined) continue
    const { strategy, options } = replication
    keyspaces.push({ name, strategy, options: [...options].sort(([a], [b]) => (a < b ? -1 : 1)) })
  }
  return keyspaces.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/**
 * Node by node, with a turn for the sessions between them.
 * @param rows of `readNodes`
 * @returns `noRing` where no node has joined
 * @throws RingfenceError UPSTREAM for a ring that the message cannot hold, such as one whose tokens are not Murmur3's
 */
export async function makeRingAnswer(
  rows: readonly Row[],
  keyspaces: readonly RingKeyspace[],
  bytesMax = contentBytesMax,
): Promise<RingAnswer> {
  const content: Buffer[] = []
  const hash = createHash('sha256')
  let bytes = 0
  const add = (text: string): void => {
    const part = Buffer.from(text)
    bytes += part.length
    if (bytes > bytesMax) throw tooMuch(`more than ${bytesMax} bytes`)
    hash.update(part)
    content.push(part)
  }
  let count = 0
  for (const [hostId, row] of byHostId(rows)) {
    await nextTurn()
    const node = nodeOf(hostId, row)
    if (node === undefined) continue
    if (!nodesSchema.element.safeParse(node).success) throw tooMuch(`node ${hostId}`)
    add(`${count++ === 0 ? '"nodes":[' : ','}${JSON.stringify(node)}`)
  }
  if (count === 0) return noRing
  if (count > nodesMax) throw tooMuch(`more than ${nodesMax} nodes`)
  if (!keyspacesSchema.safeParse(keyspaces).success) throw tooMuch('the keyspaces')
  add(`],"keyspaces":${JSON.stringify(keyspaces)}`)
  return new RingAnswer(hash.digest('base64url'), content)
}

function tooMuch(what: string): RingfenceError {
  return new RingfenceError('UPSTREAM', `the mesh link cannot tell this ring: ${what}`)
}
