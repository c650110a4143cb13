/**
 * Somebody is thrown out, at both doors: by each of the ways in which that can be said, while a session is open, with what it prepared, with a page,
 * when it comes again. And the nearest neighbour of each goes on as if nothing had happened.
 */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../../src/control/mesh.fixture.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { verifyPeer } from '../../src/identity/certificate.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes } from '../../src/identity/proofs/index.ts'
import type { Revocation, RevokedKind } from '../../src/identity/revoked/revocation.ts'
import type { Credentials } from '../../src/mesh/credentials.ts'
import type { FakeFeed } from '../../src/mesh/feed.fixture.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { partOf, revocationKinds } from '../../src/mesh/revocations.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, until, World } from './world.ts'

const issuer = 'https://id.example.com/realms/corp'
const keys = [makeKey('k1'), makeKey('k2')] as const
const policyText = `
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: ${issuer}, audiences: [ringfence], userName: claimed }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all }
spec:
  subjects: [{ spiffeId: "spiffe://demo.local/*" }, { person: "corp/*" }]
  keyspaces: [shop]
  operations: [ALL]
---
apiVersion: ringfence.dev/v1alpha1
kind: Impersonation
metadata: { name: by-name }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/web }], impersonate: [{ person: "corp/*" }] }
`
const select = 'SELECT * FROM shop.items'
/** It ends within a second of its in-flight requests, and machines are busy. */
const endsWithinMs = 4_000

let world: World
let ids = 0
const revocation = (kind: RevokedKind, value: string, more: Partial<Revocation> = {}): Revocation => ({
  id: ++ids,
  kind,
  value,
  ...more,
})

interface Place {
  readonly sidecar: RunningSidecar
  readonly gateway: RunningGateway | undefined
  readonly port: number
  readonly feeds: readonly FakeFeed[]
}

before(async () => {
  world = await World.make()
})
after(() => world.close())

const doors = ['a sidecar', 'a gateway'] as const
let places = 0

async function place(door: (typeof doors)[number]): Promise<Place> {
  const authentication = [...listenerModes.either!]
  const name = `revoked${++places}`
  const sidecar = await world.sidecar({ name, policy: policyText, authentication })
  const gateway =
    door === 'a sidecar' ? undefined : await world.gateway([sidecar], { name: `gateway-${name}`, authentication })
  gateway?.feed.apply(policyText)
  const keySets = [{ provider: 'corp', issuer, keys: keys.map(({ jwk }) => jwk), fetchedAtMs: Date.now() }]
  const feeds = [sidecar.feed, ...(gateway === undefined ? [] : [gateway.feed])]
  for (const feed of feeds) feed.value(pushedKinds.keySets).set(keySets)
  useTxnKeys(sidecar)
  return { sidecar, gateway, port: (gateway ?? sidecar).port, feeds }
}

function push(feeds: readonly FakeFeed[], entry: Revocation): void {
  for (const feed of feeds) {
    const kind = revocationKinds[partOf(entry.id)]!
    feed.value(kind).set([...feed.value(kind).current, entry])
  }
}

function takeBack(feeds: readonly FakeFeed[], entry: Revocation): void {
  for (const feed of feeds) {
    const kind = revocationKinds[partOf(entry.id)]!
    feed.value(kind).set(feed.value(kind).current.filter(({ id }) => id !== entry.id))
  }
}

/** Comes in anew each time that it is called. */
type ComesIn = () => Promise<RawClient>

interface Shown {
  readonly comesIn: ComesIn
  /** What is known of it. */
  readonly certificate?: Credentials
}

async function byCertificate(port: number, path: string): Promise<Shown> {
  const certificate = await world.freshCredentials(path)
  return { certificate, comesIn: () => world.client(port, path, { credentials: certificate }) }
}

