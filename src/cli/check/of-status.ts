/** What the control plane knows of itself and its proxies, read as findings. */

import type { StatusAnswer } from '../../control/services/proxies.ts'
import { clockSkewMsMax, skewHint } from '../../mesh/clock-skew.ts'
import { formatDuration } from '../output.ts'
import type { Finding } from './finding.ts'
import { ofLife } from './life.ts'

const pushTargetMs = 1_000
/** Another authority is active at 5/6 of the life of the present one; somewhat less than the rest is late. */
const activationLateBelow = 0.16

type Proxy = StatusAnswer['proxies'][number]

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
  findings.push(...authorities(control, nowMs, certExpiryThresholdMs))
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
    if (proxy.revoked !== undefined) {
      const text = `${proxy.name} is thrown out by revocation ${proxy.revoked}`
      const hint = `for good: ringfence proxy remove ${proxy.name}; else ringfence identity restore ${proxy.revoked}`
      findings.push({ category: 'proxies', level: 'warning', text, hint })
      continue
    }
    if (!proxy.connected) {
      const { name, certificateNotAfterMs } = proxy
      if (certificateNotAfterMs !== undefined && certificateNotAfterMs <= nowMs)
        findings.push(ofLeaf(proxy, control.svidTtlMs, nowMs))
      const text = `${name} does not report`
      add('proxies', false, text, {
        text,
        hint: `is its process running, and can it reach the control plane; if it is gone for good: ringfence proxy remove ${name}`,
      })
      continue
    }
    add('proxies', proxy.synced, `${proxy.name} runs revision ${proxy.policyRevision}`, {
      text: `${proxy.name} runs revision ${proxy.policyRevision}, not ${policyRevision}`,
      hint: proxy.policyFault ?? 'its log says why; an older revision than it has is refused',
    })
    if (proxy.bundleInForce === false) {
      findings.push({
        category: 'proxies',
        level: 'warning',
        text: `${proxy.name} does not trust the roots of now`,
        hint: 'its log says why; until it does, it refuses who shows a certificate of a new root',
      })
    }
    if (proxy.revocationsInForce === false) {
      findings.push({
        category: 'proxies',
        level: 'failure',
        text: `${proxy.name} has not the revocations in force`,
        hint: 'its log says why; until it has, who was revoked last may still come in there',
      })
    }
    findings.push(ofLeaf(proxy, control.svidTtlMs, nowMs))
    const skewMs = proxy.clockSkewMs ?? 0
    if (Math.abs(skewMs) > clockSkewMsMax) {
      const by = formatDuration(Math.abs(skewMs))
      findings.push({
        category: 'proxies',
        level: 'failure',
        text: `the clock of ${proxy.name} is ${by} ${skewMs > 0 ? 'ahead of' : 'behind'} the control plane’s`,
        hint: skewHint,
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
    if (proxy.recordUncollected !== undefined) {
      findings.push({
        category: 'proxies',
        level: 'warning',
        text: `the record of ${proxy.name} is not collected: ${proxy.recordUncollected}`,
        hint: 'it is kept at the sidecar meanwhile; docs/audit.md says what each reason means',
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

function authorities(control: StatusAnswer['control'], nowMs: number, warnBelowMs: number): Finding[] {
  const { rootNotBeforeMs, rootNotAfterMs, issuingNotBeforeMs, issuingNotAfterMs, ownNotAfterMs, svidTtlMs } = control
  const issuingRenewsItself = control.issuingRenewsItself !== false
  const category = 'control plane'
  const root = {
    what: 'root certificate',
    lifeMs: rootNotBeforeMs === undefined ? undefined : rootNotAfterMs - rootNotBeforeMs,
    notAfterMs: rootNotAfterMs,
    breaks: 'nobody in the mesh trusts anybody any more',
    renewsItself: true,
    lateBelow: activationLateBelow,
    hint: 'another one signs at 5/6 of its life; ringfence ca show, and docs/rotate.md to do it now',
    warnBelowMs,
  } as const
  const issuing = {
    what: 'issuing certificate',
    lifeMs: issuingNotBeforeMs === undefined ? undefined : issuingNotAfterMs - issuingNotBeforeMs,
    notAfterMs: issuingNotAfterMs,
    breaks: 'no certificate can be issued, and those that are there end',
    renewsItself: issuingRenewsItself,
    lateBelow: activationLateBelow,
    hint: issuingRenewsItself
      ? 'another one signs at 5/6 of its life; see the log, or ringfence ca show'
      : 'the root’s key is elsewhere: ringfence ca prepare issuing --offline, see docs/rotate.md',
  } as const
  const own = {
    what: 'certificate of the control plane itself',
    lifeMs: svidTtlMs,
    breaks: 'no proxy can reach it to renew',
    renewsItself: true,
    hint: 'its log says why it was not renewed',
  } as const
  return [
    ofLife({ category, ...root }, nowMs),
    ofLife({ category, ...issuing }, nowMs),
    ...(ownNotAfterMs === undefined ? [] : [ofLife({ category, ...own, notAfterMs: ownNotAfterMs }, nowMs)]),
  ]
}

function ofLeaf({ name, role, certificateNotAfterMs }: Proxy, svidTtlMs: number, nowMs: number): Finding {
  return ofLife(
    {
      category: 'proxies',
      what: `certificate of ${name}`,
      lifeMs: svidTtlMs,
      notAfterMs: certificateNotAfterMs ?? nowMs,
      breaks: role === 'sidecar' ? 'it lets nobody in to its node' : 'it takes no client',
      renewsItself: true,
      hint: 'its log says why it is not renewed; after the end it must enrol again with a new join token',
    },
    nowMs,
  )
}
