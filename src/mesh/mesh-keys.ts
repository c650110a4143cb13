/** Mesh keys between memory, where they are bytes, and wire or disk, where they are base64. */
import { z } from 'zod'

/** What a mesh key is for; none is used for two things, and each rotates in its own time. */
const meshKeyUses = ['pages', 'masks'] as const

export type MeshKeyUse = (typeof meshKeyUses)[number]

/**
 * A secret that all sidecars of the mesh share and nobody else has. What is sealed with one of them by one sidecar is
 * opened by any other. Never written to a log, a status or an error.
 */
export interface MeshKey {
  /** 1..2^32 − 1; later keys have greater ids. */
  readonly id: number
  /** 32 random bytes. */
  readonly key: Buffer
  /** `pages` where it is not said, as by a control plane of before. */
  readonly use?: MeshKeyUse | undefined
  /** Of `masks`: from when on it is the one in force, milliseconds since 1970. */
  readonly fromMs?: number | undefined
}

export const meshKeyBytes = 32

/** A `MeshKey` as it travels and as it is kept: the key in base64. */
export const wireMeshKey = z.object({
  id: z.int().min(1).max(0xffff_ffff),
  key: z.base64().refine((text) => Buffer.byteLength(text, 'base64') === meshKeyBytes, 'not a key'),
  use: z.enum(meshKeyUses).optional(),
  fromMs: z.number().optional(),
})

export type WireMeshKey = z.infer<typeof wireMeshKey>

/** Mesh keys that a proxy may be given. */
export const meshKeysMax = 16

export function meshKeyToWire(key: MeshKey): WireMeshKey {
  return { ...key, key: key.key.toString('base64') }
}

export function meshKeyFromWire(wire: WireMeshKey): MeshKey {
  return { ...wire, key: Buffer.from(wire.key, 'base64') }
}
