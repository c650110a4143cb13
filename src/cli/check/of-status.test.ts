/** What `check` says of a status and of the host's NGINX: one fault at a time, each with its sentence and its hint. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { StatusAnswer } from '../../control/services/proxies.ts'
import type { Finding } from './finding.ts'
import { unsaid } from './messages.fixture.ts'
import { ofNginx } from './of-nginx.ts'
import { findingsOf } from './of-status.ts'
import { nowMs, proxy, sidecar, status } from './status.fixture.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const heard: Finding[] = []

/** What is not good of it. */
function bad(findings: readonly Finding[]): string[] {
  heard.push(...findings)
  for (const { level, text, hint } of findings) assert.ok(level === 'ok' || (hint ?? '') !== '', `"${text}" has a hint`)
  return findings.flatMap(({ level, text }) => (level === 'ok' ? [] : [`${level}: ${text}`]))
}

const control = (change: Partial<StatusAnswer['control']>): Partial<StatusAnswer> => ({
  control: { ...status.control, ...change },
})
const gateway = (change: Partial<typeof proxy>): Partial<StatusAnswer> => ({
  proxies: [{ ...proxy, ...change }, sidecar],
})
const node = (change: Partial<typeof sidecar>): Partial<StatusAnswer> => ({
  proxies: [proxy, { ...sidecar, ...change }],
})

