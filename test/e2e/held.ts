/**
 * Starts the mesh of the end-to-end suites, and lets one process hold it for others: they reach its parts over a Unix socket in its
 * state folder. Knows nothing of node:test, so that runners can use it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IdentityFiles } from '../../demo/parts/certificates.ts'
import { type Mesh, startMesh } from '../../demo/parts/mesh.ts'

export const e2eNodes = 3

/**
 * A node writes its tables of the schema to disk after each change, which takes most of the time of a change, at three nodes each. Without that a node
 * that is killed forgets changes that it has not written for another reason: who kills one calls `keepSchema` before (`schema.ts`).
 */
const quickChanges = '-Dcassandra.test.flush_local_schema_changes=false'

export const policyFile: string = join(import.meta.dirname, 'policy.yaml')

export interface HeldMesh {
  /** The value of RINGFENCE_E2E_MESH for the processes that are to use this mesh. */
  readonly stateDir: string
  /** Stops everything and removes the folder. */
  close(): Promise<void>
}

/** Starts the mesh, sets RINGFENCE_E2E_MESH for this process and its children, and serves its parts to them. */
export async function holdMesh(): Promise<HeldMesh> {
  const { mesh, portOffset, close: stop } = await startE2eMesh()
  const { stateDir } = mesh.layout
  const server = await serveControl(mesh, stateDir, portOffset)
  process.env.RINGFENCE_E2E_MESH = stateDir
  return {
    stateDir,
    close: async () => {
      delete process.env.RINGFENCE_E2E_MESH
      server.close()
      await stop()
    },
  }
}

/** Starts a mesh in a fresh folder with ports of its own. With RINGFENCE_E2E_KEEP the folder stays when it is closed. */
export async function startE2eMesh(): Promise<{ mesh: Mesh; portOffset: number; close(): Promise<void> }> {
  const stateDir = mkdtempSync(join(tmpdir(), 'ringfence-e2e-'))
  // Runs side by side get ports of their own, below the ones that the system gives away; two offsets never differ by 100,
  // the distance between two parts' ports.
  const portOffset = 12_000 + (process.pid % 90)
  const options = {
    stateDir,
    nodes: e2eNodes,
    portOffset,
    policyFile,
    gatewayWorkers: 2,
    spareGateway: true,
    jmx: true,
    jvmFlags: [quickChanges],
    clusterName: 'e2e',
  }
  try {
    const mesh = await startMesh(options)
    const close = async (): Promise<void> => {
      await mesh.close()
      if (process.env.RINGFENCE_E2E_KEEP === undefined) rmSync(stateDir, { recursive: true, force: true })
    }
    return { mesh, portOffset, close }
  } catch (reason) {
    process.stderr.write(`the mesh did not start; its logs are in ${join(stateDir, 'log')}\n`)
    throw reason
  }
}

export type PartAction = 'start' | 'stop' | 'kill'
export type Environment = Readonly<Record<string, string>>

export interface MeshControl {
  pid(part: string): Promise<number | undefined>
  /** @param env for `start`: what is added to its environment */
  act(part: string, action: PartAction, env?: Environment): Promise<void>
  identity(spiffeId: string, ttlMs?: number): Promise<IdentityFiles>
}

interface Order {
  readonly part?: string
  readonly action?: PartAction
  readonly env?: Environment
  readonly spiffeId?: string
  readonly ttlMs?: number
}

export function controlOf(mesh: Mesh): MeshControl {
  const made = new Map<string, Promise<IdentityFiles>>()
  return {
    pid: async (part) => mesh.part(part).pid,
    act: (name, action, env) => (action === 'start' ? mesh.part(name).start(env) : mesh.part(name)[action]()),
    identity: (spiffeId, ttlMs) => {
      if (ttlMs !== undefined) return mesh.identity(spiffeId, ttlMs)
      // Once for each: making it anew writes the same files, which another suite may be reading.
      const known = made.get(spiffeId) ?? mesh.identity(spiffeId)
      made.set(spiffeId, known)
      return known
    },
  }
}

/** Serves the control of a mesh to tests in other processes, until the server is closed. */
async function serveControl(mesh: Mesh, stateDir: string, portOffset: number): Promise<Server> {
  const control = controlOf(mesh)
  const server = createServer(async (incoming, outgoing) => {
    try {
      let text = ''
      for await (const chunk of incoming.setEncoding('utf8')) text += chunk
      const { part, action, env, spiffeId, ttlMs } = JSON.parse(text) as Order
      let answer: unknown = null
      if (spiffeId !== undefined) answer = await control.identity(spiffeId, ttlMs)
      else if (part !== undefined && action !== undefined) await control.act(part, action, env)
      else if (part !== undefined) answer = (await control.pid(part)) ?? null
      outgoing.end(JSON.stringify(answer))
    } catch (reason) {
      outgoing.writeHead(500).end(String(reason))
    }
  })
  rmSync(socketIn(stateDir), { force: true })
  await new Promise<void>((resolve) => server.listen(socketIn(stateDir), resolve))
  writeFileSync(descriptionIn(stateDir), JSON.stringify({ portOffset }))
  return server
}

/** The control of the mesh that another process holds in this state folder. */
export function describedMesh(stateDir: string): MeshControl & { readonly portOffset: number } {
  const { portOffset } = JSON.parse(readFileSync(descriptionIn(stateDir), 'utf8')) as { portOffset: number }
  const call = (order: Order): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const sent = request({ socketPath: socketIn(stateDir), method: 'POST' }, async (answer) => {
        let text = ''
        for await (const chunk of answer.setEncoding('utf8')) text += chunk
        if (answer.statusCode === 200) resolve(JSON.parse(text))
        else reject(new Error(text))
      })
      sent.on('error', reject)
      sent.end(JSON.stringify(order))
    })
  return {
    portOffset,
    pid: async (part) => ((await call({ part })) as number | null) ?? undefined,
    act: async (part, action, env = {}) => {
      await call({ part, action, env })
    },
    identity: async (spiffeId, ttlMs) =>
      (await call({ spiffeId, ...(ttlMs === undefined ? {} : { ttlMs }) })) as IdentityFiles,
  }
}

const socketIn = (stateDir: string): string => join(stateDir, 'e2e.sock')
const descriptionIn = (stateDir: string): string => join(stateDir, 'e2e.json')
