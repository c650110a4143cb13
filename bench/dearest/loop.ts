/**
 * Time on the event loop: one client sends the dearest inputs to a sidecar, another asks small questions all the while. Printed are the
 * sidecar's CPU, how long its loop stood at most, and how long the neighbour waited at most.
 *
 * Each input is measured some times and the least is shown, for whatever else the machine does makes a figure larger and never smaller.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds } from '../processes.ts'
import { type MeshSystem, startMesh } from '../systems/mesh.ts'
import type { BenchContext } from '../systems/system.ts'
import { DearestClient, query } from './client.ts'
import { dearInputs } from './inputs.ts'
import { type DearestPlan, wants } from './plan.ts'
import { dearestPolicy, neighbour, subjectOf, type Verdict, verdicts } from './policy.ts'
import type { Probed } from './probe.ts'
import { markdown } from './table.ts'

/** Of the loop for one client's work in a turn, and what a sleeping core and a timer of a millisecond add to it. */
const loopMsMax = 10
const slackMs = 5

interface Row {
  readonly input: string
  readonly verdict: string
  readonly answer: string
  readonly cpuMs: number
  readonly loopMs: number
  /** Of the loop's thread in one turn. */
  readonly turnCpuMs: number
  readonly neighbourMs: number
}

const largePolicy = 'a policy of 4,000 rules put in force'
const wideKeyspace = 'a keyspace of 2,000 tables read'

export async function reportLoop(
  context: BenchContext,
  plan: DearestPlan,
  say: (line: string) => void,
): Promise<number> {
  const { runs } = plan
  const inputs = dearInputs.filter(({ name }) => wants(plan, name))
  const others = [largePolicy, wideKeyspace].filter((name) => wants(plan, name))
  if (inputs.length + others.length === 0) return 0
  const probe = join(context.directory, 'probe')
  const mesh = await startMesh(context, {
    name: 'dearest',
    policy: dearestPolicy(),
    sidecarEnv: { NODE_OPTIONS: nodeOptions(plan), DEAREST_PROBE: probe },
  })
  const measuring = new Measuring(mesh, probe)
  const rows: Row[] = []
  const clients = new Map<Verdict, DearestClient>()
  const open = async (verdict: Verdict): Promise<DearestClient> => {
    const client = await DearestClient.open(mesh.sidecarPort, mesh.enrol(subjectOf(verdict)))
    clients.set(verdict, client)
    return client
  }
  await measuring.start()
  const show = (row: Row): void => {
    rows.push(row)
    say(cellsOf(row).join('  '))
  }
  show(await measuring.least('nothing', '', runs, async () => 'nothing'))
  for (const input of inputs) {
    for (const verdict of verdicts) {
      const requests = input.requests()
      const ask = async (): Promise<string> => said(await clients.get(verdict)!.ask(requests))
      if (!clients.has(verdict)) await open(verdict)
      try {
        show(await measuring.least(input.name, verdict, runs, ask))
      } catch (reason) {
        say(`${input.name}  ${verdict}  ${String(reason)}`)
        rows.push({ input: input.name, verdict, answer: 'closed', cpuMs: 0, loopMs: 0, turnCpuMs: 0, neighbourMs: 0 })
        await open(verdict)
      }
    }
  }
  if (others.includes(largePolicy)) {
    const revisions = Array.from({ length: runs }, (_, at) => dearestPolicy(4_000 + at))
    show(
      await measuring.least(largePolicy, '', runs, async () => {
        await mesh.applyPolicy(revisions.pop()!)
        await sleep(8_000)
        return 'applied'
      }),
    )
  }
  if (others.includes(wideKeyspace)) {
    const client = clients.get('permitted') ?? (await open('permitted'))
    show(
      await measuring.least(wideKeyspace, '', runs, async () => {
        await client.ask([query('CREATE KEYSPACE bench WITH wide = 2000')])
        await sleep(4_000)
        return 'read'
      }),
    )
  }
  measuring.stop()
  for (const client of clients.values()) client.close()
  console.log(markdown(titles, rows.map(cellsOf)))
  return rows.filter((row) => !isWithin(row)).length
}

