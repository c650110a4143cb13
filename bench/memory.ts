/**
 * What a sidecar and a gateway keep in memory: idle, after a load, and with thousands of sessions that say nothing.
 *
 *     npm run bench -- --memory [--quick] [--sessions N] [--output FILE]
 *
 * Control plane, node, sidecar and gateway are processes as in every other row of the bench. Each figure is read when nothing has
 * happened for a while. Sessions on mesh links and drivers' own sessions at the sidecar are measured on processes started anew, so that
 * neither pays for the other.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { limits } from '../src/base/limits.ts'
import { processorAndCommit } from './figures.ts'
import { openIdle } from './idle-sessions.ts'
import { runLoad } from './load-process.ts'
import { type Memory, memoryOf } from './processes.ts'
import { type MeshSystem, startMesh } from './systems/mesh.ts'
import type { BenchContext } from './systems/system.ts'

export interface MemoryPlan {
  readonly sessions: number
  /** Of silence before each figure. */
  readonly settleSeconds: number
  /** Where the figures go as JSON, if anywhere. */
  readonly output: string | undefined
}

interface MemoryRow extends Memory {
  readonly process: 'sidecar' | 'gateway worker' | 'gateway supervisor'
  readonly when: string
}

/** Measures and prints; `say` is told each figure as it comes. */
export async function reportMemory(
  context: BenchContext,
  plan: MemoryPlan,
  say: (line: string) => void,
): Promise<void> {
  const rows = await measure(context, plan, say)
  const machine = processorAndCommit()
  console.log(`${tableOf(rows)}\n\n${machine}`)
  if (plan.output !== undefined) writeFileSync(plan.output, `${JSON.stringify({ machine, rows }, null, 2)}\n`)
}

async function measure(context: BenchContext, plan: MemoryPlan, say: (line: string) => void): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = []
  const settled = async (mesh: MeshSystem, when: string): Promise<void> => {
    await sleep(plan.settleSeconds * 1000)
    for (const row of rowsOf(mesh, when)) {
      rows.push(row)
      say(cellsOf(row).join('  '))
    }
  }
  const linked = await startMesh(context, { name: 'memory of links' })
  await settled(linked, `idle, ${plan.settleSeconds} s after the start`)
  await warmUp(linked)
  await settled(linked, 'idle, after a load of 16 × 32')
  const onLinks = await openIdle({ port: linked.port, count: plan.sessions })
  await settled(linked, `${plan.sessions.toLocaleString('en')} idle sessions on mesh links`)
  refuseFewer(onLinks.open, plan.sessions)
  onLinks.close()
  await settled(linked, 'after they have closed')

  const direct = await startMesh(context, { name: 'memory of drivers' })
  await warmUp(direct)
  const driversCount = Math.min(plan.sessions, limits.connectionsPerIdentityMax)
  const drivers = await openIdle({ port: direct.sidecarPort, count: driversCount, tls: direct.credentials })
  await settled(direct, `${driversCount.toLocaleString('en')} idle drivers, TLS, at the sidecar`)
  refuseFewer(drivers.open, driversCount)
  drivers.close()
  return rows
}

async function warmUp(mesh: MeshSystem): Promise<void> {
  await runLoad({ host: '127.0.0.1', port: mesh.port, connections: 16, inFlight: 32, seconds: 5 }, [])
}

function refuseFewer(open: number, wanted: number): void {
  if (open !== wanted) throw new Error(`${open} of ${wanted} sessions are open`)
}

function rowsOf(mesh: MeshSystem, when: string): MemoryRow[] {
  const ofGateway = memoryOf([mesh.gateway.pid!]).map((memory): MemoryRow => {
    return { ...memory, when, process: memory.pid === mesh.gateway.pid ? 'gateway supervisor' : 'gateway worker' }
  })
  const ofSidecar = memoryOf([mesh.sidecar.pid!]).map((memory): MemoryRow => ({ ...memory, when, process: 'sidecar' }))
  return [...ofSidecar, ...ofGateway]
}

const titles = ['process', 'when', 'resident MB', 'proportional MB', 'own pages MB'] as const

function cellsOf(row: MemoryRow): string[] {
  const megabytes = (bytes: number | undefined): string => (bytes === undefined ? '—' : (bytes / 1e6).toFixed(0))
  const figures = [row.residentBytes, row.proportionalBytes, row.anonymousBytes].map(megabytes)
  return [row.process, row.when, ...figures]
}

/** Markdown as the formatter leaves it. */
function tableOf(rows: readonly MemoryRow[]): string {
  const lines: readonly (readonly string[])[] = [titles, ...rows.map(cellsOf)]
  const widths = titles.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const padded = lines.map((line) =>
    line.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))),
  )
  const rule = widths.map((width, column) => (column < 2 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [padded[0]!, rule, ...padded.slice(1)].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
