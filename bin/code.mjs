/**
 * Where the program's code without its types lies, and what it is made of:
 *
 *     node_modules/.cache/ringfence/<SHA-256 of the sources>.code
 *
 *     <SHA-256 of all that follows><length of the list, in 12 characters>{"src/a.ts":[0,1200],"src/b.ts":[1200,310]}<the code of a><the code of b>
 *
 * Rule: it is executed, so it lies among the packages, which are executed too. Whoever may write there can change what the program does in any case;
 * nobody else can, for no variable names another folder.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const codeFolder = join(root, 'node_modules', '.cache', 'ringfence')

/** In hexadecimal. */
export const digestChars = 64
export const lengthChars = 12

/** Undefined for what is no key. */
export function codeFile(key) {
  return /^[0-9a-f]{64}$/.test(key) ? join(codeFolder, `${key}.code`) : undefined
}

/**
 * The key of the sources as they are now: what each has in it counts, and not when it was written.
 * @param {import('node:crypto').Hash} hash
 * @param {(name: string, bytes: Buffer) => void} each of `src`, in the order of their names, from the root
 */
export function keyOf(hash, each = () => {}) {
  for (const folder of ['bin', 'src']) {
    for (const inside of readdirSync(join(root, folder), { recursive: true }).sort()) {
      if (!/\.(ts|mjs)$/.test(inside) || /\.(test|fuzz|fixture)\.ts$/.test(inside)) continue
      const name = join(folder, inside)
      const bytes = readFileSync(join(root, name))
      hash.update(`${name} ${bytes.length}\n`).update(bytes)
      if (folder === 'src') each(name, bytes)
    }
  }
  return hash.digest('hex')
}
