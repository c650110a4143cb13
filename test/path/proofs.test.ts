/** A way to prove who one is, added from outside `src`: what it takes, where it counts, and what stays as it was for those without it. */

import assert from 'node:assert/strict'
import { connect as connectTcp } from 'node:net'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { z } from 'zod'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { executeEnvelope, optionsEnvelope } from '../../src/cql/encode.fixture.ts'
import { authResponseEnvelope, prepareEnvelope, queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readAuthToken } from '../../src/cql/responses.fixture.ts'
import { readAuthenticate, readPrepared, readRows } from '../../src/cql/responses.ts'
import type { PassportRequest } from '../../src/identity/passport.ts'
import { proofs } from '../../src/identity/proofs/index.ts'
import type { Proof } from '../../src/identity/proofs/proof.ts'
import { parseSpiffeId, type SpiffeId } from '../../src/identity/spiffe.ts'
import { Control, controlEnvelope } from '../../src/link/protocol.ts'
import { describe, type RawClient } from './client.ts'
import { passportWith } from './passport-of.ts'
import { password, users, verifications } from './password.ts'
import { RawLink } from './raw-link.ts'
import { type RunningSidecar, until, World } from './world.ts'

const aliceId = 'spiffe://demo.local/svc/alice'
const methods = ['certificate', 'password']
const allow = (name: string, keyspace: string, when = ''): string => `
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec: { subjects: [{ spiffeId: ${aliceId} }, { person: corp/* }], keyspaces: [${keyspace}], operations: [ALL] ${when} }
---`
const policyText = `${allow('all', 'shop')}${allow('said', 'said', ', when: { authentication: [password] }')}
${allow('shown', 'shown', ', when: { authentication: [certificate] }')}
apiVersion: ringfence.dev/v1alpha1
kind: CedarPolicy
metadata: { name: hers }
spec:
  cedar: |
    permit (principal in Person::"corp/alice", action == Action::"SELECT", resource in Keyspace::"hers")
    when { principal == Workload::"${aliceId}" };
`
const ask = (client: RawClient, text: string, stream = 5): Promise<string> =>
  client.ask(queryEnvelope(client.version, stream, text)).then(describe)
const select = 'SELECT * FROM shop.items'

let world: World
let sidecar: RunningSidecar
let sidecarPort: number
let gatewayPort: number
let bundlePem: string

before(async () => {
  proofs.register(password)
  users.alice = { password: 'pw-alice', person: 'corp/alice', claims: { groups: ['a'] } }
  users['alice+bob'] = { password: 'pw-bob', person: 'corp/bob' }
  users['alice+admin'] = { password: 'pw-admin', person: 'corp/alice', claims: { groups: ['a', 'admin'] } }
  world = await World.make()
  bundlePem = world.ca.bundlePem
  sidecar = await world.sidecar({ policy: policyText, authentication: methods, share: 'identity', connections: 1 })
  sidecarPort = sidecar.port
  gatewayPort = (await world.gateway([sidecar], { authentication: methods })).port
})
after(() => world.close())

/** Asked who it is. */
async function asked(
  port: number,
  options: { version?: ProtocolVersion; compression?: 'lz4'; driverName?: string } = {},
): Promise<RawClient> {
  const client = await world.connect(port, undefined, { ...options, credentials: { bundlePem } })
  const answer = await client.startup()
  assert.equal(headerOpcode(answer, 0), Opcode.AUTHENTICATE, describe(answer))
  assert.equal(readAuthenticate(wholeEnvelope(answer)), 'org.apache.cassandra.auth.PasswordAuthenticator')
  return client
}

/** Logged in. */
async function entered(port: number, user: string, options: { version?: ProtocolVersion } = {}): Promise<RawClient> {
  const client = await asked(port, options)
  const answer = await client.logIn(user, users[user]!.password)
  assert.equal(headerOpcode(answer, 0), Opcode.AUTH_SUCCESS, describe(answer))
  return client
}

