/** The programs that stand in docs/drivers/: their blocks as files, and how each is run. A block names its file behind its language: "```js shop.mjs". */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type DriverName, type Program, toolchainOf, toolchainsDir } from './toolchain.ts'

const run = promisify(execFile)
const repository = join(import.meta.dirname, '..', '..', '..')
const docs = join(repository, 'docs')
const buildMsMax = 300_000

export const pages: readonly DriverName[] = ['node', 'python', 'java', 'go', 'cqlsh']

/** File name to text, of every block of a page that names one. */
export function blocksOf(page: string): Map<string, string> {
  const text = readFileSync(join(docs, page), 'utf8')
  return new Map([...text.matchAll(/^```\w+ (\S+)\n([\s\S]*?)^```$/gm)].map(([, name, block]) => [name!, block!]))
}

/** Writes the blocks of a driver's page into `dir` and builds what has to be built. */
export async function programOf(driver: DriverName, dir: string): Promise<Program | { readonly absent: string }> {
  const toolchain = await toolchainOf(driver)
  if ('absent' in toolchain) return toolchain
  mkdirSync(dir, { recursive: true })
  for (const [name, text] of blocksOf(`drivers/${driver}.md`)) writeFileSync(join(dir, name), text)
  const bin = join(toolchainsDir(), 'python', 'bin')
  switch (driver) {
    case 'node':
      symlinkSync(join(repository, 'node_modules'), join(dir, 'node_modules'))
      return { command: process.execPath, args: ['shop.mjs'], env: {} }
    case 'python':
      return { command: join(bin, 'python'), args: ['shop.py'], env: {} }
    case 'cqlsh':
      return { command: 'sh', args: ['shop.sh'], env: { PATH: `${bin}:${process.env.PATH}`, HOME: dir } }
    case 'java': {
      const lib = join(toolchainsDir(), 'java', 'lib', '*')
      await run('javac', ['-encoding', 'UTF-8', '-cp', lib, '-d', '.', 'MeshTls.java', 'Shop.java'], {
        cwd: dir,
        timeout: buildMsMax,
      })
      return { command: 'java', args: ['-Xmx256m', '-cp', `.:${lib}`, 'Shop'], env: {} }
    }
    case 'go': {
      for (const name of ['go.mod', 'go.sum']) copyFileSync(join(import.meta.dirname, 'go', name), join(dir, name))
      await run('go', ['build', '-mod=mod', '-o', 'shop', '.'], { cwd: dir, timeout: buildMsMax })
      return { command: './shop', args: [], env: {} }
    }
  }
}
