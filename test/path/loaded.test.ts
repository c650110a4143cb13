/**
 * What an ordinary proxy loads: clients log in by certificate, nothing is sealed, there is no admin port. Each module that it loads stays in its
 * memory, and it stands beside a database.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, it, describe as suite } from 'node:test'
import { pathToFileURL } from 'node:url'
import { eventually, type Mesh, withMesh } from '../../src/control/mesh.fixture.ts'
import { freePort } from '../free-port.ts'
import { endPrograms, Program } from './program.ts'

after(endPrograms)

const root = pathToFileURL(join(import.meta.dirname, '..', '..')).href

/** Each process of the program writes what its main thread asked for into a file of its own. */
const tells = `
  import { registerHooks } from 'node:module'
  import { renameSync, writeFileSync } from 'node:fs'
  import { isMainThread } from 'node:worker_threads'
  const urls = new Set()
  let told = 0
  const tell = () => {
    if (urls.size === told) return
    told = urls.size
    const file = process.env.LOADED_TO + '/' + process.pid
    writeFileSync(file, JSON.stringify([...urls]))
    renameSync(file, file + '.json')
  }
  if (isMainThread) {
    registerHooks({ resolve(name, context, next) { const found = next(name, context); urls.add(found.url); return found } })
    setInterval(tell, 100).unref()
    process.on('exit', tell)
  }`

/** Folders and packages that are loaded when they are first configured or needed, with the files that each start needs. */
const notForAll: ReadonlyMap<string, readonly string[]> = new Map([
  ['src/agent/svid-source.ts', []],
  ['src/archive/', []],
  ['src/audit/sealed/', ['options.ts']],
  ['src/audit/counted.ts', []],
  ['src/audit/tap.ts', []],
  ['src/audit/tapped.ts', []],
  ['src/cli/check/', []],
  ['src/cli/policy/', []],
  ['src/control/', []],
  ['src/gateway/http/', ['http-config.ts']],
  ['src/mesh/admin/', ['address.ts', 'beside.ts']],
  ['src/mesh/workload-api/', ['address.ts']],
  ['src/people/', []],
  ['src/sidecar/catalog/', ['visible.ts']],
  ['src/sidecar/describe/', ['missing.ts']],
  ['src/telemetry/metrics/', ['tally.ts']],
  ['node_modules/@aws-sdk/', []],
  ['node_modules/@bufbuild/', []],
  ['node_modules/@connectrpc/', []],
  ['node_modules/@duckdb/', []],
  ['node_modules/@peculiar/', []],
  ['node_modules/@smithy/', []],
  ['node_modules/cassandra-driver/', []],
  ['node_modules/fastify/', []],
  ['node_modules/jose/', []],
  ['node_modules/openid-client/', []],
])

/** The same for one role. */
const notForRole: Readonly<Record<Role, readonly string[]>> = {
  sidecar: ['src/gateway/', 'src/cql/query/', 'src/agent/workers.ts', 'src/agent/node-certificate.ts'],
  'gateway worker': ['src/sidecar/', 'src/agent/agent.ts'],
  'gateway supervisor': ['src/sidecar/', 'src/gateway/gateway.ts', 'src/session/connection.ts'],
}

/** Of our own, somewhat more than there were when this was written. Beyond it look at what came, and whether each start needs it. */
const modulesMax: Readonly<Record<Role, number>> = { sidecar: 450, 'gateway worker': 275, 'gateway supervisor': 135 }

type Role = 'sidecar' | 'gateway worker' | 'gateway supervisor'

const sidecarMain = ['sidecar', 'src/sidecar/sidecar.ts'] as const
const workerMain = ['gateway worker', 'src/gateway/gateway.ts'] as const

/** By role the modules of the program and of its packages, from the root of the repository. */
async function loaded(mesh: Mesh): Promise<ReadonlyMap<Role, readonly string[]>> {
  const folder = join(mesh.stateDir, 'loaded')
  mkdirSync(folder)
  const env = {
    LOADED_TO: folder,
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(tells)}`,
  }
  const [sidecarPort, nodePort, gatewayPort] = [await freePort(), await freePort(), await freePort()]
  const specs = {
    sidecar: {
      upstream: { address: '127.0.0.1', port: nodePort },
      audit: { directory: 'audit' },
      listeners: [{ address: '127.0.0.1', port: sidecarPort }],
    },
    gateway: {
      workers: 1,
      advertise: [{ address: '127.0.0.1', port: gatewayPort }],
      listeners: [{ address: '127.0.0.1', port: gatewayPort }],
    },
  }
  for (const role of ['sidecar', 'gateway'] as const) {
    const config = join(mesh.stateDir, `${role}.yaml`)
    const kind = role === 'sidecar' ? 'Sidecar' : 'Gateway'
    const spec = { control: { url: mesh.control.url }, ...specs[role] }
    const document = { apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name: `${role}1` }, spec }
    writeFileSync(config, JSON.stringify(document))
    const token = await mesh.token(`spiffe://demo.local/ringfence/${role}/${role}1`, role)
    const args = [role, '--config', config, '--state-dir', join(mesh.stateDir, role), '--token', token]
    const program = new Program(args, env)
    await program.says(/"msg":"listening"/)
    const [last, main] = role === 'sidecar' ? sidecarMain : workerMain
    await eventually(`${last} has told what it loaded`, () => toldIn(folder).get(last)?.includes(main))
    program.child.kill('SIGTERM')
    // That one ends well which has only just begun to listen to signals is for other tests.
    await program.ended
  }
  return toldIn(folder)
}

function toldIn(folder: string): ReadonlyMap<Role, readonly string[]> {
  const found = new Map<Role, readonly string[]>()
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
    const urls = JSON.parse(readFileSync(join(folder, name), 'utf8')) as string[]
    const modules = urls.filter((url) => url.startsWith(`${root}/`)).map((url) => url.slice(root.length + 1))
    const role = roleOf(modules)
    if (role !== undefined) found.set(role, modules.sort())
  }
  return found
}

/** Undefined for what starts the program, and for what prepares its code. */
function roleOf(modules: readonly string[]): Role | undefined {
  if (modules.includes('src/gateway/worker.ts')) return 'gateway worker'
  if (!modules.includes('src/cli/main.ts')) return undefined
  return modules.includes('src/gateway/main.ts') ? 'gateway supervisor' : 'sidecar'
}

suite('what an ordinary proxy loads', () => {
  it('is only what each of them needs', () =>
    withMesh({}, async (mesh) => {
      const byRole = await loaded(mesh)
      assert.deepEqual([...byRole.keys()].sort(), ['gateway supervisor', 'gateway worker', 'sidecar'])
      for (const [role, modules] of byRole) {
        assert.deepEqual(needlessOf(role, modules), [], role)
        const own = modules.filter((module) => module.startsWith('src/'))
        assert.ok(own.length <= modulesMax[role], `${role}: ${own.length} modules\n${own.join('\n')}`)
        // Types that are stripped in the process itself cost as much as all of them.
        assert.ok(modules.includes('bin/role.mjs'), role)
      }
    }))
})

function needlessOf(role: Role, modules: readonly string[]): string[] {
  return modules.filter((module) => {
    if (/^node_modules\/zod\/v4\/locales\/(?!en\.js|index\.js)/.test(module)) return true
    if (notForRole[role].some((path) => module.startsWith(path))) return true
    return [...notForAll].some(
      ([path, needed]) => module.startsWith(path) && !needed.includes(module.slice(path.length)),
    )
  })
}
