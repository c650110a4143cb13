/** `check`: what would break, said before it does. One line a finding: √ good, ‼ soon, × broken, with what to do about it. */
import { connect } from 'node:net'
import type { Command } from 'commander'
import { RingfenceError } from '../../base/errors.ts'
import { AdminClient, type StatusAnswer } from '../admin-client.ts'
import { collect, formatHostPort, type HostPort, parseDuration, parseHostPort } from '../options.ts'
import { exitCode, formatDuration, paint, print, printable, printJson } from '../output.ts'
import { type AdminFlags, adminCommand } from './admin.ts'
import { findNginx } from './nginx.ts'

export interface Finding {
  readonly category: string
  readonly level: 'ok' | 'warning' | 'failure'
  readonly text: string
  readonly hint?: string
}

interface CheckFlags extends AdminFlags {
  readonly failOnWarning?: boolean
  readonly certExpiryThreshold: number
  readonly cassandra?: HostPort[]
  readonly nginx: string
}

const marks = { ok: '√', warning: '‼', failure: '×' } as const
const colourOf = { ok: 'green', warning: 'yellow', failure: 'red' } as const
const probeTimeoutMs = 3_000
const pushTargetMs = 1_000
const thresholdMsDefault = 168 * 60 * 60 * 1000

export function addCheck(program: Command): void {
  adminCommand(program, 'check', 'find what is broken or soon will be; ends with 1 where something is')
    .option('--fail-on-warning', 'end with 1 for warnings too')
    .option(
      '--cert-expiry-threshold <duration>',
      'warn when an authority ends within',
      parseDuration,
      thresholdMsDefault,
    )
    .option(
      '--cassandra <address:port>',
      'prove that this node does not let in who walks around the mesh; may be repeated',
      collect(parseHostPort),
    )
    .option('--nginx <program>', 'the NGINX to look at', 'nginx')
    .action(async (flags: CheckFlags) => {
      const findings = [
        ...(await ofControl(flags)),
        ...ofNginx(flags.nginx),
        ...(await ofCassandra(flags.cassandra ?? [])),
      ]
      if (flags.output === 'json') printJson({ findings })
      else print(findingsText(findings))
      const bad = findings.some(
        ({ level }) => level === 'failure' || (level === 'warning' && flags.failOnWarning === true),
      )
      process.exitCode = bad ? exitCode.failed : exitCode.ok
    })
}

async function ofControl(flags: CheckFlags): Promise<Finding[]> {
  let status: StatusAnswer
  try {
    status = await new AdminClient(flags.stateDir).status()
  } catch (reason) {
    const fault = RingfenceError.from(reason, 'UNAVAILABLE')
    const hint = fault.hint === undefined ? {} : { hint: fault.hint }
    return [{ category: 'control plane', level: 'failure', text: fault.message, ...hint }]
  }
  return findingsOf(status, Date.now(), flags.certExpiryThreshold)
}

/** What a status means at `nowMs`. */
export function findingsOf(status: StatusAnswer, nowMs: number, certExpiryThresholdMs: number): Finding[] {
  const { control, policyRevision, pushLatency, proxies, sidecars } = status
  const findings: Finding[] = []
  const add = (
    category: string,
    good: boolean,
    text: string,
    otherwise?: { level?: 'warning'; text: string; hint: string },
  ): void => {
    if (good || otherwise === undefined) findings.push({ category, level: 'ok', text })
    else findings.push({ category, level: otherwise.level ?? 'failure', text: otherwise.text, hint: otherwise.hint })
  }
  add('control plane', true, `answers, trust domain ${control.trustDomain}, proxies reach it at ${control.listen}`)
  for (const [name, endMs, hint] of [
    ['root certificate', control.rootNotAfterMs, 'plan a new root and enrol everybody under it'],
    [
      'issuing certificate',
      control.issuingNotAfterMs,
      'it is made anew at half of its life when a certificate is signed; see the log',
    ],
  ] as const) {
    const leftMs = endMs - nowMs
    const text = `${name} ends in ${formatDuration(leftMs)}`
    if (leftMs <= 0) add('control plane', false, text, { text: `${name} has expired`, hint })
    else add('control plane', leftMs > certExpiryThresholdMs, text, { level: 'warning', text, hint })
  }
  add('control plane', control.svidTtlMs >= 5 * 60_000, `certificates live ${formatDuration(control.svidTtlMs)}`, {
    level: 'warning',
    text: `certificates live ${formatDuration(control.svidTtlMs)}: for tests only`,
    hint: '--svid-ttl 5m to 24h; 1h is the default',
  })
  // A certificate is renewed at 50 to 67 % of its life, so without the control plane proxies go on for a third of it at least.
  const budgetMs = control.svidTtlMs * 0.33
  findings.push({
    category: 'control plane',
    level: 'ok',
    text: `proxies go on without it for at least ${formatDuration(budgetMs)}`,
  })

  add('policy', policyRevision > 0, `revision ${policyRevision} is in force`, {
    text: 'there is no policy, so everything is refused',
    hint: 'ringfence policy apply -f policy.yaml',
  })
  if (pushLatency !== undefined) {
    const text = `pushed to ${pushLatency.count} proxies, p99 ${Math.round(pushLatency.p99Ms)}ms`
    add('policy', pushLatency.p99Ms < pushTargetMs, text, {
      level: 'warning',
      text: `${text}, above ${pushTargetMs}ms`,
      hint: 'is a proxy, or this machine, overloaded',
    })
  }

  for (const role of ['gateway', 'sidecar'] as const) {
    const of = proxies.filter((proxy) => proxy.role === role)
    const connected = of.filter((proxy) => proxy.connected)
    add('proxies', connected.length > 0, `${connected.length} of ${of.length} ${role}s connected`, {
      text: `no ${role} is connected`,
      hint: `ringfence token generate --role ${role} …, then ringfence ${role} --config … --token …`,
    })
  }
  for (const proxy of proxies) {
    if (!proxy.connected) {
      const text = `${proxy.name} does not report`
      add('proxies', false, text, { text, hint: 'is its process running, and can it reach the control plane' })
      continue
    }
    add('proxies', proxy.synced, `${proxy.name} runs revision ${proxy.policyRevision}`, {
      text: `${proxy.name} runs revision ${proxy.policyRevision}, not ${policyRevision}`,
      hint: 'its log says why; an older revision than it has is refused',
    })
    const leftMs = (proxy.certificateNotAfterMs ?? 0) - nowMs
    const text = `${proxy.name} has a certificate for ${formatDuration(leftMs)}`
    add('proxies', leftMs > control.svidTtlMs * 0.1, text, {
      text: leftMs <= 0 ? `certificate of ${proxy.name} has expired` : `${text}: renewal is late`,
      hint: 'its log says why; after the end it must enrol again with a new join token',
    })
    const plain = proxy.listeners.filter(({ tls }) => !tls)
    for (const { address, port } of plain) {
      findings.push({
        category: 'proxies',
        level: 'warning',
        text: `${proxy.name} has a plain listener at ${address}:${port}`,
        hint: 'whoever is on that host has its configured identity',
      })
    }
  }
  for (const { role, connected, draining, advertise, name } of proxies) {
    if (role !== 'gateway' || !connected || draining || advertise.length > 0) continue
    findings.push({
      category: 'proxies',
      level: 'warning',
      text: `drivers at other gateways are not told of ${name}`,
      hint: 'it has no link to a sidecar yet, or its join token was for other addresses than it advertises',
    })
  }
  const silent = proxies.filter(
    (proxy) =>
      proxy.role === 'sidecar' && proxy.connected && !sidecars.some(({ spiffeId }) => spiffeId === proxy.spiffeId),
  )
  for (const { name } of silent) {
    findings.push({
      category: 'proxies',
      level: 'warning',
      text: `${name} takes no mesh links`,
      hint: 'give its configuration a link listener',
    })
  }
  return findings
}