const planted: readonly (readonly [fault: string, change: Partial<StatusAnswer>, said: readonly string[]])[] = [
  ['none', {}, []],
  [
    'the root is over soon',
    control({ rootNotAfterMs: nowMs + dayMs }),
    [
      'warning: root certificate ends in 1d0h, a quarter of its life is left or less; at 2026-01-02 00:00 UTC nobody in the mesh trusts anybody any more',
    ],
  ],
  [
    'the root is over',
    control({ rootNotAfterMs: nowMs - 1 }),
    ['failure: root certificate has expired at 2025-12-31 23:59 UTC: nobody in the mesh trusts anybody any more'],
  ],
  [
    'the issuing certificate is over soon',
    control({ issuingNotAfterMs: nowMs + hourMs }),
    [
      'failure: issuing certificate ends in 1h0m, a tenth of its life is left or less; at 2026-01-01 01:00 UTC no certificate can be issued, and those that are there end',
    ],
  ],
  [
    'the next issuing key is prepared, and not due yet',
    control({ issuingNotBeforeMs: nowMs - 24 * dayMs, issuingNotAfterMs: nowMs + 6 * dayMs }),
    [],
  ],
  [
    'the next issuing key was due a day ago',
    control({ issuingNotBeforeMs: nowMs - 26 * dayMs, issuingNotAfterMs: nowMs + 4 * dayMs }),
    [
      'warning: issuing certificate ends in 4d0h, a quarter of its life is left or less; at 2026-01-05 00:00 UTC no certificate can be issued, and those that are there end',
    ],
  ],
  [
    'the next root is prepared, and not due yet',
    control({ rootNotBeforeMs: nowMs - 2_900 * dayMs, rootNotAfterMs: nowMs + 750 * dayMs }),
    [],
  ],
  [
    'a gateway that does not trust the roots of now',
    gateway({ bundleInForce: false }),
    ['warning: g does not trust the roots of now'],
  ],
  ['a sidecar that does', node({ bundleInForce: true }), []],
  [
    'the root’s key is elsewhere, and half of the issuing certificate’s life is over',
    control({
      issuingRenewsItself: false,
      issuingNotBeforeMs: nowMs - 16 * dayMs,
      issuingNotAfterMs: nowMs + 14 * dayMs,
    }),
    [
      'warning: issuing certificate ends in 14d0h, half of its life is left or less; at 2026-01-15 00:00 UTC no certificate can be issued, and those that are there end',
    ],
  ],
  [
    'the issuing certificate is over',
    control({ issuingNotAfterMs: nowMs }),
    [
      'failure: issuing certificate has expired at 2026-01-01 00:00 UTC: no certificate can be issued, and those that are there end',
    ],
  ],
  [
    'certificates live seconds',
    {
      ...control({ svidTtlMs: 60_000 }),
      ...gateway({ certificateNotAfterMs: nowMs + 40_000 }),
    },
    ['warning: certificates live 1m0s: for tests only'],
  ],
  [
    'no policy',
    { policyRevision: 0, proxies: [proxy, sidecar].map((one) => ({ ...one, policyRevision: 0 })) },
    ['failure: there is no policy, so everything is refused'],
  ],
  [
    'a control plane that was restored from an older state',
    { policyConflict: { names: ['g', 's'], nextRevision: 9 } },
    ['failure: g, s run a policy that this control plane does not know'],
  ],
  [
    'a policy that is slow to arrive',
    { pushLatency: { count: 2, p99Ms: 1_500, maxMs: 1_500 } },
    ['warning: pushed to 2 proxies, p99 1500ms, above 1000ms'],
  ],
  ['a policy that arrives in time', { pushLatency: { count: 2, p99Ms: 15, maxMs: 15 } }, []],
  ['no sidecar at all', { proxies: [proxy], sidecars: [] }, ['failure: no sidecar is connected']],
  [
    'a gateway that is gone',
    gateway({ connected: false }),
    ['failure: no gateway is connected', 'failure: g does not report'],
  ],
  [
    'a second sidecar that is gone',
    { proxies: [proxy, sidecar, { ...sidecar, name: 's2', connected: false }] },
    ['failure: s2 does not report'],
  ],
  [
    'a proxy that refuses the policy',
    gateway({ synced: false, policyRevision: 2 }),
    ['failure: g runs revision 2, not 3'],
  ],
  [
    'a proxy that says why it refuses the policy',
    gateway({ synced: false, policyRevision: 2, policyFault: 'revision 3: kind Novelty is not known' }),
    ['failure: g runs revision 2, not 3'],
  ],
  [
    'a certificate that is over',
    gateway({ certificateNotAfterMs: nowMs - 1 }),
    ['failure: certificate of g has expired at 2025-12-31 23:59 UTC: it takes no client'],
  ],
  [
    'a renewal that is late',
    gateway({ certificateNotAfterMs: nowMs + 300_000 }),
    [
      'failure: certificate of g ends in 5m0s, a tenth of its life is left or less; at 2026-01-01 00:05 UTC it takes no client',
    ],
  ],
  [
    'a renewal that is late by a little',
    node({ certificateNotAfterMs: nowMs + 900_000 }),
    [
      'warning: certificate of s ends in 15m0s, a quarter of its life is left or less; at 2026-01-01 00:15 UTC it lets nobody in to its node',
    ],
  ],
  ['a renewal that is due', node({ certificateNotAfterMs: nowMs + 1_000_000 }), []],
  [
    'a certificate that ended while the proxy was away',
    { proxies: [proxy, sidecar, { ...sidecar, name: 's2', connected: false, certificateNotAfterMs: nowMs - 1 }] },
    [
      'failure: certificate of s2 has expired at 2025-12-31 23:59 UTC: it lets nobody in to its node',
      'failure: s2 does not report',
    ],
  ],
  [
    'a control plane that does not renew its own certificate',
    control({ ownNotAfterMs: nowMs + 300_000 }),
    [
      'failure: certificate of the control plane itself ends in 5m0s, a tenth of its life is left or less; at 2026-01-01 00:05 UTC no proxy can reach it to renew',
    ],
  ],
  [
    'a clock two hours ahead',
    gateway({ clockSkewMs: 2 * hourMs }),
    ['failure: the clock of g is 2h0m ahead of the control plane’s'],
  ],
  [
    'a clock two hours behind',
    node({ clockSkewMs: -2 * hourMs }),
    ['failure: the clock of s is 2h0m behind the control plane’s'],
  ],
  ['a clock that is a little off', gateway({ clockSkewMs: 59_000 }), []],
  ['a clock that is a minute behind', gateway({ clockSkewMs: -60_000 }), []],
  [
    'a clock that is more than a minute behind',
    gateway({ clockSkewMs: -61_000 }),
    ['failure: the clock of g is 1m1s behind the control plane’s'],
  ],
  [
    'a gateway without the revocations in force',
    gateway({ revocationsInForce: false }),
    ['failure: g has not the revocations in force'],
  ],
  ['a sidecar with them', node({ revocationsInForce: true }), []],
  [
    'a sidecar that is thrown out',
    { proxies: [proxy, sidecar, { ...sidecar, name: 's2', connected: false, revoked: 7 }] },
    ['warning: s2 is thrown out by revocation 7'],
  ],
  ['Cassandra down', node({ nodeAway: true }), ['failure: the Cassandra node of s does not answer it']],
  ['a full disk', node({ recordFailed: true }), ['failure: s cannot write its record, so it lets nothing pass']],
  [
    'a record that is not collected',
    node({ recordUncollected: 'the control plane cannot keep it: ENOSPC' }),
    ['warning: the record of s is not collected: the control plane cannot keep it: ENOSPC'],
  ],
  [
    'a report of another version',
    node({ dropped: [{ field: 'sessions', count: 1 }] }),
    ['warning: of what s reports this is not understood: sessions'],
  ],
  [
    'a plain listener',
    gateway({ listeners: [{ address: '127.0.0.1', port: 9043, tls: false, proxyProtocol: false }] }),
    ['warning: g has a plain listener at 127.0.0.1:9043'],
  ],
  [
    'a gateway that nobody is told of',
    gateway({ advertise: [] }),
    ['warning: drivers at other gateways are not told of g'],
  ],
  ['a gateway that is about to stop', gateway({ advertise: [], draining: true }), []],
  ['a sidecar without a link listener', { sidecars: [] }, ['warning: s takes no mesh links']],
]

describe('a status', () => {
  for (const [fault, change, said] of planted) {
    it(`with ${fault}`, () => {
      assert.deepEqual(bad(findingsOf({ ...status, ...change }, nowMs, 7 * dayMs)), said)
    })
  }

  it('was seen with each fault that `check` has words for', () => {
    assert.deepEqual(unsaid('of-status.ts', heard), [])
  })
})

describe('the NGINX of this host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rf-nginx-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const program = (name: string, flags: string): string => {
    const file = join(folder, name)
    writeFileSync(file, `#!/bin/sh\necho 'nginx version: nginx/1.28.0\nconfigure arguments: ${flags}' >&2\n`, {
      mode: 0o700,
    })
    return file
  }

  it('is there with its stream module, or what is missing is said', () => {
    const absent = join(folder, 'none')
    assert.deepEqual(bad(ofNginx(program('good', '--with-stream --with-threads'))), [])
    assert.deepEqual(bad(ofNginx(program('bare', '--with-threads'))), ['failure: nginx 1.28.0 has no stream module'])
    assert.deepEqual(bad(ofNginx(absent)), [`warning: ${absent} is not on this host`])
    assert.deepEqual(unsaid('of-nginx.ts', heard), [])
  })
})
