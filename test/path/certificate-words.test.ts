/**
 * What is wrong with a certificate is said in words, whatever it is, at both doors: in answer to STARTUP, by an error after which every driver tries
 * again. `ringfence identity why` has the cause; a mesh link hears nothing; and who comes beside it is let in.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { optionsEnvelope } from '../../src/cql/encode.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { Opcode } from '../../src/cql/protocol.ts'
import { verifyPeer } from '../../src/identity/certificate.ts'
import { exchangedOf } from '../../src/identity/exchanged.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import type { RefusalCause } from '../../src/identity/refusal.ts'
import type { Revocation, RevokedKind } from '../../src/identity/revoked/revocation.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import type { VerifiedIdentity } from '../../src/identity/verified.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import { partOf, revocationKinds } from '../../src/mesh/revocations.ts'
import { type CertificateShape, makeCertificate } from '../e2e/log-ins/certificates.ts'
import { describe } from './client.ts'
import { RawLink } from './raw-link.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

let world: World
let other: World
let sidecar: RunningSidecar
let gateway: RunningGateway
let silent: RunningGateway

before(async () => {
  world = await World.make()
  other = await World.make('other.local')
  const authentication = [...listenerModes.either!]
  sidecar = await world.sidecar({ authentication: listenerModes.certificate! })
  gateway = await world.gateway([sidecar], { authentication })
  silent = await world.gateway([sidecar], { name: 'silent', authentication, refusal: 'silent' })
})
after(async () => {
  await world.close()
  await other.close()
})

const feeds = () => [sidecar.feed, gateway.feed, silent.feed]
let ids = 0

function revoke(kind: RevokedKind, value: string): Revocation {
  const entry: Revocation = { id: ++ids, kind, value }
  for (const feed of feeds()) {
    const part = feed.value(revocationKinds[partOf(entry.id)]!)
    part.set([...part.current, entry])
  }
  return entry
}

type Shown = Partial<Credentials> & Pick<Credentials, 'bundlePem'>

interface Kind {
  /** Of `spiffe://demo.local/svc/<path>`, where it is one of ours. */
  readonly make: (path: string) => Promise<Shown>
  readonly words: RegExp
  readonly cause: RefusalCause
  /** It is good until that was done. */
  readonly after?: (shown: Credentials, path: string) => void
}

const made = (shape: Partial<CertificateShape>, by = () => world) => {
  return async (path: string): Promise<Shown> => {
    const spiffeId = `spiffe://demo.local/svc/${path}`
    const { bundlePem } = world.ca
    return { bundlePem, ...(await makeCertificate(join(by().folder, 'ca'), { spiffeId, ...shape })) }
  }
}
const good = (path: string): Promise<Credentials> => world.freshCredentials(`svc/${path}`)
const peerOf = ({ leafDer }: Credentials) => verifyPeer(leafDer, Date.now(), 'demo.local').certificate

async function gotForToken(path: string): Promise<Shown> {
  const token = { provider: 'gone', issuer: 'https://gone.example.com', id: 'j', hash: 'ab'.repeat(32), key: undefined }
  const who = { person: undefined, groups: [], role: undefined, claims: {}, methods: ['oidc'], token }
  const spiffeId = parseSpiffeId(`spiffe://demo.local/svc/${path}`)
  const exchanged = exchangedOf(who as unknown as VerifiedIdentity)
  return { ...(await world.ca.mint({ spiffeId, ttlMs: 3_600_000, exchanged })), bundlePem: world.ca.bundlePem }
}