const ways = [
  ['at a sidecar', () => sidecarPort, 1],
  ['through a gateway', () => gatewayPort, 2],
] as const

for (const [way, port, timesWanted] of ways) {
  suite(`a proof that is asked for, ${way}`, () => {
    for (const version of [3, 4, 5] as const) {
      for (const compression of [undefined, 'lz4'] as const) {
        it(`logs in by version ${version}${compression === undefined ? '' : ' with LZ4'}`, async () => {
          const before = verifications.count
          const client = await asked(port(), { version, ...(compression === undefined ? {} : { compression }) })
          const success = await client.logIn('alice', 'pw-alice', 9)
          assert.equal(headerOpcode(success, 0), Opcode.AUTH_SUCCESS, describe(success))
          assert.equal(
            verifications.count - before,
            timesWanted,
            'verified where the client comes in, and at the sidecar',
          )
          assert.equal(await ask(client, select), `echo: ${select}`)
          client.close()
        })
      }
    }

    it('is what conditions, policies and the record see', async () => {
      const client = await entered(port(), 'alice')
      const records = sidecar.records().length
      assert.match(await ask(client, 'SELECT * FROM said.items'), /^echo/)
      assert.match(await ask(client, 'SELECT * FROM shown.items'), /^0x2100 /)
      assert.match(await ask(client, 'SELECT * FROM hers.items WHERE k = 1'), /^echo/)
      await until('all is on record', () => sidecar.records().length >= records + 3)
      for (const { workload, person, authentication } of sidecar.records().slice(records)) {
        assert.deepEqual([workload, person, authentication], [aliceId, 'corp/alice', 'password'])
      }
    })

    it('is refused with 0x0100 where it is wrong, and the client may answer again', async () => {
      const client = await asked(port())
      for (const [user, pass] of [
        ['alice', 'wrong'],
        ['nobody', 'pw-alice'],
        ['alice', ''],
        ['', ''],
      ] as const) {
        assert.equal(describe(await client.logIn(user, pass)), '0x0100 these credentials are not accepted here')
      }
      assert.equal(
        describe(await client.ask(authResponseEnvelope(4, 0, null))),
        '0x0100 these credentials are not accepted here',
      )
      assert.equal(headerOpcode(await client.ask(optionsEnvelope(4, 3)), 0), Opcode.SUPPORTED)
      assert.equal(headerOpcode(await client.logIn('alice', 'pw-alice'), 0), Opcode.AUTH_SUCCESS)
      assert.equal(await ask(client, select), `echo: ${select}`)
      assert.match(describe(await client.logIn('alice', 'pw-alice', 7)), /^0x000a unexpected AUTH_RESPONSE/)
      await client.closed
    })

    it('goes on by AUTH_CHALLENGE', async () => {
      const client = await asked(port())
      const challenge = await client.logIn('later', '')
      assert.equal(headerOpcode(challenge, 0), Opcode.AUTH_CHALLENGE)
      assert.equal(readAuthToken(wholeEnvelope(challenge))?.toString(), 'the rest')
      assert.equal(headerOpcode(await client.logIn('alice', 'pw-alice'), 0), Opcode.AUTH_SUCCESS)
    })

    it('has no end of answers, no long ones, and no request before it is accepted', async () => {
      const trying = await asked(port())
      for (let i = 0; i < 16; i++) assert.match(describe(await trying.logIn('alice', 'wrong')), /^0x0100 /)
      assert.match(describe(await trying.logIn('alice', 'pw-alice')), /^0x000a authResponsesMax/)
      await trying.closed
      const long = await asked(port())
      assert.match(describe(await long.ask(authResponseEnvelope(4, 0, Buffer.alloc(64 * 1024 - 3)))), /^0x2200 body of/)
      const inTime = await asked(port())
      assert.match(describe(await inTime.ask(authResponseEnvelope(4, 0, Buffer.alloc(64 * 1024 - 4)))), /^0x0100/)
      const early = await asked(port())
      assert.match(await ask(early, select), /^0x000a unexpected message before the connection is ready/)
      await early.closed
      const twice = await asked(port())
      twice.send(authResponseEnvelope(4, 1, Buffer.from('\0alice\0pw-alice')))
      assert.match(
        describe(await twice.ask(authResponseEnvelope(4, 2, Buffer.from('x')))),
        /^0x000a unexpected AUTH_RESPONSE/,
      )
    })

    it('may be as long as an AUTH_RESPONSE may be', async () => {
      for (const bytes of [32 * 1024, 64 * 1024 - 100]) {
        users['alice+long'] = { password: 'p'.repeat(bytes) }
        assert.equal(await ask(await entered(port(), 'alice+long'), select), `echo: ${select}`)
      }
      delete users['alice+long']
    })

    it('is not asked for where a certificate is shown, which is no password either', async () => {
      const alice = await world.client(port(), 'alice')
      assert.match(await ask(alice, 'SELECT * FROM shown.items'), /^echo/)
      assert.match(await ask(alice, 'SELECT * FROM said.items'), /^0x2100 /)
      assert.match(await ask(alice, 'SELECT * FROM hers.items WHERE k = 1'), /^0x2100 /)
      const foreign = await World.make('demo.local')
      const stranger = await foreign.credentials('svc/alice')
      const client = await world.connect(port(), undefined, { credentials: { ...stranger, bundlePem } })
      assert.match(describe(await client.startup()), /^0x0000 .*of an authority that is not known here/)
      await client.closed
      await foreign.close()
    })

    it('ends its session when it expires: what is in flight is answered, then the connection closes', async () => {
      const expiresAtMs = Math.ceil(Date.now() / 1000) * 1000 + 2000
      users['alice+short'] = { password: 'short', expiresAtMs: () => expiresAtMs }
      const client = await entered(port(), 'alice+short')
      const other = await entered(port(), 'alice')
      let answer: (() => void) | undefined
      sidecar.node.intercept = (request) => {
        if (!request.text.includes('long')) return false
        answer = () => request.answer()
        return true
      }
      const inFlight = ask(client, `${select} WHERE k = 'long'`)
      await sleep(expiresAtMs - Date.now() + 300)
      assert.equal(client.isClosed, false)
      sidecar.node.intercept = undefined
      answer!()
      assert.equal(await inFlight, `echo: ${select} WHERE k = 'long'`)
      await client.closed
      assert.equal(await ask(other, select), `echo: ${select}`)
      const late = await asked(port())
      assert.match(describe(await late.logIn('alice+short', 'short')), /^0x0100 /)
    })
  })
}

