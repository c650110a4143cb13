/** The commands of an operator, all over the control plane's admin socket. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import type { StatusAnswer } from '../../control/services/proxies.ts'
import type { TrafficLine } from '../../control/traffic.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { parseHostName, parseIpAddress } from '../../mesh/alt-names.ts'
import { writeFileAtomically } from '../../mesh/files.ts'
import { agentRoles } from '../../mesh/roles.ts'
import { AdminClient } from '../admin-client.ts'
import { conflictText, shortDigest } from '../in-force.ts'
import { collect, countOption, durationOption, durationWithin, readBy } from '../options.ts'
import {
  type Cell,
  type Format,
  formatDuration,
  isColoured,
  paint,
  print,
  printable,
  printJson,
  table,
} from '../output.ts'
import { Screen } from '../screen.ts'
import { trafficTable } from '../traffic-table.ts'
import { version } from '../version.ts'
import { type AdminFlags, adminCommand, withOutput } from './admin-command.ts'
import { addAudit } from './audit.ts'
import { addAwsToken } from './aws-token.ts'
import { addBundleReport } from './bundle-report.ts'
import { addCa } from './ca.ts'
import { addCheck } from './check.ts'
import { addPersonCommands } from './connect.ts'
import { addDrill } from './drill.ts'
import { addEdges } from './edges.ts'
import { addEvidence } from './evidence.ts'
import { addIdentity } from './identity.ts'
import { addNginx } from './nginx.ts'
import { addPolicy } from './policy.ts'
import { addTap } from './tap.ts'
import { addTop } from './top.ts'
import { addWho } from './who.ts'

export function addAdminCommands(program: Command): void {
  addToken(program)
  addPolicy(program)
  addStatus(program)
  addProxies(program)
  addTraffic(program)
  addTop(program)
  addTap(program)
  addWho(program)
  addEdges(program)
  addAudit(program)
  addEvidence(program)
  addCheck(program)
  addIdentity(program)
  addDrill(program)
  addNginx(program)
  addAwsToken(program)
  addPersonCommands(program)
  addX509(program)
  addBundle(program)
  addBundleReport(program)
  addCa(program)
  withOutput(program.command('version').description('print the version')).action(({ output }: { output: Format }) => {
    if (output === 'json') printJson({ version, node: process.version })
    else print(`ringfence ${version} (node ${process.version})`)
  })
}

interface NamesFlags {
  readonly ip?: string[]
  readonly dns?: string[]
}

/** As the control plane has it. */
const tokenTtlMsMax = 24 * 60 * 60 * 1000

interface TokenFlags {
  readonly spiffeId: string
  readonly role: string
  readonly ttl: number
  readonly listenerIdentity?: string[]
}

function withNames(command: Command): Command {
  return command
    .option(
      '--ip <address>',
      'address in the certificate; of a gateway also what it may advertise; may be repeated',
      collect(readBy(parseIpAddress)),
    )
    .option('--dns <name>', 'host name in the certificate; may be repeated', collect(readBy(parseHostName)))
}

function addToken(program: Command): void {
  const token = program.command('token').description('join tokens')
  withNames(adminCommand(token, 'generate', 'make a token that enrols one identity once'))
    .requiredOption('--spiffe-id <id>', 'that the holder gets', readBy(parseSpiffeId))
    .addOption(new Option('--role <role>', 'that the holder plays').choices(agentRoles).makeOptionMandatory())
    .option(
      '--listener-identity <id>',
      'SPIFFE id that a plain listener of a gateway may have; may be repeated',
      collect(readBy(parseSpiffeId)),
    )
    .addOption(
      durationOption('--ttl <duration>', 'how long it may be used, at most 24h', '10m').argParser(
        durationWithin(1, tokenTtlMsMax, 'at most 24h'),
      ),
    )
    .action(async (flags: AdminFlags & NamesFlags & TokenFlags) => {
      const { spiffeId, role, ttl, ip = [], dns = [], listenerIdentity: listenerIdentities = [] } = flags
      const order = { spiffeId, role, ttlMs: ttl, ipAddresses: ip, dnsNames: dns, listenerIdentities }
      const made = await new AdminClient(flags.stateDir).makeToken(order)
      if (flags.output === 'json') printJson({ ...made, spiffeId, role, listenerIdentities })
      // Alone on its line, so that TOKEN=$(ringfence token generate …) works.
      else print(made.token)
    })
}

