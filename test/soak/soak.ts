/**
 * The soak on real parts: certificates of a minute or less, issuing keys and roots that take turns, and applications that read their certificate for each
 * connection.
 *
 *   28 agents ── files ──▶ Node.js, Python ──▶ NGINX, gateway ──▶ 3 sidecars ──▶ 3 nodes, whose certificates they keep
 *                                  └────────── a sidecar ────────────┘
 *
 * Counted: rotations of each kind by the control plane's own account, requests and failures by the applications', and the sums in the tables.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Mesh } from '../../demo/parts/mesh.ts'
import { siteUrl } from '../../demo/parts/people.ts'
import type { Application } from './application.ts'
import { keepNginx, keepNodes, startAgents } from './certificates.ts'
import { type Keeping, type LoadOptions, onStage, openedOf, type StageOptions, shown } from './stage.ts'
import { type RotationKind, type Summary, summaryOf } from './summary.ts'
import { sumsOf } from './tables.ts'
import { Turns } from './turns.ts'
import { WebDoor } from './web-door.ts'

export interface SoakOptions extends LoadOptions {
  readonly minutes: number
  readonly lives: StageOptions['lives']
  /** When a root begins to take its turn, and when an issuing key does by hand; minutes. */
  readonly roots: readonly number[]
  readonly issuing: readonly number[]
}

const lookEveryMs = 5_000

export function soak(options: SoakOptions): Promise<Summary> {
  const { say } = options
  const keep = async (mesh: Mesh, names: readonly string[], java: string): Promise<Required<Keeping>> => {
    await keepNodes(mesh, java)
    const folders = await startAgents(mesh, names)
    const { caFile } = await keepNginx(mesh)
    say(`${names.length} agents, cert-sync at NGINX, and three sidecars that keep their nodes' certificates`)
    return { folders, caFile }
  }
  return onStage(
    { ...options, keep },
    async ({ mesh, caFile, start }) => {
      const applications = await start('')
      const web = new WebDoor(siteUrl(mesh.layout), caFile!)
      web.start()
      say('all are asking')
      return run(mesh, applications, web, options)
    },
    ({ faults }) => faults.length === 0,
  )
}

async function run(
  mesh: Mesh,
  applications: readonly Application[],
  web: WebDoor,
  { minutes, lives, roots, issuing, say }: SoakOptions,
): Promise<Summary> {
  const { admin } = mesh
  const turns = new Turns(admin, say)
  const over = new AbortController()
  const beganMs = Date.now()
  const openedBefore = openedOf(applications)
  const at = async (minute: number, work: () => Promise<void>): Promise<void> => {
    await sleep(minute * 60_000, undefined, { signal: over.signal })
    await work()
  }
  const faults: string[] = []
  const still: RotationKind[] = []
  if (issuing.length === 0 && lives.issuingTtl === undefined) still.push('issuing keys')
  if (roots.length === 0) still.push('roots')
  const turning = [
    ...roots.map((minute) => at(minute, () => turns.turnRoot(over.signal))),
    ...issuing.map((minute) => at(minute, () => turns.turnIssuing())),
  ].map((turn) =>
    turn.catch(
      (reason: unknown) => void (over.signal.aborted || faults.push(`a turn of an authority: ${String(reason)}`)),
    ),
  )
  const endMs = beganMs + minutes * 60_000
  for (let looks = 1; Date.now() < endMs; looks++) {
    await sleep(Math.min(lookEveryMs, endMs - Date.now()))
    await turns.look().catch((reason: unknown) => say(`the control plane: ${String(reason)}`))
    if (looks % 12 === 0) say(shown(applications, (Date.now() - beganMs) / 1_000))
    const ended = applications.find(({ running }) => !running)
    if (ended !== undefined) {
      faults.push(`${ended.name} ended: ${ended.words}`)
      break
    }
  }
  over.abort()
  await Promise.all(turning)
  const rotatedMs = Date.now()
  await Promise.all([...applications.map((application) => application.stop()), web.stop()])
  const said = applications.map((application) => application.said)
  const { issuances } = await admin.issuances(10_000)
  const renewed = issuances.filter(
    ({ issuedAtMs, reason }) => reason === 'renew' && issuedAtMs >= beganMs && issuedAtMs <= rotatedMs,
  )
  return summaryOf({
    seconds: Math.round((rotatedMs - beganMs) / 1_000),
    renewed: renewed.map(({ spiffeId }) => spiffeId),
    turns: turns.counts,
    said: new Map(applications.map(({ name, said }) => [name, said])),
    openedBefore,
    web,
    sums: await sumsOf(mesh, said),
    faults,
    still,
  })
}