const notGood = { words: /^the client's certificate is not good$/, cause: 'certificate' } as const
const unknown = {
  words: /^the client's certificate is of an authority that is not known here$/,
  cause: 'certificate',
} as const
const thrownOut = (after: Kind['after'] & {}): Kind => ({
  make: good,
  words: /^access was revoked$/,
  cause: 'revoked',
  after,
})

const kinds: Readonly<Record<string, Kind>> = {
  'that has expired': {
    make: made({ beginsMs: -120_000, endsMs: -1_000 }),
    words: /^the client's certificate has expired$/,
    cause: 'certificate',
  },
  'that is not valid yet': {
    make: made({ beginsMs: 120_000 }),
    words: /^the client's certificate is not valid yet, or a clock is wrong$/,
    cause: 'certificate',
  },
  'of the authority of another trust domain': { make: made({}, () => other), ...unknown },
  'signed by its own key': { make: made({ isSelfSigned: true }), ...unknown },
  'for servers only': { make: made({ usages: ['server'] }), ...notGood },
  'of our authority, with a name of another trust domain': {
    make: made({ spiffeId: 'spiffe://other.local/svc/a' }),
    ...notGood,
  },
  'with a name that is no SPIFFE id': { make: made({ spiffeId: 'https://demo.local/svc/a' }), ...notGood },
  'got for a token of a provider that is gone': {
    make: gotForToken,
    words: /^policy has no certificates for tokens of its provider$/,
    cause: 'issuer',
  },
  'whose id is revoked': thrownOut((_, path) => revoke('id', `spiffe://demo.local/svc/${path}`)),
  'whose id is revoked by a pattern': thrownOut((_, path) => revoke('id', `spiffe://demo.local/*/${path}`)),
  'whose serial number is revoked': thrownOut((shown) => revoke('one-certificate', peerOf(shown).serial)),
  'whose key is revoked': thrownOut((shown) => revoke('key', peerOf(shown).key)),
}

/** By DRIVER_NAME, the code that it tries again after. */
const codes = {
  'DataStax Java Driver': '0x0000',
  'DataStax Node.js Driver': '0x0000',
  'DataStax Python Driver': '0x0000',
  'DataStax C/C++ Driver': '0x0000',
  'github.com/gocql/gocql': '0x1001',
} as const
type DriverName = keyof typeof codes

const ready = `opcode ${Opcode.READY}`
let addresses = 0
const nextAddress = (): string => `127.0.79.${++addresses}`

async function told(port: number, shown: Shown, localAddress: string, driverName: DriverName): Promise<string> {
  const client = await world.connect(port, undefined, { credentials: shown, localAddress, driverName })
  const answer = await client.startup().then(describe, (reason: Error) => reason.message)
  client.close()
  return answer
}

const causesFrom = (from: string, { report }: RunningGateway['feed']): string[] =>
  (report!().refusals ?? []).flatMap((one) =>
    one.address === from ? Array.from({ length: one.count }, () => one.cause) : [],
  )

const doors = { 'at a sidecar': () => sidecar, 'through a gateway': () => gateway }

for (const [door, at] of Object.entries(doors)) {
  suite(`a certificate ${door}`, () => {
    for (const [name, { make, words, cause, after: done }] of Object.entries(kinds)) {
      it(`${name} is refused in words`, async () => {
        const { port, feed } = at()
        const path = `p${++ids}`
        const [shown, neighbour] = [await make(path), await good(`${path}-neighbour`)]
        if (done !== undefined) {
          assert.equal(await told(port, shown, nextAddress(), 'DataStax Java Driver'), ready)
          done(shown as Credentials, path)
        }
        feed.report?.()
        const from = nextAddress()
        for (const [driver, code] of Object.entries(codes) as [DriverName, string][]) {
          const [, given, text = ''] = /^(0x\d{4}) (.*)$/.exec(await told(port, shown, from, driver)) ?? []
          assert.equal(given, code, driver)
          assert.match(text, words, driver)
        }
        const known = feed.report!().refusals ?? []
        const causes = known.flatMap((one) => (one.address === from ? [one.cause] : []))
        assert.deepEqual([...new Set(causes)], [cause])
        // As the listener says.
        assert.match(await told(silent.port, shown, nextAddress(), 'DataStax Java Driver'), /^closed/)
        const client = await world.client(port, 'neighbour', { credentials: neighbour, localAddress: from })
        assert.match(
          describe(await client.ask(queryEnvelope(client.version, 1, 'SELECT * FROM shop.items'))),
          /^(?!closed)/,
        )
        client.close()
      })
    }
  })
}

for (const [door, at] of Object.entries(doors)) {
  suite(`who asks for nothing ${door}`, () => {
    for (const [name, { make, cause, after: done }] of Object.entries(kinds)) {
      it(`and shows a certificate ${name}, is known of when the connection is over, once`, async () => {
        const { port, feed } = at()
        const path = `p${++ids}`
        const shown = await make(path)
        done?.(shown as Credentials, path)
        feed.report?.()
        const from = nextAddress()
        const client = await world.connect(port, undefined, { credentials: shown, localAddress: from })
        // It is through with TLS then.
        await client.ask(optionsEnvelope(client.version, 1))
        client.close()
        const known: string[] = []
        await until('it is known of', () => {
          known.push(...causesFrom(from, feed))
          return known.length > 0
        })
        assert.deepEqual(known, [cause])
        // Who has asked is written down then, and not again at the end.
        assert.match(await told(port, shown, from, 'DataStax Java Driver'), /^0x0000/)
        assert.deepEqual(causesFrom(from, feed), [cause])
        assert.deepEqual(causesFrom(from, feed), [])
      })
    }
  })
}

suite('a certificate of a gateway', () => {
  it('that is revoked is told nothing on a mesh link, and is known of', async () => {
    const credentials = await world.freshCredentials('ringfence/gateway/stolen')
    const open = await RawLink.open(sidecar.port, credentials)
    await until('it has its link', () => open.frames.length > 0)
    revoke('id', 'spiffe://demo.local/ringfence/gateway/stolen')
    await until('its link is ended', () => open.closed)
    sidecar.feed.report?.()
    const again = await RawLink.open(sidecar.port, credentials)
    await until('it is shut out', () => again.closed)
    assert.deepEqual(again.frames, [])
    const causes = (sidecar.feed.report!().refusals ?? []).map((one) => one.cause)
    assert.deepEqual(causes, ['revoked'])
  })
})
