/**
 * Strangers at the control plane: junk at `/v1/enrol`, a thousand a second for a minute, while twenty sidecars renew certificates that live
 * 20 seconds. One that expires cannot be renewed, so that one is one too many. Printed are the renewals and how near to its end a certificate came.
 */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { type Agent, startAgent } from '../../src/agent/agent.ts'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { freePort, start, untilListening } from '../processes.ts'
import type { BenchContext } from '../systems/system.ts'
import type { JunkPlan, JunkResult } from './junk.ts'
import { type DearestPlan, wants } from './plan.ts'
import { markdown } from './table.ts'

const agentsCount = 20
const lifeSeconds = 20
const perSecond = 1_000

export async function reportStrangers(
  context: BenchContext,
  plan: DearestPlan,
  say: (line: string) => void,
): Promise<number> {
  const seconds = plan.floodSeconds
  const kinds = (['kept', 'new'] as const).filter((connections) => wants(plan, `strangers ${connections}`))
  if (kinds.length === 0) return 0
  const directory = join(context.directory, 'strangers')
  mkdirSync(directory)
  const stateDir = join(directory, 'control')
  const port = await freePort()
  const options = ['--state-dir', stateDir, '--listen', `127.0.0.1:${port}`, '--trust-domain', 'bench.local']
  const program = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts')
  const args = [program, 'control', ...options, '--svid-ttl', `${lifeSeconds}s`]
  const control = start(join(directory, 'control.log'), process.execPath, args)
  await untilListening(control, port, 'the control plane')
  const admin = new AdminClient(stateDir)
  const log = pino({ level: 'silent' })
  const agents = await Promise.all(
    Array.from({ length: agentsCount }, async (_, i) => {
      const spiffeId = `spiffe://bench.local/ringfence/sidecar/c1/dc1/n${i}`
      const { token } = await admin.makeToken({ spiffeId, role: 'sidecar', ttlMs: undefined })
      const own = { name: `n${i}`, stateDir: join(directory, `n${i}`), joinToken: token, log }
      return startAgent({ ...own, role: 'sidecar', controlUrl: `https://127.0.0.1:${port}` })
    }),
  )
  const rows: string[][] = []
  for (const connections of kinds) {
    const row = await measure(agents, { port, perSecond, seconds, connections })
    rows.push(row)
    say(row.join('  '))
  }
  await Promise.all(agents.map((agent) => agent.stop()))
  console.log(markdown(titles, rows))
  return rows.filter((row) => row.at(-1) === 'no').length
}

const titles = [
  'POSTs',
  'answers',
  'connections',
  'sent a second',
  `of ${agentsCount} certificates expired`,
  'renewals',
  'least life left, s',
  'within',
] as const

async function measure(agents: readonly Agent[], plan: JunkPlan): Promise<string[]> {
  let renewals = 0
  let leastMs = Infinity
  const expired = new Set<Agent>()
  const stops = agents.map((agent) => agent.credentials.observe(() => renewals++))
  const junk = promisify(execFile)(process.execPath, [join(import.meta.dirname, 'junk.ts'), JSON.stringify(plan)])
  let over = false
  const done = junk.finally(() => {
    over = true
  })
  done.catch(() => {})
  while (!over) {
    for (const agent of agents) {
      const leftMs = agent.credentials.current.notAfterMs - Date.now()
      leastMs = Math.min(leastMs, leftMs)
      if (leftMs <= 0) expired.add(agent)
    }
    await sleep(50)
  }
  for (const stop of stops) stop()
  const { sent, answers } = JSON.parse((await done).stdout) as JunkResult
  const said = Object.entries(answers).map(([status, count]) => `${count} × ${status}`)
  return [
    `${plan.perSecond.toLocaleString('en')} a second for ${plan.seconds} s`,
    said.join(', '),
    plan.connections === 'kept' ? 'eight' : 'new for each',
    (sent / plan.seconds).toFixed(0),
    String(expired.size),
    String(renewals),
    (leastMs / 1_000).toFixed(1),
    expired.size === 0 ? 'yes' : 'no',
  ]
}
