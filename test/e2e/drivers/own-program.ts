/** Programs of a suite's own, one for each driver, runnable with the toolchains of the driver suites and built where one has to be. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  type DriverName,
  type Program,
  pythonEnvironment,
  type Toolchain,
  toolchainOf,
  toolchainsDir,
} from './toolchain.ts'

const run = promisify(execFile)
const goModule = join(import.meta.dirname, 'go')
const buildMsMax = 600_000

export interface ProgramSources {
  /** Has `node.ts`, `main.py`, `main.go`, `cqlsh.ts` and `<javaClass>.java`, as far as they are asked for. */
  readonly folder: string
  readonly javaClass: string
}

/** @param dir where what is built goes */
export async function ownProgram(driver: DriverName, sources: ProgramSources, dir: string): Promise<Toolchain> {
  const { folder, javaClass } = sources
  const made = (program: Program): Toolchain => ({ program })
  switch (driver) {
    case 'node':
      return made({ command: process.execPath, args: [join(folder, 'node.ts')], env: {} })
    case 'python': {
      const python = await pythonEnvironment()
      if ('absent' in python) return python
      return made({ command: join(python.dir, 'bin', 'python'), args: [join(folder, 'main.py')], env: {} })
    }
    case 'cqlsh': {
      const python = await pythonEnvironment()
      if ('absent' in python) return python
      const env = { RF_CQLSH: join(python.dir, 'bin', 'cqlsh') }
      return made({ command: process.execPath, args: [join(folder, 'cqlsh.ts')], env })
    }
    case 'java': {
      const java = await toolchainOf('java')
      if ('absent' in java) return java
      const lib = join(toolchainsDir(), 'java', 'lib', '*')
      const args = ['-encoding', 'UTF-8', '-cp', lib, '-d', dir, join(folder, `${javaClass}.java`)]
      await run('javac', args, { timeout: buildMsMax })
      return made({ command: 'java', args: ['-Xmx256m', '-cp', `${dir}:${lib}`, javaClass], env: {} })
    }
    case 'go': {
      const go = await toolchainOf('go')
      if ('absent' in go) return go
      const own = join(dir, 'go')
      mkdirSync(own, { recursive: true })
      for (const name of ['go.mod', 'go.sum']) copyFileSync(join(goModule, name), join(own, name))
      copyFileSync(join(folder, 'main.go'), join(own, 'main.go'))
      const binary = join(own, 'program')
      await run('go', ['build', '-mod=mod', '-o', binary, '.'], { cwd: own, timeout: buildMsMax })
      return made({ command: binary, args: [], env: {} })
    }
  }
}
