/** Every step of a life, for what renews itself and for what does not; and the files and providers that `check` looks at. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { findNginx } from '../commands/nginx.ts'
import type { Finding } from './finding.ts'
import { ofLife } from './life.ts'
import { unsaid } from './messages.fixture.ts'
import { nginxFiles, ofFiles } from './of-files.ts'
import { ofProviders } from './of-providers.ts'

const dayMs = 86_400_000
const said = (findings: readonly Finding[]): string[] => findings.map(({ level, text }) => `${level}: ${text}`)

describe('a life', () => {
  const nowMs = Date.UTC(2026, 0, 1)
  const steps: readonly (readonly [leftOfHundred: number, itself: string, byHand: string, words: string])[] = [
    [100, 'ok', 'ok', ''],
    [51, 'ok', 'ok', ''],
    [50, 'ok', 'warning', 'half'],
    [26, 'ok', 'warning', 'half'],
    [25, 'warning', 'warning', 'a quarter'],
    [11, 'warning', 'warning', 'a quarter'],
    [10, 'failure', 'warning', 'a tenth'],
    [1, 'failure', 'warning', 'a tenth'],
    [0, 'failure', 'failure', 'has expired'],
    [-5, 'failure', 'failure', 'has expired'],
  ]
  const life = { category: 'c', what: 'it', lifeMs: 100 * dayMs, breaks: 'all stops', hint: 'do' }

  for (const [left, itself, byHand, words] of steps) {
    it(`with ${left} % left`, () => {
      for (const [renewsItself, level] of [
        [true, itself],
        [false, byHand],
      ] as const) {
        const found = ofLife({ ...life, renewsItself, notAfterMs: nowMs + left * dayMs }, nowMs)
        assert.equal(found.level, level)
        if (level === 'ok') continue
        assert.match(found.text, new RegExp(words))
        // What will break, and when.
        assert.match(found.text, /all stops/)
        assert.match(found.text, /20\d\d-\d\d-\d\d 00:00 UTC/)
        assert.equal(found.hint, 'do')
      }
    })
  }

  it('of which the next is due later than at half is late from then on only', () => {
    // An authority: the next one is active when a sixth is left.
    const own = { ...life, renewsItself: true, lateBelow: 0.16 }
    for (const [left, level] of [
      [60, 'ok'],
      [49, 'ok'],
      [25, 'ok'],
      [17, 'ok'],
      [15, 'warning'],
      [11, 'warning'],
      [10, 'failure'],
      [0, 'failure'],
    ] as const)
      assert.equal(ofLife({ ...own, notAfterMs: nowMs + left * dayMs }, nowMs).level, level, `${left} %`)
  })

  it('of which only the end is known is warned of by its time', () => {
    const own = { ...life, lifeMs: undefined, renewsItself: false, warnBelowMs: 7 * dayMs }
    assert.equal(ofLife({ ...own, notAfterMs: nowMs + 8 * dayMs }, nowMs).level, 'ok')
    assert.equal(ofLife({ ...own, notAfterMs: nowMs + 6 * dayMs }, nowMs).level, 'warning')
  })
})

describe('certificates on this host', () => {
  const heard: Finding[] = []
  let folder: string
  let ca: CertificateAuthority

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-life-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  async function pem(name: string, ttlMs: number): Promise<string> {
    const { keyPem, certificatePem } = await ca.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/web/edge1'),
      ttlMs,
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
    })
    const path = join(folder, name)
    writeFileSync(path, keyPem + certificatePem)
    return path
  }

  it('in files are judged by their own life, whoever renews them', async () => {
    const hour = await pem('hour.pem', 3_600_000)
    const month = await pem('month.pem', 20 * dayMs)
    const files = [hour, month].map((path) => ({ path, of: 'haproxy' }))
    const at = (ms: number): string[] => {
      const found = ofFiles(files, Date.now() + ms)
      heard.push(...found)
      return said(found).filter((text) => !text.startsWith('ok'))
    }
    assert.deepEqual(at(0), [])
    assert.deepEqual(at(31 * 60_000), [], 'an hour’s is renewed at about its half')
    assert.match(
      at(50 * 60_000).join(),
      /^warning: certificate in \S+hour.pem ends in \d+m.*a quarter.*clients of haproxy refuse it$/,
    )
    assert.match(at(57 * 60_000).join(), /^failure: certificate in \S+hour.pem ends in \d+m.*a tenth/)
    assert.match(at(61 * 60_000).join(), /^failure: certificate in \S+hour.pem has expired at /)
    assert.match(at(11 * dayMs).join(), /warning: certificate in \S+month.pem ends in 8d.*half of its life/)
    assert.match(at(29.9 * dayMs).join(), /authority 1 in \S+month.pem ends in/)
  })

  it('that cannot be read, or are none, are told', () => {
    const none = join(folder, 'none.pem')
    writeFileSync(none, 'nothing')
    const found = ofFiles(
      [
        { path: join(folder, 'absent'), of: 'x' },
        { path: none, of: 'x' },
      ],
      Date.now(),
    )
    heard.push(...found)
    assert.deepEqual(
      found.map(({ level }) => level),
      ['warning', 'failure'],
    )
  })

  const skip = findNginx('nginx') === undefined && process.env.CI !== 'true' ? 'nginx is not on this host' : false
  it('are found in the configuration of a real NGINX, with all that it includes', { skip }, async () => {
    const first = await pem('first.pem', 3_600_000)
    const second = await pem('second.pem', 3_600_000)
    const config = join(folder, 'nginx.conf')
    const server = (path: string): string =>
      `server { listen 127.0.0.1:1 ssl; ssl_certificate ${path}; ssl_certificate_key ${path}; }`
    writeFileSync(join(folder, 'more.conf'), server('second.pem'))
    const temps = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/t;`)
    writeFileSync(
      config,
      `pid ${folder}/p; events {} http { access_log off; ${temps.join(' ')}\n${server(`"${first}"`).replaceAll('; ', ';\n')}\ninclude more.conf; }`,
    )
    // Each directive on a line of its own, as people write them.
    writeFileSync(join(folder, 'more.conf'), server('second.pem').replaceAll('; ', ';\n').replace('{ ', '{\n'))
    const { files, findings } = nginxFiles('nginx', config)
    heard.push(...findings)
    assert.deepEqual(findings, [])
    assert.deepEqual(files, [
      { path: first, of: 'NGINX' },
      { path: second, of: 'NGINX' },
    ])
    const broken = nginxFiles('nginx', join(folder, 'absent.conf'))
    heard.push(...broken.findings)
    assert.deepEqual(broken.files, [])
    assert.match(said(broken.findings).join(), /^warning: the certificates of NGINX were not looked at: /)
    assert.deepEqual(unsaid('of-files.ts', heard), [])
  })

  it('of an identity provider: its server’s, and the roots of caPem', async () => {
    const own = await ca.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/web/idp'),
      ttlMs: 20 * dayMs,
      dnsNames: ['localhost'],
    })
    const { publicKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
      'sign',
      'verify',
    ])
    const jwk = { ...(await crypto.subtle.exportKey('jwk', publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
    const server = createServer({ key: own.keyPem, cert: own.certificatePem }, (_request, response) =>
      response.end(JSON.stringify({ keys: [jwk] })),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const policy = (to: number): string => `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec:
  type: oidc
  issuer: https://localhost:${to}
  audiences: [ringfence]
  jwks: https://localhost:${to}/keys
  allowPrivate: true
  caPem: |
${ca.bundlePem.replaceAll(/^/gm, '    ')}
`
    const providers: Finding[] = []
    try {
      for (const [atMs, expected] of [
        [0, [/^ok: corp \(https:\/\/localhost:\d+\) has 1 keys$/, /^ok: certificate of localhost ends in 19d/]],
        [
          11 * dayMs,
          [/^ok: corp/, /^warning: certificate of localhost ends in 8d.*half.*keys of corp are fetched no more/],
        ],
        [
          3_640 * dayMs,
          [
            /^warning: a root of caPem of corp ends in .*a tenth/,
            /^ok: corp/,
            /^failure: certificate of localhost has expired/,
          ],
        ],
      ] as const) {
        const found = await ofProviders(policy(port), Date.now() + atMs)
        providers.push(...found)
        assert.equal(found.length, expected.length, said(found).join('\n'))
        for (const [index, pattern] of expected.entries()) assert.match(said(found)[index]!, pattern)
      }
    } finally {
      server.close()
    }
    const away = await ofProviders(policy(port), Date.now())
    providers.push(...away)
    assert.match(said(away).join(), /^warning: keys of corp cannot be fetched from here: /)
    assert.deepEqual(await ofProviders('', Date.now()), [])
    assert.deepEqual(unsaid('of-providers.ts', providers), [])
  })
})