let tokens = 0
async function byToken(port: number, sub: string, key: (typeof keys)[number], jti: string): Promise<Shown> {
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: issuer, aud: 'ringfence', sub, iat: now - 5, exp: now + 600, jti, n: ++tokens }
  const token = signed(key, claims)
  return {
    comesIn: async () => {
      const client = await world.connect(port, undefined, { credentials: { bundlePem: world.ca.bundlePem } })
      assert.equal(headerOpcode(await client.startup(), 0), Opcode.AUTHENTICATE)
      const answer = await client.logIn(sub, token)
      if (headerOpcode(answer, 0) !== Opcode.AUTH_SUCCESS) throw new Error(describe(answer))
      return client
    },
  }
}

interface Case {
  readonly name: string
  /** Who is thrown out, and the neighbour. */
  readonly open: (port: number) => Promise<readonly [Shown, Shown]>
  readonly revokes: (meant: Shown) => Revocation
}

const peerOf = ({ certificate }: Pick<Shown, 'certificate'>) =>
  verifyPeer(certificate!.leafDer, Date.now(), 'demo.local')
const shaOf = (meant: Shown, what: 'serial' | 'key'): string => peerOf(meant).certificate[what]
const twoCertificates = (path: string) => async (port: number) =>
  [await byCertificate(port, path), await byCertificate(port, path)] as const

const cases: readonly Case[] = [
  {
    name: 'a SPIFFE id',
    open: async (port) => [await byCertificate(port, 'svc/alice'), await byCertificate(port, 'svc/alice2')],
    revokes: () => revocation('id', 'spiffe://demo.local/svc/alice'),
  },
  {
    name: 'a pattern',
    open: async (port) => [await byCertificate(port, 'jobs/a/b'), await byCertificate(port, 'job/a')],
    revokes: () => revocation('id', 'spiffe://demo.local/jobs/*'),
  },
  {
    name: 'one certificate by its serial number, beside another of the same id',
    open: twoCertificates('svc/serial'),
    revokes: (meant) => revocation('one-certificate', shaOf(meant, 'serial')),
  },
  {
    name: 'a key, beside another of the same id',
    open: twoCertificates('svc/key'),
    revokes: (meant) => revocation('key', shaOf(meant, 'key')),
  },
  {
    name: 'a person',
    open: async (port) => [await byToken(port, 'alice', keys[0], 'p1'), await byToken(port, 'alicia', keys[0], 'p2')],
    revokes: () => revocation('person', 'corp/alice'),
  },
  {
    name: 'a token by its id, beside another of the same person',
    open: async (port) => [await byToken(port, 'bob', keys[0], 'j1'), await byToken(port, 'bob', keys[0], 'j2')],
    revokes: () => revocation('one-token', 'j1'),
  },
  {
    name: 'a key of an issuer, beside another key of it',
    open: async (port) => [await byToken(port, 'carol', keys[0], 'c1'), await byToken(port, 'carol', keys[1], 'c2')],
    revokes: () => revocation('issuer-key', 'k1', { provider: 'corp' }),
  },
]

const preparedId = async (client: RawClient): Promise<Buffer> => {
  const answer = await client.ask(prepareEnvelope(client.version, 3, select))
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
  const length = answer.readUInt16BE(13)
  return answer.subarray(15, 15 + length)
}
let streams = 10
const ask = async (client: RawClient, text = select): Promise<string> =>
  describe(await client.ask(queryEnvelope(client.version, ++streams, text), 20_000))

