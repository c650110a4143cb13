/**
 * Runs the end-to-end suites one file after the other (each in a process of its own) on one mesh that this process holds: first what
 * only talks to the mesh, last what breaks it. Arguments are parts of file names; with some, only files that contain one of them run.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { holdMesh } from './held.ts'
import { endToEndFiles } from './order.ts'

const repository = join(import.meta.dirname, '..', '..')
const wanted = process.argv.slice(2)
const files = endToEndFiles(wanted)
if (files.length === 0) {
  process.stderr.write(`no end-to-end suite is named like ${wanted.join(' or ')}\n`)
  process.exit(2)
}

const held = process.env.RINGFENCE_E2E_MESH === undefined ? await holdMesh() : undefined
// A test that fails may leave its client open. Its file ends all the same, or it would stand for its whole time-out.
const flags = ['--test', '--test-concurrency=1', '--test-force-exit', '--test-reporter=spec']
const child = spawn(process.execPath, [...flags, ...files], { cwd: repository, stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
const code = await new Promise<number>((resolve) => child.once('exit', (exit) => resolve(exit ?? 1)))
await held?.close()
process.exit(code)
