/**
 * What an agent keeps on disk: its identity, the mesh keys, and the last good policy with the proxies that were live. Written whole
 * to a new file and renamed, so a reader sees the old or the new one; the cache carries its own SHA-256, so bit rot is not taken for
 * policy.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { RingfenceError } from '../base/errors.ts'
import { type Credentials, credentialsOf } from '../mesh/credentials.ts'
import {
  type GatewayEndpoint,
  gatewayEndpoint,
  gatewayEndpointsMax,
  type SidecarEndpoint,
  sidecarEndpoint,
  sidecarEndpointsMax,
} from '../mesh/endpoints.ts'
import { fittingEntries } from '../mesh/entries.ts'
import type { PolicySnapshot } from '../mesh/feed.ts'
import { writeFileAtomically } from '../mesh/files.ts'
import { type MeshKey, meshKeysFromWire, meshKeysMax, meshKeysToWire, wireMeshKey } from '../mesh/mesh-keys.ts'

const identityFile = z.object({ certificatePem: z.string(), keyPem: z.string(), bundlePem: z.string() })
const keysFile = z.object({ keys: fittingEntries(wireMeshKey, meshKeysMax) })
const cacheFile = z.object({ sha256: z.string(), content: z.string() })
const cacheContent = z.object({
  revision: z.int().nonnegative(),
  source: z.string(),
  sidecars: fittingEntries(sidecarEndpoint, sidecarEndpointsMax),
  /** Absent in what an older program wrote. */
  gateways: fittingEntries(gatewayEndpoint, gatewayEndpointsMax).prefault([]),
})

export interface Cache {
  readonly policy: PolicySnapshot
  readonly sidecars: readonly SidecarEndpoint[]
  readonly gateways: readonly GatewayEndpoint[]
}

export class AgentState {
  readonly #identityPath: string
  readonly #keysPath: string
  readonly #cachePath: string

  constructor(stateDir: string) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    this.#identityPath = join(stateDir, 'identity.json')
    this.#keysPath = join(stateDir, 'mesh-keys.json')
    this.#cachePath = join(stateDir, 'policy-cache.json')
  }

  /** @throws RingfenceError IDENTITY where there is a file that cannot be read */
  readIdentity(): Credentials | undefined {
    const text = readIfThere(this.#identityPath)
    if (text === undefined) return undefined
    const parsed = parseJson(text, identityFile)
    if (parsed === undefined) {
      throw new RingfenceError('IDENTITY', `${this.#identityPath} is damaged`, {
        hint: 'remove it and enrol again with a new join token',
      })
    }
    return credentialsOf(parsed.certificatePem, parsed.keyPem, parsed.bundlePem)
  }

  writeIdentity({ certificatePem, keyPem, bundlePem }: Credentials): void {
    writeFileAtomically(this.#identityPath, JSON.stringify({ certificatePem, keyPem, bundlePem }), 0o600)
  }

  /** Like the private key beside them, readable by their owner only. */
  writeKeys(keys: readonly MeshKey[]): void {
    writeFileAtomically(this.#keysPath, JSON.stringify({ keys: meshKeysToWire(keys) }), 0o600)
  }

  removeKeys(): void {
    rmSync(this.#keysPath, { force: true })
  }

  readKeys(): MeshKey[] | 'absent' | 'damaged' {
    const text = readIfThere(this.#keysPath)
    if (text === undefined) return 'absent'
    const file = parseJson(text, keysFile)
    if (file === undefined || (file.keys.skipped > 0 && file.keys.entries.length === 0)) return 'damaged'
    return meshKeysFromWire(file.keys.entries)
  }

  /** `damaged` instead of a guess where the hash does not match. */
  readCache(): Cache | 'absent' | 'damaged' {
    const text = readIfThere(this.#cachePath)
    if (text === undefined) return 'absent'
    const file = parseJson(text, cacheFile)
    if (file === undefined || sha256(file.content) !== file.sha256) return 'damaged'
    const content = parseJson(file.content, cacheContent)
    if (content === undefined) return 'damaged'
    const { revision, source, sidecars, gateways } = content
    return { policy: { revision, source }, sidecars: sidecars.entries, gateways: gateways.entries }
  }

  writeCache({ policy, sidecars, gateways }: Cache): void {
    const content = JSON.stringify({ revision: policy.revision, source: policy.source, sidecars, gateways })
    writeFileAtomically(this.#cachePath, JSON.stringify({ sha256: sha256(content), content }), 0o600)
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function parseJson<T>(text: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
