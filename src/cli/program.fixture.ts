/** The program as people start it, from its wrapper on. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../bin/ringfence.mjs', import.meta.url))

export async function run(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err] = [child.stdout, child.stderr].map((stream) => {
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    return parts
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out: Buffer.concat(out!).toString(), err: Buffer.concat(err!).toString() }
}
