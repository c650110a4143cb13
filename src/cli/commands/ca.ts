/** `ca show`, `prepare`, `activate`, `taint` and `revoke`: the authorities of the mesh, which otherwise look after themselves; `ca-offline.ts` adds more. */
import { Argument, type Command } from 'commander'
import type { AuthoritiesAnswer } from '../../control/services/authorities.ts'
import { AdminClient } from '../admin-client.ts'
import { formatDuration, print, printable, printJson, table } from '../output.ts'
import { type AdminFlags, adminCommand, byOf } from './admin-command.ts'
import { addOffline, type CaFlags, requestOffline, tell, withBy } from './ca-offline.ts'

const ends = '\n\nEnds with 0; 64 where that cannot be now, and says why; 1 where the control plane does not answer.'

export function addCa(program: Command): void {
  const ca = program.command('ca').description('the authorities of the mesh: its root, and the issuing key that signs')
  adminCommand(ca, 'show', 'what there is: prepared, active, old, tainted, revoked')
    .addHelpText('after', '\nEnds with 0; 1 where the control plane does not answer.')
    .action(show)
  addOffline(ca)
  withKind(adminCommand(ca, 'prepare', 'make the next key; of a root everybody is told at once'))
    .option('--offline <file>', 'of issuing, where the root’s key is kept elsewhere: write a signing request')
    .addHelpText('after', `\nBy itself that is done at half of the present one’s life.${ends}`)
    .action(prepare)
  withKind(adminCommand(ca, 'activate', 'let the prepared key sign from now on'))
    .option('--force', 'also where somebody may not know the new root yet, who then refuses connections', false)
    .addHelpText(
      'after',
      `
By itself that is done at 5/6 of the present one's life. A root needs one life of certificates (--svid-ttl) since it was prepared, every proxy that is
connected, and no join token of before that is still to be used.${ends}`,
    )
    .action(activate)
  withBy(
    adminCommand(ca, 'taint', 'an old key is no longer good: who has a certificate of it gets another within a minute'),
  )
    .argument('<id>', 'of the authority, or its first digits')
    .addHelpText(
      'after',
      `\nWhat was built on certificates of it ends then, each connection with nothing in flight.${ends}`,
    )
    .action(taint)
  withBy(adminCommand(ca, 'revoke', 'a tainted key is trusted no more; one that is only prepared is dropped'))
    .argument('<id>', 'of the authority, or its first digits')
    .option('--reason <text>', 'why; it is kept', '')
    .option('--force', 'also where those who have certificates of it have not had their minute to renew', false)
    .addHelpText(
      'after',
      `\nCertificates of it are refused in the whole mesh within a second, and connections closed within two.${ends}`,
    )
    .action(revoke)
}

function withKind(command: Command): Command {
  return withBy(command).addArgument(new Argument('<kind>', 'which key').choices(['root', 'issuing']))
}

async function show({ stateDir, output }: AdminFlags): Promise<void> {
  const answer = await new AdminClient(stateDir).authorities()
  if (output === 'json') printJson(answer)
  else print(shownLines(answer).join('\n'))
}

function shownLines(answer: AuthoritiesAnswer): string[] {
  const { authorities, nowMs, connected, behind, rootKeyIsHere, awaitsSigned } = answer
  const rows = authorities.map(({ id, kind, state, signerId, notAfterMs, ...times }) => {
    const sinceMs = times.revokedMs ?? times.taintedMs ?? times.activatedMs ?? times.preparedMs
    const since = formatDuration(Math.max(0, nowMs - sinceMs))
    const left = notAfterMs > nowMs ? formatDuration(notAfterMs - nowMs) : 'over'
    return [id.slice(0, 12), kind, state, since, left, signerId?.slice(0, 12) ?? '–']
  })
  const lines = table(['ID', 'KEY', 'STATE', 'SINCE', 'LEFT', 'SIGNED BY'], rows).split('\n')
  lines.push(`${connected - behind.length} of ${connected} proxies that are connected trust the roots of now`)
  if (behind.length > 0) lines.push(`not yet: ${behind.join(', ')}`)
  if (!rootKeyIsHere) lines.push('the key of the active root is not on this host')
  if (awaitsSigned)
    lines.push('the next issuing key is to be signed there now: ringfence ca prepare issuing --offline <file>')
  return lines.map(printable)
}

async function prepare(kind: string, flags: CaFlags & { offline?: string }): Promise<void> {
  if (flags.offline !== undefined) return requestOffline(kind, flags.offline, flags)
  tell(flags, 'is prepared', await new AdminClient(flags.stateDir).prepareAuthority({ kind, by: byOf(flags) }))
}

async function activate(kind: string, flags: CaFlags & { force: boolean }): Promise<void> {
  const { stateDir, force } = flags
  tell(flags, 'signs from now on', await new AdminClient(stateDir).activateAuthority({ kind, by: byOf(flags), force }))
}

async function taint(id: string, flags: CaFlags): Promise<void> {
  const words = 'is tainted: certificates of it are renewed within a minute'
  tell(flags, words, await new AdminClient(flags.stateDir).taintAuthority({ id, by: byOf(flags) }))
}

async function revoke(id: string, flags: CaFlags & { force: boolean; reason: string }): Promise<void> {
  const { stateDir, force, reason } = flags
  const answer = await new AdminClient(stateDir).revokeAuthority({ id, by: byOf(flags), force, reason })
  const { revocations } = answer
  const numbers = revocations.length === 0 ? '' : ` (revocation ${revocations.join(', ')})`
  tell(flags, `${answer.authority.state === 'prepared' ? 'is dropped' : 'is trusted no more'}${numbers}`, answer)
}
