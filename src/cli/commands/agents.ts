/** `agent list`, `suspend`, `resume` and `delete`: who enrolled at the control plane, and what becomes of it. */
import type { Command } from 'commander'
import type { ChangedAgent, ShownAgent } from '../../control/services/agents.ts'
import type { AdminClient } from '../admin-client.ts'
import { countOption, durationOption } from '../options.ts'
import { type Cell, exitCode, formatDuration, print, printable, printJson, table } from '../output.ts'
import { type AdminFlags, adminCommand, byOf } from './admin-command.ts'

const needed = 'its name, or its SPIFFE id'
const byWords = 'who does it; the user who runs this by default'

export function addAgents(agent: Command): void {
  adminCommand(agent, 'list', 'who enrolled: how and when, renewed when, until when its certificate is good')
    .addOption(countOption('--limit <count>', 'how many at most', 500))
    .addHelpText('after', '\nEnds with 0; 1 where the control plane does not answer.')
    .action(list)
  adminCommand(agent, 'suspend', 'throw one out until it is resumed: at once, in the whole mesh')
    .argument('<agent>', needed)
    .requiredOption('--reason <text>', 'why; it is kept')
    .addOption(durationOption('--until <duration>', 'it ends by itself after so long, such as 2h; never by default'))
    .option('--by <name>', byWords)
    .addHelpText(
      'after',
      `
It is a revocation of exactly that SPIFFE id; of an id /user/<provider>/<subject> it is one of that person, however she comes. Requests are refused within a second, connections are closed within two, renewals are refused.
Ends with 0 when it is in force at every proxy that is connected; 1 when one has not said so, or the control plane does not answer.`,
    )
    .action(suspend)
  adminCommand(agent, 'resume', 'let in again one that is suspended')
    .argument('<agent>', needed)
    .option('--reason <text>', 'why; it is kept', '')
    .option('--by <name>', byWords)
    .addHelpText('after', '\nEnds with 0; 64 where it is not suspended; 1 where the control plane does not answer.')
    .action(resume)
  adminCommand(agent, 'delete', 'forget one: its certificates count no more, and to come back it enrols again')
    .argument('<agent>', needed)
    .option('--by <name>', byWords)
    .addHelpText('after', '\nEnds with 0; 64 where there is none; 1 where the control plane does not answer.')
    .action(remove)
}

async function clientOf(stateDir: string): Promise<AdminClient> {
  // Not loaded by the agent itself.
  const { AdminClient: Client } = await import('../admin-client.ts')
  return new Client(stateDir)
}

async function list({ stateDir, output, limit }: AdminFlags & { limit: number }): Promise<void> {
  const answer = await (await clientOf(stateDir)).agents(limit)
  const { agents, count, nowMs } = answer
  if (output === 'json') printJson(answer)
  else if (agents.length === 0) print('nobody has enrolled yet')
  else {
    print(agentsTable(agents, nowMs))
    if (count > agents.length) print(`… and ${count - agents.length} more (--limit)`)
  }
}

export function agentsTable(agents: readonly ShownAgent[], nowMs: number): string {
  const ago = (ms: number | undefined): string => (ms === undefined ? '-' : formatDuration(Math.max(0, nowMs - ms)))
  const rows = agents.map((agent): (Cell | string)[] => [
    agent.name,
    agent.role,
    stateOf(agent),
    ago(agent.enrolledAtMs),
    ago(agent.renewedAtMs),
    agent.notAfterMs === undefined ? '-' : formatDuration(agent.notAfterMs - nowMs),
    agent.attestedBy,
    agent.spiffeId,
  ])
  const heads = ['NAME', 'ROLE', 'STATE', 'ENROLLED', 'RENEWED', 'CERTIFICATE', 'BY', 'SPIFFE ID']
  return table(heads, rows)
}

function stateOf({ state, revocation }: ShownAgent): Cell {
  if (state === 'active') return { text: state, colour: 'green' }
  if (state === 'ended') return { text: state, colour: 'yellow' }
  return { text: revocation === undefined ? state : `${state} (${revocation})`, colour: 'red' }
}

interface SuspendFlags extends AdminFlags {
  readonly reason: string
  readonly until?: number
  readonly by?: string
}

async function suspend(agent: string, flags: SuspendFlags): Promise<void> {
  const { stateDir, output, reason, until: lifeMs } = flags
  const client = await clientOf(stateDir)
  const { inForceSince, reachedSoFar } = await import('../identity/reached.ts')
  const beganMs = performance.now()
  const answer = await client.suspendAgent({ agent, reason, by: byOf(flags), lifeMs })
  const reached = await inForceSince(client, beganMs, answer.inForce)
  if (reached.have < reached.connected) process.exitCode = exitCode.failed
  if (output === 'json') printJson({ ...answer, inForce: reached })
  else
    print(
      [`${answer.agent.spiffeId} is suspended (revocation ${answer.revocation.id})`, ...reachedSoFar(reached)]
        .map(printable)
        .join('\n'),
    )
}

async function resume(agent: string, flags: AdminFlags & { reason: string; by?: string }): Promise<void> {
  const { stateDir, output, reason } = flags
  const answer = await (await clientOf(stateDir)).resumeAgent({ agent, reason, by: byOf(flags) })
  if (output === 'json') printJson(answer)
  else print(printable(resumedText(answer)))
}

export function resumedText({ agent, revocation }: ChangedAgent): string {
  const { spiffeId, state, revocation: other } = agent
  if (other !== undefined) {
    const still = `${spiffeId} is suspended no more (revocation ${revocation.id} is over), and is still thrown out`
    return `${still} by revocation ${other}: ringfence identity restore ${other}`
  }
  const over = `${spiffeId} may come in again (revocation ${revocation.id} is over)`
  return state === 'ended' ? `${over}; its certificate has ended, so it enrols again` : over
}

function spent(joinTokens: number): string {
  return joinTokens === 0 ? '' : ` (of those that there were, ${joinTokens} are void)`
}

async function remove(agent: string, flags: AdminFlags & { by?: string }): Promise<void> {
  const { stateDir, output } = flags
  const answer = await (await clientOf(stateDir)).deleteAgent({ agent, by: byOf(flags) })
  const { spiffeId, certificates, joinTokens = 0, revocation, inForce } = answer
  if (output === 'json') return printJson(answer)
  print(
    printable(
      `${spiffeId} is deleted, and ${certificates} of its certificates count no more; to come back it needs a new join token${spent(joinTokens)}`,
    ),
  )
  if (revocation !== undefined) print(`it stays thrown out: ringfence identity restore ${revocation}, before it enrols`)
  if (inForce !== undefined && inForce.missing.length > 0) print(printable(`not yet at: ${inForce.missing.join(', ')}`))
}