for (const door of doors) {
  suite(`thrown out at ${door}`, () => {
    let at: Place
    before(async () => {
      at = await place(door)
    })

    for (const { name, open, revokes } of cases) {
      it(name, async () => {
        const [meant, neighbour] = await open(at.port)
        const [client, other] = [await meant.comesIn(), await neighbour.comesIn()]
        const [id, otherId] = [await preparedId(client), await preparedId(other)]
        // In flight, so that the connection has a reason to stay.
        let isHeld = false
        at.sidecar.node.intercept = ({ text }) => {
          isHeld ||= text.includes('held')
          return text.includes('held')
        }
        const held = client.ask(queryEnvelope(client.version, 7, `${select} WHERE k = 'held'`), 20_000)
        held.catch(() => {})
        await until('it is at the node', () => isHeld)
        const entry = revokes(meant)
        const recorded = at.sidecar.records().length
        const beganMs = performance.now()
        push(at.feeds, entry)
        const answers = await Promise.all([
          ask(client).catch(String),
          client.ask(executeEnvelope(client.version, 8, id, undefined, []), 20_000).then(describe, String),
        ])
        // A refusal, or the end of the connection; never an answer of the node.
        for (const answer of answers) assert.match(answer, /^0x2100 .*revo|closed|end/, answer)
        await until('it is closed', () => client.isClosed, endsWithinMs)
        assert.ok(performance.now() - beganMs < endsWithinMs)
        await assert.rejects(meant.comesIn(), 'it comes again')

        assert.match(await ask(other), /^(?!0x)/, 'the neighbour')
        const executed = await other.ask(executeEnvelope(other.version, 9, otherId, undefined, []))
        assert.equal(headerOpcode(executed, 0), Opcode.RESULT, describe(executed))
        assert.ok(!other.isClosed)
        await (await neighbour.comesIn()).close()

        await until('it is on record', () =>
          at.sidecar
            .records()
            .slice(recorded)
            .some(({ rule, cause }) => rule === 'revoked' || cause === 'revoked'),
        )
        takeBack(at.feeds, entry)
        const again = await meant.comesIn()
        assert.match(await ask(again), /^(?!0x)/, 'restored')
      })
    }

    it('of a person on whose behalf a workload asks, her requests only', async () => {
      const before = at.sidecar.records().length
      const web = await (await byCertificate(at.port, 'svc/web')).comesIn()
      const onBehalf = async (key: string, value: string): Promise<string> => {
        const envelope = queryEnvelope(web.version, ++streams, select)
        return describe(await web.ask(withPayload(envelope, [[key, value]])))
      }
      const [alice, bob] = [txnToken('corp/alice'), txnToken('corp/bob')]
      const all = async () => [
        await onBehalf('txn-token', alice),
        await onBehalf('txn-token', bob),
        await onBehalf('ProxyExecute', 'corp/alice'),
        await onBehalf('ProxyExecute', 'corp/bob'),
        await ask(web),
      ]
      for (const answer of await all()) assert.match(answer, /^(?!0x)/)
      const entry = revocation('person', 'corp/alice')
      push(at.feeds, entry)
      const answers = await all()
      for (const [i, answer] of answers.entries())
        assert.match(answer, i === 0 || i === 2 ? /^0x2100 .*revo/ : /^(?!0x)/, `${i}: ${answer}`)
      // One token of hers only.
      takeBack(at.feeds, entry)
      const another = txnToken('corp/alice')
      const { txn } = JSON.parse(Buffer.from(alice.split('.')[1]!, 'base64url').toString()) as { txn: string }
      const ofToken = revocation('one-token', txn)
      push(at.feeds, ofToken)
      assert.match(await onBehalf('txn-token', alice), /^0x2100 .*revo/)
      assert.match(await onBehalf('txn-token', another), /^(?!0x)/)
      takeBack(at.feeds, ofToken)
      const refused = at.sidecar
        .records()
        .slice(before)
        .filter(({ rule }) => rule === 'revoked')
      assert.ok(refused.length >= 3 && refused.every(({ verdict }) => verdict === 'deny'), JSON.stringify(refused))
    })
  })
}

/** What means a token of Alice's from which a transaction token was made, and each its neighbours, which do not. */
const hashes = ['ab'.repeat(32), 'cd'.repeat(32)] as const
const source = { provider: 'corp', id: 'j-1', hash: hashes[0], key: 'k1' }
const sources: readonly { name: string; meant: () => Revocation; neighbours: readonly object[] }[] = [
  {
    name: 'the key of its issuer',
    meant: () => revocation('issuer-key', 'k1', { provider: 'corp' }),
    neighbours: [
      { ...source, key: 'k2' },
      { ...source, provider: 'other' },
      { ...source, key: undefined },
    ],
  },
  {
    name: 'its id',
    meant: () => revocation('one-token', 'j-1'),
    neighbours: [
      { ...source, id: 'j-2' },
      { ...source, id: undefined },
    ],
  },
  {
    name: 'its id, of its provider only',
    meant: () => revocation('one-token', 'j-1', { provider: 'corp' }),
    neighbours: [
      { ...source, id: 'j-2' },
      { ...source, provider: 'other' },
    ],
  },
  {
    name: 'its SHA-256',
    meant: () => revocation('one-token', hashes[0]),
    neighbours: [{ ...source, hash: hashes[1] }, { id: 'j-1' }],
  },
]

