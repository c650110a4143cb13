/**
 * Circles between files: one that imports, over whatever many others, a file that imports it. Neither can then be read, tested or moved
 * alone. An import of a type counts too: who reads the file has to read the other one.
 */
import { importsOf } from './layers.ts'

/**
 * The groups of files that reach each other by their imports, each sorted.
 * @param sources text by path from the repository's root
 */
export function circlesOf(sources: ReadonlyMap<string, string>): string[][] {
  const imports = new Map<string, string[]>()
  for (const [file, source] of sources) {
    imports.set(
      file,
      importsOf(file, source).filter((path) => sources.has(path)),
    )
  }
  const order = new Map<string, number>()
  const open: string[] = []
  const circles: string[][] = []
  const visit = (file: string): number => {
    const own = order.size
    let low = own
    order.set(file, own)
    open.push(file)
    for (const target of imports.get(file) ?? []) {
      if (!order.has(target)) low = Math.min(low, visit(target))
      else if (open.includes(target)) low = Math.min(low, order.get(target) ?? low)
    }
    if (low === own) {
      const group = open.splice(open.indexOf(file))
      if (group.length > 1 || imports.get(file)?.includes(file)) circles.push(group.sort())
    }
    return low
  }
  for (const file of imports.keys()) if (!order.has(file)) visit(file)
  return circles.sort((a, b) => ((a[0] ?? '') < (b[0] ?? '') ? -1 : 1))
}