suite('who one is', () => {
  /** Of one subject, each another by person, method or claims; and how each comes in. */
  const callers: Record<string, (port: number) => Promise<RawClient>> = {
    'by certificate': (port) => world.client(port, 'alice'),
    'by password, a person': (port) => entered(port, 'alice'),
    'by password, another person': (port) => entered(port, 'alice+bob'),
    'by password, with other claims': (port) => entered(port, 'alice+admin'),
  }
  /** What must not be shared: `mine` leaves something, `theirs` tells whether it is there for another. */
  const places: Record<string, (mine: RawClient, theirs: RawClient, tag: string) => Promise<boolean>> = {
    'a prepared id': async (mine, theirs, tag) => {
      const answer = await mine.ask(prepareEnvelope(4, 1, `SELECT * FROM shop.items WHERE k = ? AND t = '${tag}'`))
      const { id } = readPrepared(wholeEnvelope(answer), 4)
      const run = async (client: RawClient): Promise<string> =>
        describe(await client.ask(executeEnvelope(4, 2, id, undefined, [Buffer.from('x')])))
      assert.match(await run(mine), /^echo/)
      return !/^0x2500 /.test(await run(theirs))
    },
    'a page': async (mine, theirs, tag) => {
      const text = `SELECT * FROM shop.items WHERE t = 'page ${tag}'`
      const spec = { keyspace: 'shop', table: 'items', columns: [{ name: 'k', type: { kind: 'text' } }] } as const
      sidecar.node.intercept = (request) => {
        if (request.text !== text) return false
        request.reply(rowsEnvelope(4, 0, { ...spec, pagingState: Buffer.from('state') }, [[Buffer.from('x')]]))
        return true
      }
      const first = await mine.ask(queryEnvelope(4, 1, text, { pageSize: 1 }))
      const { pagingState } = readRows(wholeEnvelope(first), 4)
      const run = async (client: RawClient): Promise<number> =>
        headerOpcode(await client.ask(queryEnvelope(4, 2, text, { pageSize: 1, pagingState: pagingState! })), 0)
      assert.equal(await run(mine), Opcode.RESULT)
      const isShared = (await run(theirs)) === Opcode.RESULT
      sidecar.node.intercept = undefined
      return isShared
    },
    'a connection of its pool': async (mine, theirs, tag) => {
      const texts = [mine, theirs].map((_, i) => `SELECT * FROM shop.items WHERE t = 'pool ${tag} ${i}'`)
      assert.match(await ask(mine, texts[0]!), /^echo/)
      assert.match(await ask(theirs, texts[1]!), /^echo/)
      const [one, other] = texts.map((text) => sidecar.node.requests.find((each) => each.text === text)!.connection)
      return one === other
    },
  }

  for (const [place, isShared] of Object.entries(places)) {
    for (const [from, to] of [
      ['sidecar', 'sidecar'],
      ['gateway', 'gateway'],
      ['gateway', 'sidecar'],
    ] as const) {
      it(`${place} left by the ${from} is found by the ${to} for the same one, and for nobody else of its subject`, async () => {
        const ports = { sidecar: sidecarPort, gateway: gatewayPort }
        for (const [mine, enterMine] of Object.entries(callers)) {
          for (const [theirs, enterTheirs] of Object.entries(callers)) {
            const clients = [await enterMine(ports[from]), await enterTheirs(ports[to])] as const
            const tag = `${mine}, ${theirs}, ${from}, ${to}`
            assert.equal(await isShared(...clients, tag), mine === theirs, tag)
            for (const client of clients) client.close()
          }
        }
      })
    }
  }

  it('decides each anew: a verdict that is remembered for one is none for another', async () => {
    const text = 'SELECT * FROM hers.items WHERE k = 7'
    const verdicts = async (): Promise<string[]> => {
      const told: string[] = []
      for (const enter of Object.values(callers)) told.push((await ask(await enter(sidecarPort), text)).slice(0, 6))
      return told
    }
    const wanted = ['0x2100', 'echo: ', '0x2100', 'echo: ']
    assert.deepEqual(await verdicts(), wanted)
    assert.deepEqual(await verdicts(), wanted)
  })

  it('has an account of its own for what waits', async () => {
    const budget = new BytesBudget()
    const { port } = await world.sidecar({ name: 'counted', policy: policyText, authentication: methods, budget })
    const holders: number[] = []
    for (const enter of [...Object.values(callers), ...Object.values(callers)]) {
      await enter(port)
      holders.push(budget.holders)
    }
    // Each of them, and their one address.
    assert.deepEqual(holders, [2, 3, 4, 5, 5, 5, 5, 5])
  })

  it('has places of its own', async () => {
    const full = await world.sidecar({
      name: 'full',
      policy: policyText,
      authentication: methods,
      bounds: { perIdentityMax: 1, max: 10 },
    })
    const first = await entered(full.port, 'alice')
    await entered(full.port, 'alice+bob')
    await world.client(full.port, 'alice')
    const second = await asked(full.port, { driverName: 'DataStax Java Driver' })
    assert.match(describe(await second.logIn('alice', 'pw-alice')), /^0x1001 connectionsPerIdentityMax reached/)
    first.close()
    await first.closed
    // A client that leaves while it is verified keeps no place.
    for (let i = 0; i < 3; i++) {
      const leaving = await asked(full.port)
      leaving.send(authResponseEnvelope(4, 0, Buffer.from('\0alice\0pw-alice')))
      await sleep(1)
      leaving.close()
    }
    // The sidecar hears of their ends a little later.
    for (const deadline = performance.now() + 5000; ; ) {
      const client = await asked(full.port)
      const answer = await client.logIn('alice', 'pw-alice')
      if (headerOpcode(answer, 0) === Opcode.AUTH_SUCCESS) break
      assert.ok(performance.now() < deadline, describe(answer))
      await sleep(20)
    }
  })
})