for (const door of doors) {
  suite(`a transaction token, where the token that it was made for is thrown out, at ${door}`, () => {
    let at: Place
    before(async () => {
      at = await place(door)
    })

    for (const { name, meant, neighbours } of sources) {
      it(`by ${name}: it is refused, known or not, and no other`, async () => {
        const web = await (await byCertificate(at.port, 'svc/web')).comesIn()
        const onBehalf = async (token: string): Promise<string> => {
          const envelope = queryEnvelope(web.version, ++streams, select)
          return describe(await web.ask(withPayload(envelope, [['txn-token', token]])))
        }
        const [known, fresh] = [txnToken('corp/alice', { src: source }), txnToken('corp/alice', { src: source })]
        // One of before says nothing of it.
        const others = [undefined, ...neighbours].map((src) => txnToken('corp/alice', { src }))
        for (const token of [known, ...others]) assert.match(await onBehalf(token), /^(?!0x)/)
        const recorded = at.sidecar.records().length
        const entry = meant()
        push(at.feeds, entry)
        assert.match(await onBehalf(known), /^0x2100 .*revo/)
        assert.match(await onBehalf(fresh), /^0x2100 .*revo/)
        for (const [i, token] of others.entries()) assert.match(await onBehalf(token), /^(?!0x)/, `neighbour ${i}`)
        assert.match(await ask(web), /^(?!0x)/, 'the workload itself')
        const refused = at.sidecar
          .records()
          .slice(recorded)
          .filter(({ rule }) => rule === 'revoked')
        assert.equal(refused.length, 2)
        takeBack(at.feeds, entry)
        assert.match(await onBehalf(known), /^(?!0x)/, 'restored')
        await web.close()
      })
    }
  })
}

