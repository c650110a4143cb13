/** The sample workloads of `npm start`: a process for each, which is told where to go and what to prove itself with. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Layout, show, spiffeIds } from './parts/layout.ts'
import type { Mesh } from './parts/mesh.ts'
import { siteFiles, siteUrl } from './parts/people.ts'
import { littleToDo } from './parts/processes.ts'
import { secretFile } from './providers/secrets.ts'

type Settings = Readonly<Record<string, string>>

interface Workload {
  readonly name: string
  settings(mesh: Mesh): Promise<Settings>
}

export const workloads: readonly Workload[] = [
  { name: 'orders', settings: (mesh) => certificate(mesh, 'orders') },
  { name: 'report', settings: (mesh) => certificate(mesh, 'report') },
  { name: 'alice', settings: async ({ layout }) => person(layout, 'alice') },
  { name: 'bob', settings: async ({ layout }) => person(layout, 'bob') },
  { name: 'forecast', settings: async ({ layout }) => cloudJob(layout) },
  { name: 'shop', settings: webApplication },
  { name: 'browsers', settings: async ({ layout }) => browsers(layout) },
]

export async function startWorkload(mesh: Mesh, { name, settings }: Workload): Promise<void> {
  const { layout } = mesh
  const dir = join(layout.dirs.workloads, name)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const ours = { DEMO_DOOR: show(layout.nginx), DEMO_CA: siteFiles(layout).caFile, DEMO_STATE_DIR: dir }
  const env = { ...littleToDo.env, ...ours, ...(await settings(mesh)) }
  const program = join(import.meta.dirname, 'workloads', `${name}.ts`)
  await mesh.processes.spawn(`workload-${name}`, process.execPath, [...littleToDo.flags, program], { env })
}

/** A join token, for the first certificate. */
async function certificate({ admin, layout }: Mesh, service: string): Promise<Settings> {
  const { token } = await admin.makeToken({ spiffeId: spiffeIds.service(service), role: 'workload' })
  return { DEMO_CONTROL_URL: `https://${show(layout.control)}`, DEMO_TOKEN: token }
}

function person({ corp, dirs }: Layout, name: 'alice' | 'bob'): Settings {
  return { DEMO_CORP: `http://${show(corp)}`, DEMO_SECRET: secretFile(dirs.providers, name) }
}

function cloudJob({ cloud, dirs }: Layout): Settings {
  return { DEMO_CLOUD: `http://${show(cloud)}`, DEMO_SECRET: secretFile(dirs.providers, 'forecast') }
}

async function webApplication(mesh: Mesh): Promise<Settings> {
  return { ...(await certificate(mesh, 'shop')), DEMO_LISTEN: show(mesh.layout.application) }
}

function browsers(layout: Layout): Settings {
  const { providers } = layout.dirs
  return {
    DEMO_SITE: siteUrl(layout),
    DEMO_SECRET_ALICE: secretFile(providers, 'alice'),
    DEMO_SECRET_BOB: secretFile(providers, 'bob'),
    // As somebody would have told a browser of the mesh's authority.
    NODE_EXTRA_CA_CERTS: siteFiles(layout).caFile,
  }
}