function addStatus(program: Command): void {
  adminCommand(program, 'status', 'every proxy: policy revision, certificate, connections').action(
    async (flags: AdminFlags) => {
      const status = await new AdminClient(flags.stateDir).status()
      if (flags.output === 'json') printJson(status)
      else print(statusText(status, Date.now()))
    },
  )
}

/** Of a control plane that was restored with the epoch, which no revision before has. */
function revisionOf(revision: number, epoch = 0): string {
  return epoch === 0 ? String(revision) : `${revision} of epoch ${epoch}`
}

/** The table of `status`. */
export function statusText(status: StatusAnswer, nowMs: number): string {
  const { control, policyRevision, policyDigest, policyEpoch, policyConflict, pushLatency, proxies } = status
  const pushed =
    pushLatency === undefined ? '' : `, pushed in ${Math.round(pushLatency.p99Ms)}ms (p99 of ${pushLatency.count})`
  const head = `control plane ${control.listen}  trust domain ${control.trustDomain}  policy revision ${revisionOf(policyRevision, policyEpoch)}${policyDigest === undefined ? '' : ` (${shortDigest(policyDigest)})`}${pushed}`
  const heads = [
    'NAME',
    'ROLE',
    'STATE',
    'REVISION',
    'CERTIFICATE',
    'CONNECTIONS',
    'SESSIONS',
    'UPSTREAM',
    'LISTENERS',
    'ADVERTISES',
  ]
  const rows = proxies.map((proxy): (Cell | string)[] => [
    proxy.name,
    proxy.role,
    stateOf(proxy),
    proxy.policyRevision === undefined ? '-' : revisionOf(proxy.policyRevision, proxy.policyEpoch),
    proxy.certificateNotAfterMs === undefined ? '-' : formatDuration(proxy.certificateNotAfterMs - nowMs),
    String(proxy.connections),
    String(proxy.sessions),
    String(proxy.upstreamConnections),
    proxy.listeners
      .map(
        ({ address, port, tls, proxyProtocol }) =>
          `${address}:${port}${tls ? '' : ' plain'}${proxyProtocol ? ' proxy' : ''}`,
      )
      .join(', ') || '-',
    proxy.advertise.map(({ address, port }) => `${address}:${port}`).join(', ') || '-',
  ])
  const conflict = policyConflict === undefined ? '' : `\n${paint(printable(conflictText(policyConflict)), 'red')}`
  return `${head}${conflict}\n\n${proxies.length === 0 ? 'no proxy has enrolled yet' : table(heads, rows, [3, 5, 6, 7])}`
}

/** The worst of what is known of it: one that lets nothing pass is not well, whatever policy it runs. */
function stateOf({
  connected,
  draining,
  nodeAway,
  recordFailed,
  recordUncollected,
  synced,
  revoked,
}: StatusAnswer['proxies'][number]): Cell {
  if (revoked !== undefined) return { text: 'revoked', colour: 'red' }
  if (!connected) return { text: 'away', colour: 'red' }
  if (draining) return { text: 'leaving', colour: 'yellow' }
  if (nodeAway) return { text: 'node away', colour: 'red' }
  if (recordFailed) return { text: 'no record', colour: 'red' }
  if (recordUncollected !== undefined) return { text: 'not collected', colour: 'yellow' }
  return synced ? { text: 'synced', colour: 'green' } : { text: 'stale', colour: 'yellow' }
}

function addProxies(program: Command): void {
  const proxy = program.command('proxy').description('gateways and sidecars')
  adminCommand(proxy, 'remove', 'forget a proxy that is gone: it is shown no more, and cannot renew its certificate')
    .argument('<name>', 'as status shows it, or its SPIFFE id')
    .action(async (name: string, flags: AdminFlags) => {
      const removed = await new AdminClient(flags.stateDir).removeProxy(name)
      if (flags.output === 'json') printJson(removed)
      else print(`${removed.spiffeId} is removed; to come back it needs a new join token`)
    })
}

