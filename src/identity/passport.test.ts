import assert from 'node:assert/strict'
import { createPrivateKey, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Credentials } from '../agent/api.ts'
import { credentialsOf } from '../agent/credentials.ts'
import { ManualClock } from '../base/clock.ts'
import { RingfenceError } from '../base/errors.ts'
import { CertificateAuthority } from '../control/ca.ts'
import { certificatesOf } from './chain.ts'
import { type PassportCheck, type PassportRequest, signPassport, verifyPassport } from './passport.ts'
import { parseSpiffeId } from './spiffe.ts'

const clock = new ManualClock(Date.UTC(2026, 0, 15, 12))
const nowMs = clock.now()
const sidecar = parseSpiffeId('spiffe://demo.local/ringfence/sidecar/c/dc1/n1')
const orders = parseSpiffeId('spiffe://demo.local/svc/orders')
const hourMs = 3_600_000
let folder: string
let ca: CertificateAuthority
let gateway: Credentials
let client: Credentials

async function mint(authority: CertificateAuthority, id: string, ttlMs = hourMs): Promise<Credentials> {
  const { certificatePem, keyPem } = await authority.mint({ spiffeId: parseSpiffeId(id), ttlMs })
  return credentialsOf(certificatePem, keyPem, authority.bundlePem)
}

function intermediatesOf({ certificatePem }: Credentials): Buffer[] {
  return certificatesOf(certificatePem)
    .slice(1)
    .map(({ raw }) => raw)
}

function requestOf(change: Partial<PassportRequest> = {}): PassportRequest {
  return {
    evidence: { kind: 'svid', leafDer: client.leafDer, intermediatesDer: intermediatesOf(client) },
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
    bundlePem: ca.bundlePem,
    nowMs,
    audience: sidecar,
    mayClaim: () => false,
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
    assert.equal(passport.identity.spiffeId, client.spiffeId)
    assert.equal(passport.identity.person, 'okta/alice')
    assert.equal(passport.identity.evidence, 'passport')
    assert.equal(passport.identity.gateway, gateway.spiffeId)
    assert.equal(passport.identity.notAfterMs, client.notAfterMs)
    assert.deepEqual(
      [passport.clientAddress, passport.clientPort, passport.driverName],
      ['192.0.2.7', 40_000, 'DataStax Java driver'],
    )
  })

  it('ends earlier where the gateway says so, never later than the certificate', () => {
    assert.equal(verifyPassport(signed({ expiresAtMs: nowMs + 5_000 }), checkOf()).identity.notAfterMs, nowMs + 5_000)
    assert.throws(() => signed({ expiresAtMs: client.notAfterMs + 1_000 }), /outlive/)
    refuses(
      forged((claims) => (claims.exp = client.notAfterMs / 1000 + 1)),
      /outlive/,
    )
    assert.throws(() => signed({ expiresAtMs: Number.POSITIVE_INFINITY }), /no end/)
  })

  it('carries a plain listener’s identity only where the gateway may claim it', () => {
    const token = signed({ evidence: { kind: 'listener', spiffeId: orders }, expiresAtMs: nowMs + hourMs })
    const mayClaim: PassportCheck['mayClaim'] = (claimed, by) => claimed === orders && by === gateway.spiffeId
    const { identity } = verifyPassport(token, checkOf({ mayClaim }))
    assert.equal(identity.evidence, 'listener')
    assert.equal(identity.spiffeId, orders)
    refuses(token, /may not speak for/)
    refuses(signed({ evidence: { kind: 'listener', spiffeId: client.spiffeId } }), /may not speak for/, { mayClaim })
    // Not even by configuration: the mesh's own ids, and those of another trust domain.
    refuses(signed({ evidence: { kind: 'listener', spiffeId: sidecar } }), /may not speak for/, {
      mayClaim: () => true,
    })
    const foreign = parseSpiffeId('spiffe://other/svc/x')
    refuses(signed({ evidence: { kind: 'listener', spiffeId: foreign } }), /may not speak for/, {
      mayClaim: () => true,
    })
  })

  it('does not let a gateway make up a caller', async () => {
    refuses(
      forged((claims) => (claims.sub = orders)),
      /another than its certificate/,
    )
    refuses(
      forged((claims) => (claims.chain = [])),
      /shows no certificate/,
    )
    refuses(
      forged((claims) => (claims.evidence = 'listener')),
      /does not claim/,
      { mayClaim: () => true },
    )
    const otherCa = await CertificateAuthority.open(join(folder, 'other'), 'demo.local', clock)
    const stranger = await mint(otherCa, 'spiffe://demo.local/user/okta/alice')
    const evidence = { kind: 'svid', leafDer: stranger.leafDer, intermediatesDer: intermediatesOf(stranger) } as const
    refuses(signed({ evidence, expiresAtMs: nowMs + 1_000 }), /trusted root/)
    // A leaf is no authority, so what it signs leads nowhere; and a chain without its middle does not either.
    const cut = { kind: 'svid', leafDer: client.leafDer, intermediatesDer: [] } as const
    refuses(signed({ evidence: cut }), /trusted root/)
  })

  it('refuses a client’s certificate that has expired since', async () => {
    const brief = await mint(ca, 'spiffe://demo.local/svc/brief', 10_000)
    const evidence = { kind: 'svid', leafDer: brief.leafDer, intermediatesDer: intermediatesOf(brief) } as const
    const token = signed({ evidence, expiresAtMs: nowMs + 10_000 })
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
    refuses('x'.repeat(40_000), /passportBytesMax/)
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
