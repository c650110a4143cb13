/**
 * Paging states sealed: what the node gave to one identity for one statement is opened for that alone, by every sidecar that has the
 * mesh's keys (attack B19).
 *
 *     +---------+------------+-------------+------------------------+------------+
 *     | version | key id (4) | nonce (12)  | ciphertext of the state | tag (16)  |
 *     +---------+------------+-------------+------------------------+------------+
 *
 * AES-256-GCM with a random nonce, which NIST SP 800-38D §8.3 allows for 2^32 pages under one key; keys are to change long before.
 * The first five bytes and the context are authenticated with it. Each purpose has a key of its own, derived by HKDF-SHA256
 * (RFC 5869) from the mesh's key.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { RingfenceError } from '../base/errors.ts'

/** A secret of the mesh; later keys have greater ids. */
export interface SealKey {
  /** 1..2^32 − 1. */
  readonly id: number
  /** 32 random bytes. */
  readonly key: Buffer
}

/** A key that may be one for masks. */
export interface MaskKey extends SealKey {
  readonly use?: 'pages' | 'masks' | undefined
  readonly fromMs?: number | undefined
}

/**
 * What a paging state is good for; all of it must be the same again. The protocol version is not of it: Cassandra reads the states of each
 * version in every other (`service/pager/PagingState.java`).
 */
export interface SealContext {
  /** `VerifiedIdentity.key` of the one for whom it is. */
  readonly identity: string
  /** '' for none. */
  readonly keyspace: string
  /** SHA-256 of what the statement says, however it is spelled. */
  readonly textDigest: Buffer
  /** SHA-256 of the bound values as they stand in the request. */
  readonly valuesDigest: Buffer
}

const version = 1
const cipherName = 'aes-256-gcm'
const keyBytes = 32
const keyIdAt = 1
const nonceAt = 5
const nonceBytes = 12
const textAt = nonceAt + nonceBytes
const tagBytes = 16

export class PagingSeal {
  readonly #sealing: SealKey | undefined
  readonly #byId: ReadonlyMap<number, SealKey>
  readonly #random: (bytes: number) => Buffer

  /**
   * @param keys in any order. Any key can open. The second newest seals, for the newest may not have reached every sidecar; a single key
   * seals too.
   */
  constructor(keys: readonly SealKey[], random: (bytes: number) => Buffer = randomBytes) {
    const derived = keys.map(({ id, key }) => ({ id, key: derive(key, 'ringfence paging') }))
    const newestFirst = derived.toSorted((a, b) => b.id - a.id)
    this.#sealing = newestFirst[1] ?? newestFirst[0]
    this.#byId = new Map(derived.map((key) => [key.id, key]))
    this.#random = random
  }

  /** UNAVAILABLE where there is no key: an unsealed state is never given away. */
  seal(state: Buffer, context: SealContext): Buffer {
    const sealing = this.#sealing
    if (sealing === undefined) {
      throw new RingfenceError('UNAVAILABLE', 'the mesh has no key yet to seal a paging state', {
        hint: 'read without paging, or try again once the control plane has been reached',
      })
    }
    const head = Buffer.allocUnsafe(textAt)
    head[0] = version
    head.writeUInt32BE(sealing.id, keyIdAt)
    this.#random(nonceBytes).copy(head, nonceAt)
    const cipher = createCipheriv(cipherName, sealing.key, head.subarray(nonceAt, textAt), { authTagLength: tagBytes })
    cipher.setAAD(associated(head, context))
    return Buffer.concat([head, cipher.update(state), cipher.final(), cipher.getAuthTag()])
  }

  /** The state, or undefined for whatever was not sealed by this mesh for this context with a key that is still known. */
  open(sealed: Buffer, context: SealContext): Buffer | undefined {
    if (sealed.length < textAt + tagBytes || sealed[0] !== version) return undefined
    const key = this.#byId.get(sealed.readUInt32BE(keyIdAt))
    if (key === undefined) return undefined
    const tagAt = sealed.length - tagBytes
    const decipher = createDecipheriv(cipherName, key.key, sealed.subarray(nonceAt, textAt), {
      authTagLength: tagBytes,
    })
    decipher.setAAD(associated(sealed, context))
    decipher.setAuthTag(sealed.subarray(tagAt))
    const state = decipher.update(sealed.subarray(textAt, tagAt))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return state
  }
}

/**
 * The key that column hashes are made with: of the keys for masks the last that has come into force, and when the next one does. Where a
 * control plane of before sent none for masks, the first of the mesh's keys; empty where there is no key.
 */
export function maskKeyOf(keys: readonly MaskKey[], nowMs: number): { key: Buffer; nextMs: number } {
  const masks = keys.filter(({ use }) => use === 'masks').sort((a, b) => a.id - b.id)
  const inForce = masks.findLast(({ fromMs = 0 }) => fromMs <= nowMs) ?? masks[0]
  const nextMs = Math.min(...masks.map(({ fromMs = 0 }) => fromMs).filter((fromMs) => fromMs > nowMs))
  const [first] = keys.toSorted((a, b) => a.id - b.id)
  const chosen = inForce ?? first
  return { key: chosen === undefined ? Buffer.alloc(0) : derive(chosen.key, 'ringfence mask'), nextMs }
}

function derive(key: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), purpose, keyBytes))
}

/** The head up to the nonce, then each part of the context behind its length, so that no two contexts are the same bytes. */
function associated(head: Buffer, { identity, keyspace, textDigest, valuesDigest }: SealContext): Buffer {
  const parts = [Buffer.from(identity), Buffer.from(keyspace), textDigest, valuesDigest]
  return Buffer.concat([
    head.subarray(0, nonceAt),
    ...parts.flatMap((part) => {
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32BE(part.length, 0)
      return [length, part]
    }),
  ])
}