/** A passport of gateway1 with alice's password. */
async function passport(change: Partial<PassportRequest>): Promise<string> {
  const evidence = { kind: 'password', chain: [], shown: { user: 'alice', password: 'pw-alice' } }
  return await passportWith(world, sidecar, { subject: aliceId as SpiffeId, evidence, ...change })
}

suite('across a mesh link', () => {
  it('a sidecar believes the evidence, not the gateway', async () => {
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    const offers: readonly (readonly [Partial<PassportRequest>, RegExp])[] = [
      [{}, /^opened$/],
      [{ subject: 'spiffe://demo.local/svc/bob' as SpiffeId }, /IDENTITY.*names another than its evidence/],
      [
        { evidence: { kind: 'password', chain: [], shown: { user: 'alice', password: 'x' } } },
        /IDENTITY.*wrong password/,
      ],
      [{ evidence: { kind: 'password', chain: [], shown: { user: 'alice' } } }, /IDENTITY.*not understood/],
      [{ evidence: { kind: 'password', chain: [] } }, /IDENTITY.*not understood/],
      [{ evidence: { kind: 'unheard', chain: [], shown: {} } }, /IDENTITY.*not known here/],
      [{ evidence: { kind: 'listener', chain: [], shown: {} } }, /IDENTITY.*not understood/],
      [{ expiresAtMs: Date.now() + 120_000 }, /IDENTITY.*outlive/],
    ]
    for (const [index, [change, wanted]] of offers.entries()) {
      assert.match(await link.offer(10 + index, await passport(change)), wanted, JSON.stringify(change))
    }
    link.socket.destroy()
  })

  it('a session that its gateway gives up while it is verified never opens, and its number is free again', async () => {
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    const open = { passport: await passport({}), version: 4, session: '0123456789abcdef', events: [] }
    const again = { ...open, passport: await passport({}) }
    const records = sidecar.records().length
    // In one piece, so that the first is given up before it can be verified.
    link.socket.cork()
    link.send(7, controlEnvelope(Control.OPEN, open))
    link.send(7, controlEnvelope(Control.CLOSE, { code: 'DONE', message: '' }))
    link.send(7, controlEnvelope(Control.OPEN, again))
    link.socket.uncork()
    link.send(7, controlEnvelope(Control.PAUSE, {}))
    link.send(7, controlEnvelope(Control.RESUME, {}))
    await until('one is opened', () => link.frames.some(({ opcode }) => opcode === Control.OPENED))
    await sleep(30)
    assert.equal(link.frames.filter(({ opcode }) => opcode === Control.OPENED).length, 1)
    assert.equal(
      sidecar
        .records()
        .slice(records)
        .filter(({ operation }) => operation === 'CONNECT').length,
      1,
    )
    link.socket.destroy()
  })
})