function ofNginx(program: string): Finding[] {
  const category = 'nginx'
  const found = findNginx(program)
  if (found === undefined) {
    return [
      {
        category,
        level: 'warning',
        text: `${program} is not on this host`,
        hint: 'apt-get install nginx libnginx-mod-stream',
      },
    ]
  }
  if (found.stream === 'absent') {
    return [
      {
        category,
        level: 'failure',
        text: `nginx ${found.version} has no stream module`,
        hint: 'apt-get install libnginx-mod-stream',
      },
    ]
  }
  return [{ category, level: 'ok', text: `nginx ${found.version} with the stream module` }]
}

/** A locked node lets nobody in without TLS; whoever is answered in the clear can walk around the mesh. */
async function ofCassandra(nodes: readonly HostPort[]): Promise<Finding[]> {
  return Promise.all(
    nodes.map(async (node): Promise<Finding> => {
      const category = 'cassandra'
      const where = formatHostPort(node)
      const answer = await answersPlainly(node)
      if (answer === 'away')
        return {
          category,
          level: 'warning',
          text: `${where} cannot be reached from here`,
          hint: 'run the check on the node’s host',
        }
      if (answer === 'open') {
        const hint = 'client_encryption_options: enabled true, optional false, require_client_auth true'
        return {
          category,
          level: 'failure',
          text: `${where} speaks CQL without TLS, so the mesh can be walked around`,
          hint,
        }
      }
      return { category, level: 'ok', text: `${where} does not speak CQL without TLS` }
    }),
  )
}

function answersPlainly({ address, port }: HostPort): Promise<'open' | 'closed' | 'away'> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port })
    let connected = false
    const end = (answer: 'open' | 'closed' | 'away'): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(probeTimeoutMs, () => end(connected ? 'closed' : 'away'))
    socket.on('connect', () => {
      connected = true
      // OPTIONS in protocol version 4, stream 0, no body (native_protocol_v4.spec §4.1.3).
      socket.write(Buffer.from([0x04, 0, 0, 0, 0x05, 0, 0, 0, 0]))
    })
    // A TLS server answers with an alert, whose first byte is 0x15; a CQL response has the direction bit and version 3 to 5.
    socket.on('data', (data) =>
      end(typeof data !== 'string' && [0x83, 0x84, 0x85].includes(data[0] ?? 0) ? 'open' : 'closed'),
    )
    socket.on('error', () => end(connected ? 'closed' : 'away'))
    socket.on('close', () => end(connected ? 'closed' : 'away'))
  })
}

function findingsText(findings: readonly Finding[]): string {
  const lines: string[] = []
  let category: string | undefined
  for (const finding of findings) {
    if (finding.category !== category) {
      lines.push(...(category === undefined ? [] : ['']), paint(finding.category, 'bold'))
      category = finding.category
    }
    lines.push(`${paint(marks[finding.level], colourOf[finding.level])} ${printable(finding.text)}`)
    if (finding.hint !== undefined) lines.push(`    hint: ${printable(finding.hint)}`)
  }
  const failures = findings.filter(({ level }) => level === 'failure').length
  const warnings = findings.filter(({ level }) => level === 'warning').length
  lines.push('', failures + warnings === 0 ? 'all is well' : `${failures} failures, ${warnings} warnings`)
  return lines.join('\n')
}
