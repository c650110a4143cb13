import assert from 'node:assert/strict'
import { createPrivateKey, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ManualClock } from '../base/clock.fixture.ts'
import { RingfenceError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { CertificateAuthority } from '../control/ca.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { credentialsOf } from '../mesh/credentials.ts'
import { certificatesOf } from './chain.ts'
import {
  type Passport,
  type PassportCheck,
  type PassportRequest,
  signPassport,
  verifyPassport as verifyNowOrLater,
} from './passport.ts'
import type { Evidence } from './proofs/proof.ts'
import { Providers } from './providers/in-force.ts'
import { Revocations } from './revoked/revocations.ts'
import { parseSpiffeId, type SpiffeId } from './spiffe.ts'

const clock = new ManualClock(Date.UTC(2026, 0, 15, 12))
const nowMs = clock.now()
const sidecar = parseSpiffeId('spiffe://demo.local/ringfence/sidecar/c/dc1/n1')
const orders = parseSpiffeId('spiffe://demo.local/svc/orders')
const hourMs = 3_600_000
let folder: string
let ca: CertificateAuthority
let gateway: Credentials
let client: Credentials

async function mint(
  authority: CertificateAuthority,
  id: string,
  ttlMs = hourMs,
  listenerIdentities: readonly string[] = [],
): Promise<Credentials> {
  const { certificatePem, keyPem } = await authority.mint({ spiffeId: parseSpiffeId(id), ttlMs, listenerIdentities })
  return credentialsOf(certificatePem, keyPem, authority.bundlePem)
}

/** What a client with these certificates shows. */
function shownBy({ spiffeId, certificatePem }: Credentials): { subject: SpiffeId; evidence: Evidence } {
  return { subject: spiffeId, evidence: { kind: 'svid', chain: certificatesOf(certificatePem).map(({ raw }) => raw) } }
}

/** What the plain listener of a gateway shows. */
function listening(id: string): { subject: SpiffeId; evidence: Evidence } {
  return { subject: parseSpiffeId(id), evidence: { kind: 'listener', chain: [] } }
}

function requestOf(change: Partial<PassportRequest> = {}): PassportRequest {
  return {
    ...shownBy(client),
    clientAddress: '192.0.2.7',
    clientPort: 40_000,
    driverName: 'DataStax Java driver',
    expiresAtMs: client.notAfterMs,
    audience: sidecar,
    ...change,
  }
}

function checkOf(change: Partial<PassportCheck> = {}): PassportCheck {
  return {
    gatewayLeafDer: gateway.leafDer,
    trust: {
      trustDomain: 'demo.local',
      bundlePem: ca.bundlePem,
      providers: Providers.none,
      revocations: Revocations.none,
    },
    nowMs,
    audience: sidecar,
    ...change,
  }
}

function signed(change: Partial<PassportRequest> = {}, by: Credentials = gateway): string {
  return signPassport(requestOf(change), { spiffeId: by.spiffeId, key: createPrivateKey(by.keyPem) }, nowMs)
}

/** A token with claims of our choice, rightly signed by the gateway: what a gateway that was taken over could make. */
function forged(
  change: (claims: Record<string, unknown>) => void,
  header: object = { alg: 'ES256', typ: 'ringfence-passport' },
): string {
  const claims = JSON.parse(Buffer.from(signed().split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >
  change(claims)
  const input = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const key = { key: createPrivateKey(gateway.keyPem), dsaEncoding: 'ieee-p1363' } as const
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
}

/** Both kinds are verified at once. */
function verifyPassport(token: string, check: PassportCheck): Passport {
  const passport = verifyNowOrLater(token, check)
  assert.ok(!(passport instanceof Promise))
  return passport
}

function refuses(token: string, wording: RegExp, check: Partial<PassportCheck> = {}): void {
  assert.throws(
    () => verifyPassport(token, checkOf(check)),
    (error: unknown) => error instanceof RingfenceError && error.code === 'IDENTITY' && wording.test(error.message),
  )
}

describe('passport', () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ringfence-passport-'))
    ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', clock)
    gateway = await mint(ca, 'spiffe://demo.local/ringfence/gateway/g1')
    client = await mint(ca, 'spiffe://demo.local/user/okta/alice')
  })
  after(() => rmSync(folder, { recursive: true }))

  it('carries a client whose certificates verify, until its end', () => {
    const passport = verifyPassport(signed(), checkOf())
    assert.equal(passport.identity.subject, client.spiffeId)
    assert.equal(passport.identity.person, 'okta/alice')
    assert.equal(passport.identity.methods[0], 'certificate')
    assert.equal(passport.identity.gateway, gateway.spiffeId)
    assert.equal(passport.identity.expiresAtMs, client.notAfterMs)
    assert.deepEqual(
      [passport.clientAddress, passport.clientPort, passport.driverName],
      ['192.0.2.7', 40_000, 'DataStax Java driver'],
    )
  })

  it('ends earlier where the gateway says so, never later than the certificate', () => {
    assert.equal(verifyPassport(signed({ expiresAtMs: nowMs + 5_000 }), checkOf()).identity.expiresAtMs, nowMs + 5_000)
    refuses(signed({ expiresAtMs: client.notAfterMs + 1_000 }), /outlive/)
    assert.throws(() => signed({ expiresAtMs: Number.POSITIVE_INFINITY }), /no end/)
  })

  it('carries a plain listener’s identity only where the gateway’s certificate names it', async () => {
    const named = await mint(ca, gateway.spiffeId, hourMs, [orders, 'spiffe://demo.local/svc/backup'])
    const claim = (id: string, by: Credentials): string => signed({ ...listening(id), expiresAtMs: nowMs + hourMs }, by)
    const { identity } = verifyPassport(claim(orders, named), checkOf({ gatewayLeafDer: named.leafDer }))
    assert.deepEqual([identity.methods[0], identity.subject], ['listener', orders])
    refuses(claim(orders, gateway), /may not speak for/)
    for (const id of ['svc/order', 'svc/orders/x', 'user/okta/cto', 'cassandra/node1', 'ringfence/sidecar/c/dc1/n1']) {
      const wanted = `spiffe://demo.local/${id}`
      refuses(claim(wanted, named), /may not speak for/, { gatewayLeafDer: named.leafDer })
    }
    // Not even by an authority that was persuaded: the mesh's own ids, and those of another trust domain.
    const reserved = await mint(ca, gateway.spiffeId, hourMs, [sidecar, 'spiffe://other/svc/x'])
    for (const id of [sidecar, 'spiffe://other/svc/x']) {
      refuses(claim(id, reserved), /may not speak for/, { gatewayLeafDer: reserved.leafDer })
    }
  })

  it('does not live as long as a gateway would like', async () => {
    const named = await mint(ca, gateway.spiffeId, 2 * hourMs, [orders])
    const inAYear = signed({ ...listening(orders), expiresAtMs: nowMs + 365 * 24 * hourMs }, named)
    const check = checkOf({ gatewayLeafDer: named.leafDer })
    assert.equal(verifyPassport(inAYear, check).identity.expiresAtMs, named.notAfterMs)
    const longLived = await mint(ca, gateway.spiffeId, 3 * 24 * hourMs, [orders])
    const long = signed({ ...listening(orders), expiresAtMs: nowMs + 365 * 24 * hourMs }, longLived)
    const { identity } = verifyPassport(long, checkOf({ gatewayLeafDer: longLived.leafDer }))
    assert.equal(identity.expiresAtMs, nowMs + limits.sessionMsMax)
    const client9 = await mint(ca, 'spiffe://demo.local/svc/nine', 9 * hourMs)
    const passport = verifyPassport(signed({ ...shownBy(client9), expiresAtMs: client9.notAfterMs }), checkOf())
    assert.equal(passport.identity.expiresAtMs, gateway.notAfterMs)
  })

  it('shows no certificate of the mesh’s own parts, which every gateway has seen', async () => {
    for (const id of [
      sidecar,
      'spiffe://demo.local/ringfence/gateway/g2',
      'spiffe://demo.local/ringfence/control-plane/c',
    ]) {
      const part = await mint(ca, id)
      refuses(signed(shownBy(part)), /may not speak for/)
    }
  })

  it('is refused with any one of its claims forged, rightly signed', () => {
    const forgeries: Record<string, readonly unknown[]> = {
      iss: [sidecar, orders, '', 'x', 7],
      sub: [orders, sidecar, 'spiffe://other/user/okta/alice', 'spiffe://demo.local/user/okta/alice/x', '', null],
      aud: [orders, gateway.spiffeId, 'spiffe://demo.local/ringfence/sidecar/c/dc1/n2', '', ['x']],
      iat: [nowMs / 1000 - 61, nowMs / 1000 + 61, 0, -1, 1.5, '1'],
      exp: [nowMs / 1000, 0, -1, client.notAfterMs / 1000 + 1, Number.MAX_SAFE_INTEGER, 1e300, null],
      jti: ['', 'x', 7],
      evidence: ['listener', 'password', 'passport', ''],
      chain: [
        [],
        [client.leafDer.toString('base64')],
        ['AAAA'],
        ['!'],
        [gateway.leafDer.toString('base64')],
        'x',
        [[]],
      ],
      client: [
        { address: '', port: 1 },
        { address: 'orders.example', port: 1 },
        { address: '192.0.2.7\n', port: 1 },
        { address: '192.0.2.7, 10.0.0.1', port: 1 },
        { address: '1'.repeat(65), port: 1 },
        { address: '192.0.2.7', port: 65_536 },
        { address: '192.0.2.7' },
        { address: '192.0.2.7', port: 1, more: 1 },
      ],
      driver: ['x'.repeat(257), 7],
      extra: [1],
    }
    for (const [claim, values] of Object.entries(forgeries)) {
      for (const value of values) {
        const token = forged((claims) => (claims[claim] = value))
        assert.throws(
          () => verifyPassport(token, checkOf()),
          { code: 'IDENTITY' },
          `${claim}: ${JSON.stringify(value)}`,
        )
      }
      if (claim === 'driver' || claim === 'extra') continue
      refuses(
        forged((claims) => delete claims[claim]),
        /not understood/,
      )
    }
    for (const address of ['unix', '2001:db8::1', '::ffff:192.0.2.7', 'fe80::1%eth0', '10.0.0.1']) {
      const token = forged((claims) => (claims.client = { address, port: 1 }))
      assert.equal(verifyPassport(token, checkOf()).clientAddress, address)
    }
  })

  it('does not let a gateway make up a caller', async () => {
    refuses(
      forged((claims) => (claims.sub = orders)),
      /another than its evidence/,
    )
    refuses(
      forged((claims) => (claims.chain = [])),
      /no certificate is shown/,
    )
    refuses(
      forged((claims) => (claims.evidence = 'listener')),
      /not claimed/,
    )
    const otherCa = await CertificateAuthority.open(join(folder, 'other'), 'demo.local', clock)
    const stranger = await mint(otherCa, 'spiffe://demo.local/user/okta/alice')
    refuses(signed({ ...shownBy(stranger), expiresAtMs: nowMs + 1_000 }), /trusted root/)
    // A leaf is no authority, so what it signs leads nowhere; and a chain without its middle does not either.
    refuses(signed({ evidence: { kind: 'svid', chain: [client.leafDer] } }), /trusted root/)
  })

  it('refuses a client’s certificate that has expired since', async () => {
    const brief = await mint(ca, 'spiffe://demo.local/svc/brief', 10_000)
    const token = signed({ ...shownBy(brief), expiresAtMs: nowMs + 10_000 })
    assert.ok(verifyPassport(token, checkOf()))
    refuses(token, /expired/, { nowMs: nowMs + 11_000 })
  })

  it('is for one sidecar, one gateway and one moment', async () => {
    refuses(signed({ audience: parseSpiffeId('spiffe://demo.local/ringfence/sidecar/c/dc1/n2') }), /another sidecar/)
    const other = await mint(ca, 'spiffe://demo.local/ringfence/gateway/g2')
    refuses(signed({}, other), /not signed by/)
    refuses(
      forged((claims) => (claims.iss = other.spiffeId)),
      /issued by another/,
    )
    refuses(signed(), /too old/, { nowMs: nowMs + 61_000 })
    refuses(signed(), /too old/, { nowMs: nowMs - 61_000 })
    const workload = await mint(ca, 'spiffe://demo.local/svc/gateway')
    refuses(signed({}, workload), /no gateway/, { gatewayLeafDer: workload.leafDer })
  })

  it('refuses what is not quite a passport', () => {
    const token = signed()
    const [header = '', payload = '', signature = ''] = token.split('.')
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'ringfence-passport' })).toString('base64url')
    refuses(`${none}.${payload}.`, /not a passport/)
    refuses(`${header}.${payload}.`, /not signed/)
    refuses(`${header}.${payload}.${signature}=`, /not signed/)
    refuses(`${token}.x`, /not a passport/)
    refuses('', /not a passport/)
    refuses('x'.repeat(limits.passportBytesMax + 1), /passportBytesMax/)
    refuses(
      forged(() => {}, { alg: 'ES256', typ: 'JWT' }),
      /not a passport/,
    )
    refuses(
      forged(() => {}, { alg: 'ES256', typ: 'ringfence-passport', crit: ['x'] }),
      /not a passport/,
    )
    refuses(
      forged((claims) => (claims.admin = true)),
      /not understood/,
    )
    const changed = Buffer.from(payload, 'base64url')
    changed[20]! ^= 1
    refuses(`${header}.${changed.toString('base64url')}.${signature}`, /not signed/)
  })
})