function addTraffic(program: Command): void {
  adminCommand(program, 'traffic', 'who is talking to Cassandra, in the last minute')
    .option('-w, --watch', 'again each second, until Ctrl-C')
    .addOption(durationOption('--window <duration>', 'to add up over, at most 60s', '60s'))
    .action(async (flags: AdminFlags & { watch?: boolean; window: number }) => {
      const client = new AdminClient(flags.stateDir)
      const screen = new Screen(process.stdout)
      const live = flags.watch === true && process.stdout.isTTY
      const seconds = Math.min(60, Math.max(1, Math.round(flags.window / 1000)))
      for (;;) {
        const answer = await client.traffic(seconds)
        if (flags.output === 'json') print(JSON.stringify(answer))
        else {
          const lines = trafficLines(answer.lines, flags.watch === true ? screen : undefined)
          if (live) screen.draw(lines)
          else print(lines.join('\n'))
        }
        if (flags.watch !== true) return
        await new Promise((resolve) => setTimeout(resolve, 1_000))
      }
    })
}

/** As wide as the terminal; as high too where it is drawn again and again. */
function trafficLines(lines: readonly TrafficLine[], screen: Screen | undefined): string[] {
  if (lines.length === 0) return ['nobody talked to Cassandra']
  const { isTTY, columns = 80 } = process.stdout
  // For a pipe nothing is cut: the reader has room.
  if (!isTTY) return trafficTable(lines)
  const linesMax = screen === undefined ? Number.POSITIVE_INFINITY : Math.max(1, screen.linesMax - 2)
  return trafficTable(lines, { widthMax: columns, linesMax, color: isColoured() })
}

function addX509(program: Command): void {
  const x509 = program.command('x509').description('certificates of this mesh')
  withNames(adminCommand(x509, 'mint', 'make a key and a certificate, for nodes, tests and tools'))
    .requiredOption('--spiffe-id <id>', 'in the certificate', readBy(parseSpiffeId))
    .addOption(durationOption('--ttl <duration>', 'its life; that of the mesh by default'))
    .option('--out <dir>', 'write svid.pem, key.pem and bundle.pem there')
    .option('--pem-bundle <file>', 'write key, certificates and their root into one file, for Cassandra')
    .action(
      async (flags: AdminFlags & NamesFlags & { spiffeId: string; ttl?: number; out?: string; pemBundle?: string }) => {
        const { spiffeId, ttl, ip = [], dns = [], out, pemBundle } = flags
        const minted = await new AdminClient(flags.stateDir).mint({
          spiffeId,
          ttlMs: ttl,
          ipAddresses: ip,
          dnsNames: dns,
        })
        const { keyPem, certificatePem, bundlePem } = minted
        if (out !== undefined) writePems(out, minted)
        if (pemBundle !== undefined) {
          const { keyStoreText } = await import('../../agent/certificate-files.ts')
          writeFileAtomically(pemBundle, keyStoreText({ keyPem, certificatePem, bundlePem }), 0o600)
        }
        if (flags.output === 'json') printJson(minted)
        else if (out === undefined && pemBundle === undefined) print(keyPem + certificatePem + bundlePem)
        else print(`${spiffeId} written to ${[out, pemBundle].filter((path) => path !== undefined).join(' and ')}`)
      },
    )
  adminCommand(x509, 'list', 'what was issued to whom, newest first')
    .addOption(countOption('--limit <count>', 'at most so many', 100))
    .action(async (flags: AdminFlags & { limit: number }) => {
      const { issuances } = await new AdminClient(flags.stateDir).issuances(flags.limit)
      if (flags.output === 'json') return printJson(issuances)
      const rows = issuances.map((one) => [
        new Date(one.issuedAtMs).toISOString(),
        one.reason,
        one.spiffeId,
        one.caller,
        new Date(one.notAfterMs).toISOString(),
        one.serial,
      ])
      print(table(['ISSUED', 'REASON', 'SPIFFE ID', 'CALLER', 'NOT AFTER', 'SERIAL'], rows))
    })
}

function writePems(folder: string, pems: { keyPem: string; certificatePem: string; bundlePem: string }): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  writeFileAtomically(join(folder, 'key.pem'), pems.keyPem, 0o600)
  writeFileAtomically(join(folder, 'svid.pem'), pems.certificatePem, 0o644)
  writeFileAtomically(join(folder, 'bundle.pem'), pems.bundlePem, 0o644)
}

function addBundle(program: Command): void {
  const bundle = program.command('bundle').description('the roots that the mesh trusts')
  adminCommand(bundle, 'show', 'print them').action(async (flags: AdminFlags) => {
    const answer = await new AdminClient(flags.stateDir).bundle()
    if (flags.output === 'json') printJson(answer)
    else print(answer.bundlePem)
  })
}
