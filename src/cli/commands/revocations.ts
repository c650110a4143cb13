/** `identity revoke`, `restore` and `revocations`: who is thrown out, at once and in the whole mesh. */
import { hash, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { sha256Hex } from '../../base/digest.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { RevokedAnswer, RevokeOrder, ShownRevocation } from '../../control/services/revocations.ts'
import { isPresigned, knownBy } from '../../identity/aws/presigned.ts'
import { looksLikeToken, readToken, shortText } from '../../identity/jwt/verify.ts'
import { isSecret, secretGiven } from '../../identity/revoked/revocation.ts'
import { txnTokenType } from '../../identity/txn/token.ts'
import { AdminClient } from '../admin-client.ts'
import { inForceSince, type Reached, reachedSoFar } from '../identity/reached.ts'
import { countOption, durationOption, readInput } from '../options.ts'
import { exitCode, formatDuration, print, printable, printJson, table } from '../output.ts'
import { type AdminFlags, adminCommand, byOf } from './admin-command.ts'

const rowsShown = 50

interface WhoFlags {
  readonly certificate?: string
  readonly key?: string
  readonly token?: string
  readonly issuerKey?: string
  readonly proxy?: string
  readonly provider?: string
  readonly by?: string
}

type Revoked = Pick<RevokeOrder, 'kind' | 'value' | 'provider'>

export function addRevocations(identity: Command): void {
  withWho(adminCommand(identity, 'revoke', 'throw somebody or something out, in the whole mesh, within a second'))
    .requiredOption('--reason <text>', 'why; it is kept')
    .addOption(durationOption('--until <duration>', 'it ends by itself after so long, such as 2h; never by default'))
    .option('--dry-run', 'only say whom it would mean', false)
    .addHelpText(
      'after',
      `
The next request is refused within a second (rule revoked), connections are closed within two, renewals and exchanges are refused.
A pattern has * for one whole segment; at its end it means any deeper path. Gateways and sidecars are meant by a pattern only where
that writes /ringfence/ itself. A person is meant alone, behind a workload, and where others ask on behalf of her.

Ends with 0 when it is in force at every proxy that is connected; 1 when one has not said so, or the control plane does not answer;
64 for what can be nobody's. docs/breach.md has the first ten minutes.`,
    )
    .action(revoke)
  withWho(adminCommand(identity, 'restore', 'let in again whom a revocation threw out'))
    .option('--reason <text>', 'why; it is kept', '')
    .addHelpText(
      'after',
      '\nBy the number of the revocation, or by what was revoked.\n\nEnds with 0; 64 where it is not revoked; 1 where the control plane does not answer.',
    )
    .action(restore)
  adminCommand(identity, 'revocations', 'who is thrown out, by whom and why; the newest first')
    .option('--all', 'those that have ended, too', false)
    .addOption(countOption('--limit <count>', 'how many at most', 500))
    .addHelpText('after', '\nEnds with 0; 1 where the control plane does not answer.')
    .action(list)
}

function withWho(command: Command): Command {
  return command
    .argument('[who]', 'a SPIFFE id or a pattern of them, a person such as corp/alice; for restore a number, too')
    .option('--certificate <serial>', 'one certificate: its serial number, or its PEM file')
    .option(
      '--key <sha256>',
      'a public key: the SHA-256 of its SubjectPublicKeyInfo, or the PEM file of a certificate of it',
    )
    .option(
      '--token <id>',
      'a token: its id ("jti", or "txn" of a transaction token), or its SHA-256; of a whole one that is made here',
    )
    .option('--provider <name>', 'of the token: the IdentityProvider; any by default')
    .option('--issuer-key <provider/kid>', 'all that this key of an IdentityProvider signed')
    .option('--proxy <name>', 'a gateway or sidecar, by its name')
    .option('--by <name>', 'who does it; the user who runs this by default')
}

interface RevokeFlags extends AdminFlags, WhoFlags {
  readonly reason: string
  readonly until?: number
  readonly dryRun: boolean
}

async function revoke(who: string | undefined, flags: RevokeFlags): Promise<void> {
  const { stateDir, output, reason, until: lifeMs, dryRun } = flags
  const client = new AdminClient(stateDir)
  const beganMs = performance.now()
  const answer = await client.revoke({ ...revokedOf(who, flags), reason, by: byOf(flags), lifeMs, dryRun })
  const reached = dryRun ? undefined : await inForceSince(client, beganMs, answer.inForce)
  if (reached !== undefined && reached.have < reached.connected) process.exitCode = exitCode.failed
  if (output === 'json') printJson({ ...answer, inForce: reached })
  else print(revokedLines(answer, reached, dryRun).join('\n'))
}

function revokedLines(answer: RevokedAnswer, reached: Reached | undefined, isDry: boolean): string[] {
  const { revocation, meant, nearest, keysRotated } = answer
  const lines = [isDry ? `would revoke ${whatOf(revocation)}` : `revocation ${revocation.id}: ${whatOf(revocation)}`]
  if (meant !== undefined) {
    const more = meant.count > meant.names.length ? `, … (${meant.count} in all)` : ''
    if (meant.count > 0) lines.push(`meant of those that are known: ${meant.names.join(', ')}${more}`)
    else {
      const near = nearest === undefined ? '' : `; the nearest name is ${nearest}`
      lines.push(`nobody of that name is known here${near}`)
    }
  }
  if (keysRotated) lines.push('keys that sidecars share are made anew')
  if (reached !== undefined) lines.push(...reachedSoFar(reached))
  return lines.map(printable)
}

interface RestoreFlags extends AdminFlags, WhoFlags {
  readonly reason: string
}

async function restore(who: string | undefined, flags: RestoreFlags): Promise<void> {
  const { stateDir, output, reason } = flags
  const isNumber = who !== undefined && /^[1-9][0-9]{0,14}$/.test(who)
  const what = isNumber ? { id: Number(who) } : revokedOf(who, flags)
  const beganMs = performance.now()
  const answer = await new AdminClient(stateDir).restore({ ...what, reason, by: byOf(flags) })
  const ms = Math.round(performance.now() - beganMs)
  const over = `revocation ${answer.revocation.id} is over: ${whatOf(answer.revocation)} may come in again`
  // Who is still refused somewhere comes in a moment later, so nothing more is waited for.
  const reached = answer.inForce === undefined ? [] : reachedSoFar({ ...answer.inForce, ms })
  if (output === 'json') printJson(answer)
  else print([over, ...reached].map(printable).join('\n'))
}

interface ListFlags extends AdminFlags {
  readonly all: boolean
  readonly limit: number
}

async function list({ stateDir, output, all, limit }: ListFlags): Promise<void> {
  const answer = await new AdminClient(stateDir).revocations(all, limit)
  const { revocations, count, nowMs, inForce } = answer
  const missing = inForce?.missing ?? []
  if (output === 'json') printJson(answer)
  else if (revocations.length === 0) print('nobody is revoked')
  else {
    const rows = revocations.slice(0, rowsShown).map((row) => {
      const ago = formatDuration(Math.max(0, nowMs - row.createdAtMs))
      return [String(row.id), whatOf(row), ago, row.by, endOf(row, nowMs), row.reason]
    })
    const more = revocations.length - rows.length
    print(table(['NUMBER', 'REVOKED', 'AGO', 'BY', 'UNTIL', 'REASON'], rows, [0]))
    if (more > 0) print(`… and ${more} more (-o json has them); ${count} are in force`)
    if (inForce !== undefined) print(`in force at ${inForce.have} of ${inForce.connected} proxies`)
  }
  if (output !== 'json' && missing.length > 0) print(printable(`not yet at: ${missing.join(', ')}`))
}

function endOf({ ended, untilMs }: ShownRevocation, nowMs: number): string {
  if (ended !== undefined) return `ended by ${ended.by}`
  return untilMs === undefined ? '–' : `in ${formatDuration(Math.max(0, untilMs - nowMs))}`
}

function whatOf({ kind, value, provider }: Pick<ShownRevocation, 'kind' | 'value' | 'provider'>): string {
  const shown = provider === undefined ? value : `${provider}/${value}`
  return kind === 'id' ? shown : `${kind.replace('one-', '')} ${shown}`
}

/** One of them is to be named. */
function revokedOf(who: string | undefined, flags: WhoFlags): Revoked {
  const { certificate, key, token, issuerKey, proxy, provider } = flags
  const named: Revoked[] = []
  if (who !== undefined) named.push(namedBy(who))
  if (certificate !== undefined) named.push({ kind: 'one-certificate', value: textIn(certificate, serialOf) })
  if (key !== undefined) named.push({ kind: 'key', value: textIn(key, keyOf) })
  if (token !== undefined)
    named.push({ kind: 'one-token', value: tokenIn(token), ...(provider === undefined ? {} : { provider }) })
  if (issuerKey !== undefined) named.push(issuerKeyOf(issuerKey))
  if (proxy !== undefined) named.push({ kind: 'proxy', value: proxy })
  const [one, ...others] = named
  if (one === undefined || others.length > 0)
    throw new RingfenceError('USAGE', 'name one: a SPIFFE id, a pattern, a person, or one of the flags that say whom', {
      hint: 'ringfence identity revoke spiffe://demo.local/svc/orders --reason …',
    })
  // Nor does it leave this process.
  if (isSecret(one.value)) throw secretGiven()
  return one
}

function namedBy(who: string): Revoked {
  if (who.startsWith('spiffe://')) return { kind: 'id', value: who }
  if (who.includes('/')) return { kind: 'person', value: who }
  if (isSecret(who)) throw secretGiven()
  throw new RingfenceError('USAGE', `${JSON.stringify(who.slice(0, 64))} is neither a SPIFFE id nor a person`, {
    hint: 'a person is written corp/alice; a gateway or sidecar is named by --proxy, a token by --token',
  })
}

function issuerKeyOf(text: string): Revoked {
  const slash = text.indexOf('/')
  return { kind: 'issuer-key', provider: text.slice(0, Math.max(slash, 0)), value: text.slice(slash + 1) }
}

/** As it is written, or of a certificate in a file. */
function textIn(text: string, part: (certificate: X509Certificate) => string): string {
  if (!existsSync(text)) return text
  try {
    return part(new X509Certificate(readInput(text)))
  } catch (cause) {
    if (cause instanceof RingfenceError) throw cause
    throw new RingfenceError('CONFIG', `${text} has no certificate in PEM`, { cause })
  }
}

function serialOf({ serialNumber }: X509Certificate): string {
  return serialNumber
}

function keyOf({ publicKey }: X509Certificate): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }), 'hex')
}

/** As it is written; of a whole token its id, else its hash. The token itself goes nowhere. */
function tokenIn(text: string): string {
  const bare = text.trim().replace(/^bearer\s+/i, '')
  if (isPresigned(bare) && knownBy(bare) !== bare) return sha256Hex(knownBy(bare))
  if (!looksLikeToken(bare) || !isSecret(bare)) return text
  try {
    const { type, claims, hash: sha256 } = readToken(bare)
    const id = shortText(type === txnTokenType ? claims.txn : claims.jti)
    return id === undefined || id === '' || /\p{C}/u.test(id) || isSecret(id) ? sha256 : id
  } catch {
    throw secretGiven()
  }
}