function nodeOptions({ profileDirectory }: DearestPlan): string {
  const probing = `--import=${join(import.meta.dirname, 'probe.ts')}`
  return profileDirectory === undefined
    ? probing
    : `${probing} --cpu-prof --cpu-prof-interval=250 --cpu-prof-dir=${profileDirectory}`
}

function said(opcodes: readonly number[]): string {
  const errors = opcodes.filter((opcode) => opcode === 0).length
  return errors === 0 ? 'answered' : errors === opcodes.length ? 'refused' : `${errors} refused`
}

const titles = [
  'input',
  'verdict',
  'answer',
  'CPU ms',
  'loop ms',
  'of it CPU ms',
  'neighbour ms',
  `within ${loopMsMax} ms`,
] as const

function isWithin({ answer, loopMs }: Row): boolean {
  return answer !== 'closed' && loopMs <= loopMsMax + slackMs
}

function cellsOf(row: Row): string[] {
  return [
    row.input,
    row.verdict,
    row.answer,
    row.cpuMs.toFixed(0),
    row.loopMs.toFixed(1),
    row.turnCpuMs.toFixed(1),
    row.neighbourMs.toFixed(1),
    isWithin(row) ? 'yes' : 'no',
  ]
}

const neighbourPauseMs = 2
const quietMs = 300

/** The sidecar's clocks, and the neighbour. */
class Measuring {
  readonly #mesh: MeshSystem
  readonly #probe: string
  #neighbour: DearestClient | undefined
  #waitedMs = 0
  #stopped = false

  constructor(mesh: MeshSystem, probe: string) {
    this.#mesh = mesh
    this.#probe = probe
  }

  async start(): Promise<void> {
    this.#neighbour = await DearestClient.open(this.#mesh.sidecarPort, this.#mesh.enrol(neighbour))
    void this.#ask(this.#neighbour)
    // What has just started compiles its code yet.
    await sleep(2_000)
  }

  stop(): void {
    this.#stopped = true
    this.#neighbour?.close()
  }

  /** Of each figure the least of some runs. */
  async least(input: string, verdict: string, runs: number, run: () => Promise<string>): Promise<Row> {
    const { min } = Math
    let row: Row | undefined
    for (let done = 0; done < runs; done++) {
      await this.#probed()
      this.#waitedMs = 0
      const before = cpuSeconds([this.#mesh.sidecar.pid!])
      const answer = await run()
      await sleep(quietMs)
      const cpuMs = (cpuSeconds([this.#mesh.sidecar.pid!]) - before) * 1000
      const { loopMs, cpuMs: turnCpuMs } = await this.#probed()
      row = {
        input,
        verdict,
        answer,
        cpuMs: min(row?.cpuMs ?? Infinity, cpuMs),
        loopMs: min(row?.loopMs ?? Infinity, loopMs),
        turnCpuMs: min(row?.turnCpuMs ?? Infinity, turnCpuMs),
        neighbourMs: min(row?.neighbourMs ?? Infinity, this.#waitedMs),
      }
    }
    return row!
  }

  /** Since it was last asked. */
  async #probed(): Promise<Probed> {
    rmSync(this.#probe, { force: true })
    process.kill(this.#mesh.sidecar.pid!, 'SIGUSR2')
    for (let waitedMs = 0; waitedMs < 60_000; waitedMs += 20) {
      await sleep(20)
      try {
        return JSON.parse(readFileSync(this.#probe, 'utf8')) as Probed
      } catch {
        // Not written yet.
      }
    }
    throw new Error('the sidecar does not say how long its loop stood')
  }

  async #ask(client: DearestClient): Promise<void> {
    const small = [query("SELECT v FROM bench.rows WHERE k = 'small'")]
    while (!this.#stopped) {
      const asked = performance.now()
      await client.ask(small)
      this.#waitedMs = Math.max(this.#waitedMs, performance.now() - asked)
      await sleep(neighbourPauseMs)
    }
  }
}
