/** `check`: what would break, said before it does. One line a finding: √ good, ‼ soon, × broken, with what to do about it. */
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import type { StatusAnswer } from '../../control/services/proxies.ts'
import { AdminClient } from '../admin-client.ts'
import { type Door, doorsOf } from '../check/doors.ts'
import { type Finding, failure, findingsText } from '../check/finding.ts'
import { nginxFiles, ofFiles } from '../check/of-files.ts'
import { ofNginx } from '../check/of-nginx.ts'
import { ofProviders } from '../check/of-providers.ts'
import { findingsOf } from '../check/of-status.ts'
import type { ProbeCertificate } from '../check/probe.ts'
import { wayThrough } from '../check/way-through.ts'
import { waysAround } from '../check/ways-around.ts'
import { collect, durationOption, type HostPort, parseHostPort } from '../options.ts'
import { exitCode, print, printJson } from '../output.ts'
import { type AdminFlags, adminCommand } from './admin-command.ts'

interface CheckFlags extends AdminFlags {
  readonly failOnWarning?: boolean
  readonly certExpiryThreshold: number
  readonly cassandra?: HostPort[]
  readonly door?: HostPort[]
  readonly nginx: string
  readonly nginxConfig?: string
  readonly certificate?: string[]
}

/** Lives as long as the check takes. */
const certificateTtlMs = 60_000

export function addCheck(program: Command): void {
  adminCommand(program, 'check', 'find what is broken or soon will be; ends with 1 where something is')
    .option('--fail-on-warning', 'end with 1 for warnings too')
    .addOption(durationOption('--cert-expiry-threshold <duration>', 'warn when an authority ends within', '7d'))
    .option(
      '--cassandra <address:port>',
      'try each way around the mesh into this node; may be repeated',
      collect(parseHostPort),
    )
    .option(
      '--door <address:port>',
      'send a query by this address instead of those that gateways and sidecars report; may be repeated',
      collect(parseHostPort),
    )
    .option('--nginx <program>', 'the NGINX to look at', 'nginx')
    .option('--nginx-config <file>', 'look at the certificates that NGINX serves by this configuration')
    .option('--certificate <file>', 'look at a certificate in PEM; may be repeated', collect(String))
    .action(async (flags: CheckFlags) => {
      const findings = await findAll(flags)
      if (flags.output === 'json') printJson({ findings })
      else print(findingsText(findings))
      const bad = findings.some(
        ({ level }) => level === 'failure' || (level === 'warning' && flags.failOnWarning === true),
      )
      process.exitCode = bad ? exitCode.failed : exitCode.ok
    })
}

async function findAll(flags: CheckFlags): Promise<Finding[]> {
  const admin = new AdminClient(flags.stateDir)
  const nowMs = Date.now()
  const served =
    flags.nginxConfig === undefined ? { files: [], findings: [] } : nginxFiles(flags.nginx, flags.nginxConfig)
  const named = (flags.certificate ?? []).map((path) => ({ path, of: 'whoever shows it' }))
  const files = [...served.findings, ...ofFiles([...served.files, ...named], nowMs)]
  const nginx = [...ofNginx(flags.nginx), ...files]
  let status: StatusAnswer
  try {
    status = await admin.status()
  } catch (reason) {
    const { message, hint } = RingfenceError.from(reason, 'UNAVAILABLE')
    const away = failure('control plane', message, hint ?? 'ringfence control starts it')
    return [away, ...nginx, ...(await waysAround(flags.cassandra ?? [], undefined))]
  }
  const { trustDomain } = status.control
  const certificate = await certificateOf(admin, trustDomain)
  const doors = flags.door?.map((target): Door => ({ target, kind: 'door' })) ?? doorsOf(status)
  return [
    ...findingsOf(status, nowMs, flags.certExpiryThreshold),
    ...(await ofProviders((await admin.policy()).source, nowMs)),
    ...nginx,
    ...(await wayThrough(doors, certificate, trustDomain)),
    ...(await waysAround(flags.cassandra ?? [], certificate)),
  ]
}

/** A certificate that lives a minute, for an identity that no policy names. */
async function certificateOf(admin: AdminClient, trustDomain: string): Promise<ProbeCertificate | undefined> {
  try {
    return await admin.mint({ spiffeId: `spiffe://${trustDomain}/svc/ringfence-check`, ttlMs: certificateTtlMs })
  } catch {
    return undefined
  }
}
