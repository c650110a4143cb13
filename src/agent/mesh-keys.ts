/** Mesh keys between memory, where they are bytes, and wire or disk, where they are base64. */
import type { MeshKey, WireMeshKey } from './api.ts'

export function meshKeysToWire(keys: readonly MeshKey[]): WireMeshKey[] {
  return keys.map((key) => ({ ...key, key: key.key.toString('base64') }))
}

/** Newest first, in whatever order they came. */
export function meshKeysFromWire(wire: readonly WireMeshKey[]): MeshKey[] {
  return wire.map((key) => ({ ...key, key: Buffer.from(key.key, 'base64') })).sort((a, b) => b.id - a.id)
}

export function sameMeshKeys(one: readonly MeshKey[], other: readonly MeshKey[]): boolean {
  return one.length === other.length && one.every(({ id, key }, i) => id === other[i]?.id && key.equals(other[i].key))
}
