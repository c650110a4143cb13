/** The systems by their names on the command line. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { RingfenceError } from '../../src/base/errors.ts'
import type { UnpackedCommit } from '../against.ts'
import { findEnvoy } from '../envoy-binary.ts'
import type { Options } from '../options.ts'
import { limitedPolicyOf } from '../policy.ts'
import { cqlProxy } from './cql-proxy.ts'
import { direct } from './direct.ts'
import { envoy } from './envoy.ts'
import { haproxy } from './haproxy.ts'
import { benchWorkloads, mesh } from './mesh.ts'
import { nginx } from './nginx.ts'
import { shotover, shotoverPassing, shotoverRouting } from './shotover.ts'
import { type BenchContext, type StartSystem, type System, slugOf } from './system.ts'

export const meshRow = 'mesh'
export const twoWorkersRow = 'mesh, 2 workers'
export const fewPoliciesRow = 'mesh, 10 policies'
export const manyPoliciesRow = 'mesh, 1,000 policies'
export const limitsRow = 'mesh, 3 rate limits'

/** Starts what `--systems` names, and the mesh of each of `trees`; `say` hears of what is left out, and why. Rejects for a name that is none. */
export async function startSystems(
  options: Options,
  trees: readonly UnpackedCommit[],
  context: BenchContext,
  say: (line: string) => void,
): Promise<System[]> {
  const { profileDirectory } = options
  const profile = profileDirectory === undefined ? {} : { profileDirectory }
  const ifInstalled = (program: string, question: string, system: StartSystem): StartSystem | undefined => {
    if (spawnSync(program, [question]).status === 0) return system
    say(`no ${program} row: install Debian's package "${program}"`)
    return undefined
  }
  const ifGiven = (name: string, path: string | undefined, system: (path: string) => StartSystem): StartSystem => {
    if (path === undefined) throw new RingfenceError('USAGE', `where is ${name}? --${name} PATH`)
    return system(path)
  }
  const starters = new Map<string, () => StartSystem | undefined>([
    ['direct', () => direct],
    ['nginx', () => ifInstalled('nginx', '-v', nginx)],
    ['haproxy', () => ifInstalled('haproxy', '-v', haproxy)],
    [
      'envoy',
      () => {
        const found = findEnvoy(options.stateDir, say)
        if ('binary' in found) return envoy(found.binary)
        say(`no Envoy row: ${found.missing}`)
        return undefined
      },
    ],
    ['cql-proxy', () => ifGiven('cql-proxy', options.cqlProxy, cqlProxy)],
    ['shotover', () => ifGiven('shotover', options.shotover, (path) => shotover(path, shotoverRouting))],
    ['shotover-passing', () => ifGiven('shotover', options.shotover, (path) => shotover(path, shotoverPassing))],
    ['mesh', () => mesh({ name: meshRow, ...profile })],
    ['mesh-w2', () => mesh({ name: twoWorkersRow, workers: 2 })],
    ['mesh-10', () => mesh({ name: fewPoliciesRow, rulesCount: 10 })],
    ['mesh-1000', () => mesh({ name: manyPoliciesRow, rulesCount: 1000 })],
    ['mesh-limits', () => mesh({ name: limitsRow, policy: limitedPolicyOf(50, benchWorkloads, 'bench') })],
  ])
  const systems: System[] = []
  for (const name of new Set(options.systems)) {
    const starter = starters.get(name)
    if (starter === undefined)
      throw new RingfenceError('USAGE', `no system "${name}"; there are ${[...starters.keys()].join(', ')}`)
    const startSystem = starter()
    if (startSystem !== undefined) systems.push(await startSystem(context))
  }
  for (const tree of trees) {
    // Beside this tree's, not among them.
    const own = profileDirectory === undefined ? {} : { profileDirectory: join(profileDirectory, slugOf(tree.name)) }
    systems.push(await mesh({ ...tree, ...own })(context))
  }
  return systems
}