suite('a listener that does not say that it takes it', () => {
  it('never asks: who has no certificate hears that in answer to STARTUP, and an AUTH_RESPONSE is a protocol error', async () => {
    const plain = await world.sidecar({ name: 'plain' })
    const gateway = await world.gateway([plain], { name: 'plain' })
    for (const port of [plain.port, gateway.port]) {
      const nobody = await world.connect(port, undefined, { credentials: { bundlePem } })
      assert.match(describe(await nobody.startup()), /^0x0000 the client shows no certificate/)
      await nobody.closed
      const alice = await world.connect(port, 'alice')
      assert.equal(headerOpcode(await alice.startup(), 0), Opcode.READY)
      assert.match(describe(await alice.logIn('alice', 'pw-alice', 3)), /^0x000a unexpected AUTH_RESPONSE/)
    }
  })
})

suite('a log-in that does not come to its end', { concurrency: true }, () => {
  it('counts with the handshakes until it has, and the oldest goes where they are too many', async () => {
    const { port } = await world.sidecar({ name: 'crowded', authentication: methods, bounds: { handshakesMax: 2 } })
    const [oldest, second] = [await asked(port), await asked(port)]
    const third = await asked(port)
    await oldest.closed
    for (const client of [second, third]) {
      assert.equal(headerOpcode(await client.logIn('alice', 'pw-alice'), 0), Opcode.AUTH_SUCCESS)
    }
    const more = [await asked(port), await asked(port)]
    assert.ok(![second, third, ...more].some(({ isClosed }) => isClosed))
  })

  it('ends after handshakeTimeoutMs, here and across a mesh link', async () => {
    const started = performance.now()
    const client = await asked(sidecarPort)
    client.send(authResponseEnvelope(4, 0, Buffer.from('\0stuck\0x')))
    const link = await RawLink.open(sidecar.port, await world.credentials('ringfence/gateway/gateway1'))
    const evidence = { kind: 'password', chain: [], shown: { user: 'stuck', password: 'x' } }
    const open = { passport: await passport({ evidence }), version: 4, session: '0123456789abcdef', events: [] }
    link.send(7, controlEnvelope(Control.OPEN, open))
    await client.closed
    await until('the session is refused', () => link.frames.some(({ text }) => /handshakeTimeoutMs/.test(text)))
    assert.ok(performance.now() - started > 8000)
    link.frames.length = 0
    assert.equal(await link.offer(7, await passport({})), 'opened')
    link.socket.destroy()
  })
})

