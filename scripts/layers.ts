/**
 * The layers of `src/`, top to bottom; ARCHITECTURE.md shows the same table to people. A folder may import itself and what
 * stands below it, never what stands above; and no role imports another.
 */
export const layers = [
  'cli',
  'control',
  'gateway',
  'sidecar',
  'people',
  'archive',
  'session',
  'link',
  'agent',
  'audit',
  'mesh',
  'policy',
  'identity',
  'cql',
  'telemetry',
  'base',
] as const

/** Roles meet on the wire, by the messages of `mesh`: none imports another. */
const roles: ReadonlySet<string> = new Set(['control', 'gateway', 'sidecar'])
/** Nor does the control plane import the other end of its own wire. */
const otherEnds: ReadonlySet<string> = new Set(['agent', 'link'])

/** These decide and parse: they are handed time, files and sockets, and open none. */
export const pureLayers: ReadonlySet<string> = new Set(['policy', 'identity', 'cql', 'base'])

const closedToPure = new Set(
  ['net', 'tls', 'http', 'https', 'http2', 'fs', 'fs/promises', 'dgram', 'child_process', 'dns', 'cluster'].flatMap(
    (name) => [name, `node:${name}`],
  ),
)

const importPattern = /(?:^|[\s;}])(?:import|from)\s*\(?\s*(['"])([^'"\n]+)\1/g

/** Paths from the repository's root of the files that one file imports, types too; packages are left out. */
export function importsOf(file: string, source: string): string[] {
  return targetsOf(source)
    .filter((target) => target.startsWith('.'))
    .map((target) => pathOf(file, target))
}

/**
 * What is wrong with the imports of one source file.
 * @param file path from the repository's root, such as `src/cql/segment.ts`
 * @returns a sentence for each import that points up, out of `src`, or to what a pure layer may not open
 */
export function layerProblems(file: string, source: string): string[] {
  const folders = file.split('/')
  const layer = folders[1] ?? ''
  const rank = rankOf(layer)
  if (folders[0] !== 'src' || rank === -1) return [`${file}: "${layer}" is not a layer of scripts/layers.ts`]
  // A test, or a fixture of one, is no part of what ships: it opens files and sockets, and may show what a layer above makes of this one.
  const isTest = /\.(test|fuzz|fixture)\.ts$/.test(file)
  const problems: string[] = []
  for (const target of targetsOf(source)) {
    if (!target.startsWith('.')) {
      if (pureLayers.has(layer) && !isTest && closedToPure.has(target))
        problems.push(`${file}: ${layer} may not import ${target}`)
      continue
    }
    const path = pathOf(file, target)
    const [top, targetLayer = ''] = path.split('/')
    if (top !== 'src') {
      // JSON of the repository itself, such as package.json for the version, is data.
      if (!path.endsWith('.json')) problems.push(`${file}: imports ${path}, which is outside src`)
      continue
    }
    if (rankOf(targetLayer) === -1) problems.push(`${file}: imports ${path}, which is in no layer`)
    else if (!isTest && rankOf(targetLayer) < rank)
      problems.push(`${file}: ${layer} imports ${targetLayer}, which stands above it`)
    else if (!isTest && areStrangers(layer, targetLayer))
      problems.push(`${file}: ${layer} imports ${targetLayer}; what both need stands in mesh`)
  }
  return problems
}

function targetsOf(source: string): string[] {
  return Array.from(source.matchAll(importPattern), ([, , target = '']) => target)
}

function pathOf(file: string, target: string): string {
  return new URL(target, `file:///${file}`).pathname.slice(1)
}

function areStrangers(layer: string, other: string): boolean {
  if (layer === other) return false
  return (roles.has(layer) && roles.has(other)) || (layer === 'control' && otherEnds.has(other))
}

function rankOf(layer: string): number {
  return (layers as readonly string[]).indexOf(layer)
}