suite('parts of the mesh are thrown out', () => {
  it('a gateway: its links end and none comes in, and another gateway goes on', async () => {
    const sidecar = await world.sidecar({ name: 'mesh1', policy: policyText })
    const [one, two] = [
      await world.gateway([sidecar], { name: 'thrown' }),
      await world.gateway([sidecar], { name: 'stays' }),
    ]
    const [by, other] = [await world.client(one.port, 'alice'), await world.client(two.port, 'alice')]
    push([sidecar.feed, two.feed], revocation('id', 'spiffe://demo.local/ringfence/gateway/thrown'))
    await until('its links are gone', () => one.feed.report?.().upstreamConnections === 0)
    await sleep(300)
    assert.equal(one.feed.report?.().upstreamConnections, 0)
    assert.match(await ask(other), /^(?!0x)/)
    await assert.rejects(
      ask(by).then((answer) => (answer.startsWith('0x') ? Promise.reject(new Error(answer)) : answer)),
    )
  })

  it('a gateway that hears it itself: its clients’ connections end within the second, none comes in, and it serves when it is let in again', async () => {
    const sidecar = await world.sidecar({ name: 'mesh2', policy: policyText })
    const [one, two] = [
      await world.gateway([sidecar], { name: 'hears' }),
      await world.gateway([sidecar], { name: 'hears-too' }),
    ]
    const [idle, asking, other] = [
      await world.client(one.port, 'alice'),
      await world.client(one.port, 'alice'),
      await world.client(two.port, 'alice'),
    ]
    for (const client of [idle, asking, other]) assert.match(await ask(client), /^(?!0x)/)
    const entry = revocation('id', 'spiffe://demo.local/ringfence/gateway/hears')
    const feeds = [sidecar.feed, one.feed, two.feed]
    const beganMs = performance.now()
    push(feeds, entry)
    // It is no answer of the node, and not that the client is thrown out: drivers are to ask elsewhere.
    assert.match(await ask(asking).catch(String), /^(?!0x2100)0x|closed|end/)
    await until('they are closed', () => idle.isClosed && asking.isClosed, endsWithinMs)
    assert.ok(performance.now() - beganMs < endsWithinMs)
    await assert.rejects(world.client(one.port, 'alice'))
    assert.match(await ask(other), /^(?!0x)/, 'the other gateway')
    assert.ok(!other.isClosed)
    takeBack(feeds, entry)
    const again = await eventually('it serves', () => world.client(one.port, 'alice').catch(() => undefined))
    assert.match(await ask(again), /^(?!0x)/)
  })

  it('a gateway whose neighbour in name is thrown out, or another certificate of its name, goes on', async () => {
    const sidecar = await world.sidecar({ name: 'mesh3', policy: policyText })
    const one = await world.gateway([sidecar], { name: 'near' })
    const client = await world.client(one.port, 'alice')
    const feeds = [sidecar.feed, one.feed]
    push(feeds, revocation('id', 'spiffe://demo.local/ringfence/gateway/near2'))
    push(feeds, revocation('id', 'spiffe://demo.local/svc/*/near'))
    push(feeds, revocation('one-certificate', '4A01'))
    assert.match(await ask(client), /^(?!0x)/)
    await (await world.client(one.port, 'alice')).close()
    // Its own certificate.
    push([one.feed], revocation('one-certificate', peerOf({ certificate: one.feed.credentials.current }).serial))
    await until('it is closed', () => client.isClosed, endsWithinMs)
    await assert.rejects(world.client(one.port, 'alice'))
  })

  it('a sidecar: gateways end their links to it, and go on with another', async () => {
    const [one, two] = await world.ring(2)
    const gateway = await world.gateway([one!, two!], { name: 'chooses' })
    const client = await world.client(gateway.port, 'alice')
    push([gateway.feed, two!.feed], revocation('id', one!.endpoint.spiffeId))
    await until('the link is gone', () => gateway.feed.report?.().upstreamConnections === 1)
    await sleep(300)
    assert.equal(gateway.feed.report?.().upstreamConnections, 1)
    const again = client.isClosed ? await world.client(gateway.port, 'alice') : client
    assert.match(await ask(again), /^(?!0x)/)
  })
})

suite('a sidecar that a gateway is ahead of, or behind', () => {
  for (const knows of ['the sidecar', 'the gateway'] as const) {
    it(`only ${knows} has heard: the client is refused and its connection ends`, async () => {
      const at = await place('a gateway')
      const shown = await byCertificate(at.port, 'svc/alice')
      const client = await shown.comesIn()
      assert.match(await ask(client), /^(?!0x)/)
      push(
        knows === 'the sidecar' ? [at.sidecar.feed] : [at.gateway!.feed],
        revocation('id', 'spiffe://demo.local/svc/alice'),
      )
      assert.match(await ask(client).catch(String), /^0x|closed|end/)
      await until('it is closed', () => client.isClosed, endsWithinMs)
      await assert.rejects(shown.comesIn())
    })
  }
})

suite('a proxy that stops', () => {
  for (const door of doors) {
    it(`throws out who is revoked meanwhile, at ${door}`, async () => {
      const at = await place(door)
      const meant = await world.client(at.port, 'alice')
      const neighbour = await world.client(at.port, 'bob')
      const held: NodeRequest[] = []
      at.sidecar.node.intercept = (request) => {
        if (!request.text.includes('held')) return false
        held.push(request)
        return true
      }
      const asked = [meant, neighbour].map((client) =>
        client.ask(queryEnvelope(4, 7, `${select} WHERE k = 'held'`), 30_000).then(describe, String),
      )
      await until('both are at the node', () => held.length === 2)
      const stopped = at.gateway === undefined ? at.sidecar.sidecar.stop(20_000) : at.gateway.gateway.stop(20_000)
      push(at.feeds, revocation('id', 'spiffe://demo.local/svc/alice'))
      await until('she is out', () => meant.isClosed, endsWithinMs)
      assert.ok(!neighbour.isClosed)
      for (const request of held) request.answer()
      assert.match((await asked[1]) ?? '', /^(?!0x|.*closed)/)
      await stopped
    })
  }
})