suite('a proof that takes its time over what the connection shows', () => {
  it('is nobody else’s loss where its client is gone before', async () => {
    let begun = 0
    const slow: Proof<undefined> = {
      method: 'slow',
      evidence: { name: 'slow', schema: z.undefined() },
      atConnection: ({ certificates }) => (certificates.length === 0 ? undefined : { chain: certificates }),
      async verify(_, { nowMs }) {
        begun++
        await sleep(200)
        return { subject: parseSpiffeId(aliceId), expiresAtMs: nowMs + 60_000, hashed: 'slow' }
      },
    }
    proofs.register(slow as Proof)
    const { port } = await world.sidecar({ name: 'slow', policy: policyText, authentication: ['slow'] })
    const { keyPem: key, certificatePem: cert, bundlePem: ca } = await world.credentials('svc/alice')
    for (let times = 1; times <= 3; times++) {
      const raw = connectTcp({ port, host: '127.0.0.1' })
      const secure = connectTls({ socket: raw, key, cert, ca, checkServerIdentity: () => undefined })
      for (const socket of [raw, secure]) socket.on('error', () => {})
      await until('it is being verified', () => begun === times)
      raw.resetAndDestroy()
    }
    const alice = await world.client(port, 'alice')
    assert.equal(await ask(alice, select), `echo: ${select}`)
  })
})

suite('secrets', () => {
  it('are in no log and no record', () => {
    const written = [...world.logged, ...sidecar.records().map((record) => JSON.stringify(record))].join('\n')
    for (const { password: secret } of Object.values(users))
      assert.ok(!written.includes(secret) || secret === 'short', secret)
    assert.match(written, /log-in refused/)
  })
})
