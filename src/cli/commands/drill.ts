/** `drill breach`: how long somebody who is thrown out is still served, tried at every door. */
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { isReserved, parseSpiffeId, type SpiffeId, trustDomainOf, userIdOf } from '../../identity/spiffe.ts'
import { AdminClient } from '../admin-client.ts'
import { type Door, doorsOf } from '../check/doors.ts'
import { type BreachOutcome, boundsMs, type DoorOutcome, drillBreach } from '../drill/breach.ts'
import { reachedLines } from '../identity/reached.ts'
import { collect, formatHostPort, type HostPort, parseHostPort } from '../options.ts'
import { type Cell, exitCode, paint, print, printable, printJson, table } from '../output.ts'
import { type AdminFlags, adminCommand, byOf } from './admin-command.ts'

interface BreachFlags extends AdminFlags {
  readonly as: string
  readonly door?: HostPort[]
  readonly reason: string
  readonly by?: string
  readonly dryRun: boolean
}

export function addDrill(program: Command): void {
  const drill = program.command('drill').description('try what is to hold on a bad day')
  adminCommand(
    drill,
    'breach',
    'revoke one certificate that is made for it, and time every door until its holder is out',
  )
    .requiredOption('--as <identity>', 'whose certificate is made: a SPIFFE id, or a person such as corp/alice')
    .option(
      '--door <address:port>',
      'try this address instead of those that gateways and sidecars report; may be repeated',
      collect(parseHostPort),
    )
    .option('--reason <text>', 'stands in the list of revocations', 'drill')
    .option('--by <name>', 'who does it; the user who runs this by default')
    .option('--dry-run', 'only say which doors would be tried', false)
    .addHelpText(
      'after',
      `
Two certificates of that identity are made, which live three minutes and never leave this process. One is revoked by its serial number, so
that nobody who works is cut off; the other goes on beside it and is not to notice. Both ask Cassandra's version some fifty times a second.
Shown are the seconds from the command to the first request that is refused and to the closed socket, what a new connection comes to, and
after how long the same certificate is let in again when the revocation is over. Ctrl-C ends the revocation first; one that cannot be ended
is over by itself within two minutes.

Ends with 0 where every door was tried, refused within ${boundsMs.refused / 1000} s and closed within ${boundsMs.closed / 1000} s, and where no neighbour noticed; 1 where one did not, where it
was cancelled, or the control plane does not answer; 64 for an identity that can be nobody's. docs/breach.md says what is not tried.`,
    )
    .action(breach)
}

async function breach(flags: BreachFlags): Promise<void> {
  const { stateDir, output, reason, dryRun } = flags
  const admin = new AdminClient(stateDir)
  const status = await admin.status()
  const identity = identityOf(flags.as, status.control.trustDomain)
  const doors = flags.door?.map((target): Door => ({ target, kind: 'door' })) ?? doorsOf(status)
  if (doors.length === 0) throw noDoors()
  if (dryRun) {
    if (output === 'json')
      printJson({ identity, doors: doors.map(({ target, kind }) => ({ door: formatHostPort(target), kind })) })
    else print(plannedLines(identity, doors).join('\n'))
    return
  }
  const by = byOf(flags)
  const { meant, nearest } = await admin.revoke({ kind: 'id', value: identity, reason, by, dryRun: true })
  if (meant?.count === 0)
    say(`nobody of that name is known here${nearest === undefined ? '' : `; the nearest name is ${nearest}`}`)
  const cancel = cancelOnSignal()
  const outcome = await drillBreach(admin, {
    identity,
    doors,
    status,
    by,
    reason,
    say,
    signal: cancel.signal,
  })
  const isGood = outcome.faults.length === 0 && outcome.doors.every(({ faults }) => faults.length === 0)
  process.exitCode = isGood ? exitCode.ok : exitCode.failed
  if (output === 'json') printJson({ ...outcome, good: isGood })
  else print(outcomeText(outcome))
}

/** Progress is no result. */
function say(line: string): void {
  process.stderr.write(`${printable(line)}\n`)
}

/** The first signal ends the drill in order, a second one at once. */
function cancelOnSignal(): AbortController {
  const cancel = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (cancel.signal.aborted) process.exit(exitCode.failed)
      say('cancelled: the revocation is ended first')
      cancel.abort()
    })
  }
  return cancel
}

/** @throws RingfenceError USAGE */
function identityOf(text: string, trustDomain: string): SpiffeId {
  const usage = (message: string): RingfenceError =>
    new RingfenceError('USAGE', message, {
      hint: `--as spiffe://${trustDomain}/svc/orders, or a person: --as corp/alice`,
    })
  let id: SpiffeId
  const slash = text.indexOf('/')
  try {
    id =
      text.startsWith('spiffe://') || slash <= 0
        ? parseSpiffeId(text)
        : userIdOf(trustDomain, text.slice(0, slash), text.slice(slash + 1))
  } catch (reason) {
    throw usage(reason instanceof Error ? reason.message : String(reason))
  }
  if (trustDomainOf(id) !== trustDomain) throw usage(`${id} is of another trust domain than this mesh`)
  if (isReserved(id)) throw usage(`${id} is a part of the mesh and no client`)
  return id
}

function noDoors(): RingfenceError {
  return new RingfenceError('UNAVAILABLE', 'no gateway or sidecar says where clients reach it', {
    hint: '--door <address:port>, or "advertise" in the gateway’s configuration',
  })
}

function plannedLines(identity: SpiffeId, doors: readonly Door[]): string[] {
  const places = doors.map(({ target, kind }) => `  ${formatHostPort(target)} (${kind})`)
  return [`would revoke a certificate of ${identity} that is made for it, and try`, ...places]
}

/** The table, what is not as it should be, and how far the revocation came. */
function outcomeText({ identity, certificate, revocation, inForce, doors, faults }: BreachOutcome): string {
  const heads = ['DOOR', 'KIND', 'PROXY', 'REFUSED', 'CLOSED', 'COMES AGAIN', 'NEIGHBOUR', 'LET IN AGAIN']
  const bad = [...doors.flatMap((door) => door.faults.map((fault) => `${door.door}: ${fault}`)), ...faults]
  return [
    table(heads, doors.map(rowOf), [3, 4, 7]),
    '',
    ...reachedLines(inForce),
    `revocation ${revocation} of certificate ${certificate} of ${identity} is over`,
    ...bad.map((line) => paint(printable(`× ${line}`), 'red')),
  ].join('\n')
}

function rowOf({ door, kind, proxy, ...seen }: DoorOutcome): (Cell | string)[] {
  const { refusedMs, closedMs, comesAgain = '–', neighbourAnswered, letInMs } = seen
  return [
    door,
    kind,
    proxy ?? '–',
    timed(refusedMs, boundsMs.refused),
    timed(closedMs, boundsMs.closed),
    comesAgain === 'let in' ? { text: comesAgain, colour: 'red' } : comesAgain,
    proxy === undefined ? '–' : `${neighbourAnswered} answered`,
    timed(letInMs, Number.POSITIVE_INFINITY),
  ]
}

function timed(ms: number | undefined, msMax: number): Cell {
  if (ms === undefined) return { text: '–' }
  return { text: `${(ms / 1000).toFixed(3)} s`, colour: ms <= msMax ? 'green' : 'red' }
}
