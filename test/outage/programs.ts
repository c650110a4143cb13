/** The applications in `applications/`, each runnable: with the toolchains of the end-to-end suites, built where one has to be. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Program, pythonEnvironment, toolchainOf, toolchainsDir } from '../e2e/drivers/toolchain.ts'

const run = promisify(execFile)
const sources = join(import.meta.dirname, 'applications')
const goModule = join(import.meta.dirname, '..', 'e2e', 'drivers', 'go')
const buildMsMax = 600_000

export const drivers = ['node', 'python', 'java', 'go'] as const
export type OutageDriver = (typeof drivers)[number]

/** @param dir where what is built goes */
export async function programOf(driver: OutageDriver, dir: string): Promise<Program | { readonly absent: string }> {
  switch (driver) {
    case 'node':
      return { command: process.execPath, args: [join(sources, 'node.ts')], env: {} }
    case 'python': {
      const python = await pythonEnvironment()
      if ('absent' in python) return python
      return { command: join(python.dir, 'bin', 'python'), args: [join(sources, 'main.py')], env: {} }
    }
    case 'java': {
      const java = await toolchainOf('java')
      if ('absent' in java) return java
      const lib = join(toolchainsDir(), 'java', 'lib', '*')
      const args = ['-encoding', 'UTF-8', '-cp', lib, '-d', dir, join(sources, 'Outage.java')]
      await run('javac', args, { timeout: buildMsMax })
      return { command: 'java', args: ['-Xmx256m', '-cp', `${dir}:${lib}`, 'Outage'], env: {} }
    }
    case 'go': {
      const go = await toolchainOf('go')
      if ('absent' in go) return go
      const own = join(dir, 'go')
      mkdirSync(own, { recursive: true })
      for (const name of ['go.mod', 'go.sum']) copyFileSync(join(goModule, name), join(own, name))
      copyFileSync(join(sources, 'main.go'), join(own, 'main.go'))
      await run('go', ['build', '-mod=mod', '-o', 'outage', '.'], { cwd: own, timeout: buildMsMax })
      return { command: join(own, 'outage'), args: [], env: {} }
    }
  }
}
