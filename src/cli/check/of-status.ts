/** What the control plane knows of itself and its proxies, read as findings. */

import type { StatusAnswer } from '../../control/services/proxies.ts'
import { formatDuration } from '../output.ts'
import type { Finding } from './finding.ts'

const pushTargetMs = 1_000
/** Certificates are dated back by as much (mesh-wide tolerance); beyond it some are refused. */
const skewMsMax = 60_000

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
  if (status.policyConflict !== undefined) {
    findings.push({
      category: 'policy',
      level: 'failure',
      text: `${status.policyConflict.names.join(', ')} run a policy that this control plane does not know`,
      hint: `was its state restored; ringfence policy apply puts yours in force as revision ${status.policyConflict.nextRevision}`,
    })
  }
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
      add('proxies', false, text, {
        text,
        hint: `is its process running, and can it reach the control plane; if it is gone for good: ringfence proxy remove ${proxy.name}`,
      })
      continue
    }
    add('proxies', proxy.synced, `${proxy.name} runs revision ${proxy.policyRevision}`, {
      text: `${proxy.name} runs revision ${proxy.policyRevision}, not ${policyRevision}`,
      hint: proxy.policyFault ?? 'its log says why; an older revision than it has is refused',
    })
    const leftMs = (proxy.certificateNotAfterMs ?? 0) - nowMs
    const text = `${proxy.name} has a certificate for ${formatDuration(leftMs)}`
    add('proxies', leftMs > control.svidTtlMs * 0.1, text, {
      text: leftMs <= 0 ? `certificate of ${proxy.name} has expired` : `${text}: renewal is late`,
      hint: 'its log says why; after the end it must enrol again with a new join token',
    })
    const skewMs = proxy.clockSkewMs ?? 0
    if (Math.abs(skewMs) > skewMsMax) {
      const by = formatDuration(Math.abs(skewMs))
      findings.push({
        category: 'proxies',
        level: 'failure',
        text: `the clock of ${proxy.name} is ${by} ${skewMs > 0 ? 'ahead of' : 'behind'} the control plane’s`,
        hint: 'set both by NTP (timedatectl): certificates are refused where clocks differ by more than a minute',
      })
    }
    if (proxy.nodeAway) {
      findings.push({
        category: 'proxies',
        level: 'failure',
        text: `the Cassandra node of ${proxy.name} does not answer it`,
        hint: 'is the node running, and does it let the sidecar in; the sidecar’s log says what it sees',
      })
    }
    if (proxy.recordFailed) {
      findings.push({
        category: 'proxies',
        level: 'failure',
        text: `${proxy.name} cannot write its record, so it lets nothing pass`,
        hint: 'is the disk of its audit directory full; its log names the file',
      })
    }
    const dropped = proxy.dropped ?? []
    if (dropped.length > 0) {
      findings.push({
        category: 'proxies',
        level: 'warning',
        text: `of what ${proxy.name} reports this is not understood: ${dropped.map(({ field }) => field).join(', ')}`,
        hint: 'is it of the same version as the control plane',
      })
    }
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
