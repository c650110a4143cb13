/** Requests on behalf of people, with transaction tokens and with bare names: judged as the pair, recorded, and never served as the workload alone. */

import assert from 'node:assert/strict'
import { after, afterEach, before, it, describe as suite } from 'node:test'
import { limits } from '../../src/base/limits.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Flag, headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readPrepared, readRows } from '../../src/cql/responses.ts'
import { makeKey, signedBySecret } from '../../src/identity/jwt/tokens.fixture.ts'
import { revocationKinds } from '../../src/mesh/revocations.ts'
import { describe, type RawClient } from './client.ts'
import { tokensMade, txnKey, txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const rule = (name: string, spec: string): string =>
  `---\napiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: ${name} }\nspec: ${spec}\n`
const web = '{ spiffeId: spiffe://demo.local/svc/web }'
/** The web application may read and write shop and play; Alice shop, Bob may read shop, the pair of Carol and the application `crew`. */
const policy = [
  rule(
    'web',
    `{ subjects: [${web}, { spiffeId: spiffe://demo.local/svc/other }], keyspaces: [shop, play], operations: [ALL] }`,
  ),
  rule('alice', '{ subjects: [{ person: corp/alice }], keyspaces: [shop], operations: [ALL] }'),
  rule('bob', '{ subjects: [{ person: corp/bob }], keyspaces: [shop], operations: [READ, SCAN] }'),
  rule(
    'crew',
    '{ subjects: [{ spiffeId: spiffe://demo.local/svc/web, person: corp/carol }], keyspaces: [crew], operations: [READ, SCAN] }',
  ),
  rule(
    'staff',
    '{ subjects: [{ group: corp/staff }], keyspaces: [shop], operations: [READ, SCAN], when: { authentication: [txn-token], claims: { acr: mfa } } }',
  ),
  '---\napiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: corp }\nspec: { type: oidc, issuer: "https://login.example.com", audiences: [x], claims: { groups: groups, forPolicy: [acr] } }\n',
  `---\napiVersion: ringfence.dev/v1alpha1\nkind: Impersonation\nmetadata: { name: web-for-bob }\nspec: { subjects: [${web}], impersonate: [{ person: corp/bob }] }\n`,
].join('')
const noImpersonation = policy.slice(0, policy.indexOf('---\napiVersion: ringfence.dev/v1alpha1\nkind: Impersonation'))

const select = 'SELECT * FROM shop.items'
const insert = "INSERT INTO shop.items (k) VALUES ('a')"
const resultId = Buffer.alloc(16, 9)

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ policy })
  gateway = await world.gateway([sidecar])
  gateway.feed.apply(policy)
  useTxnKeys(sidecar)
})
after(() => world.close())
afterEach(() => {
  sidecar.node.intercept = undefined
  useTxnKeys(sidecar)
  sidecar.feed.apply(policy)
})

const doors = { 'at a sidecar': () => sidecar.port, 'through a gateway': () => gateway.port }

async function client(who = 'web', port = sidecar.port, version: ProtocolVersion = 4): Promise<RawClient> {
  return world.client(port, who, { version })
}

/** The answer in words: `rows`, `result 4`, `0x2100 …`. */
async function ask(from: RawClient, envelope: Buffer, ...entries: [string, string | Buffer | null][]): Promise<string> {
  return describe(await from.ask(entries.length === 0 ? envelope : withPayload(envelope, entries)))
}

const query = (text: string, version: ProtocolVersion = 4): Buffer => queryEnvelope(version, 5, text)

async function prepared(from: RawClient, text: string): Promise<Buffer> {
  const answer = await from.ask(prepareEnvelope(from.version, 1, text))
  assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
  return readPrepared(wholeEnvelope(answer), from.version).id
}

/** The last record of a request; it is written before the answer leaves. */
function lastRecord(): Record<string, unknown> {
  return sidecar.records().findLast(({ operation }) => operation !== 'CONNECT' && operation !== 'DISCONNECT')!
}

const isRows = /^(?!0x)/
const denied = /^0x2100/

for (const [door, portOf] of Object.entries(doors)) {
  suite(`a request with a transaction token, ${door}`, () => {
    for (const version of [4, 5] as const) {
      for (const key of ['txn-token', 'ProxyExecute']) {
        it(`is judged as workload and person, whatever its kind, and is stripped: v${version}, ${key}`, async () => {
          const from = await client('web', portOf(), version)
          const id = await prepared(from, select)
          const put = await prepared(from, insert)
          const reads: Record<string, Buffer> = {
            QUERY: query(select, version),
            PREPARE: prepareEnvelope(version, 5, `${select} WHERE k = 'x'`),
            EXECUTE: executeEnvelope(version, 5, id, resultId, []),
          }
          const writes: Record<string, Buffer> = {
            QUERY: query(insert, version),
            PREPARE: prepareEnvelope(version, 5, "INSERT INTO shop.items (k) VALUES ('b')"),
            EXECUTE: executeEnvelope(version, 5, put, resultId, []),
            BATCH: batchEnvelope(version, 5, 0, [
              { text: insert, values: [] },
              { id: put, values: [] },
            ]),
          }
          const [alice, bob] = [txnToken('corp/alice'), txnToken('corp/bob')]
          for (const [kind, envelope] of [...Object.entries(reads), ...Object.entries(writes)]) {
            sidecar.node.requests.length = 0
            assert.match(await ask(from, envelope, [key, alice]), isRows, kind)
            const sent = sidecar.node.requests.at(-1)!
            assert.equal(sent.flags & Flag.CUSTOM_PAYLOAD, 0, kind)
            assert.ok(!sent.envelope.includes(alice), kind)
            const { person, workload, transaction, tokenHash, authentication } = lastRecord()
            assert.deepEqual([person, workload], ['corp/alice', 'spiffe://demo.local/svc/web'], kind)
            assert.match(String(transaction), /^txn-\d+$/)
            assert.match(String(tokenHash), /^[0-9a-f]{64}$/)
            assert.equal(authentication, 'certificate+txn-token')
          }
          for (const [kind, envelope] of Object.entries(writes)) {
            sidecar.node.requests.length = 0
            assert.match(await ask(from, envelope, [key, bob]), denied, kind)
            assert.equal(sidecar.node.requests.length, 0, kind)
            assert.equal(lastRecord().person, 'corp/bob')
            // The workload alone may.
            assert.match(await ask(from, envelope), isRows, kind)
            assert.equal(lastRecord().person, undefined)
          }
          for (const [kind, envelope] of Object.entries(reads))
            assert.match(await ask(from, envelope, [key, bob]), isRows, kind)
        })
      }
    }

    it('is refused where the workload alone may not, and let through where a rule names the pair', async () => {
      const [web1, other] = [await client('web', portOf()), await client('carol', portOf())]
      const toOther = txnToken('corp/alice', { req_wl: 'spiffe://demo.local/svc/carol' })
      assert.match(await ask(other, query(select), ['txn-token', toOther]), denied)
      assert.match(await ask(web1, query('SELECT * FROM crew.items'), ['txn-token', txnToken('corp/alice')]), denied)
      assert.match(await ask(web1, query('SELECT * FROM crew.items')), denied)
      assert.match(await ask(web1, query('SELECT * FROM crew.items'), ['txn-token', txnToken('corp/carol')]), isRows)
    })

    it('has its person’s groups and claims, and no others', async () => {
      const from = await client('web', portOf())
      const dora = (groups: string[], claims: object): string => txnToken('corp/dora', { rctx: { groups, claims } })
      assert.match(await ask(from, query(select), ['txn-token', dora(['corp/staff'], { acr: 'mfa' })]), isRows)
      assert.match(await ask(from, query(select), ['txn-token', dora(['corp/staff'], {})]), denied)
      assert.match(await ask(from, query(select), ['txn-token', dora(['corp/others'], { acr: 'mfa' })]), denied)
      assert.match(await ask(from, query(select), ['txn-token', dora(['corp/staff'], { acr: 'mfa' })]), isRows)
    })

    it('asks for many at once, and each is its own', async () => {
      const from = await client('web', portOf())
      const people = ['alice', 'bob', 'carol', 'dora']
      const asked = Array.from({ length: 200 }, (_, stream) => {
        const person = people[stream % 4]!
        const token = txnToken(`corp/${person}`)
        const envelope = withPayload(queryEnvelope(4, stream, select), [['txn-token', token]])
        return from.ask(envelope).then((answer) => [person, describe(answer)] as const)
      })
      for (const [person, answer] of await Promise.all(asked))
        assert.match(answer, person === 'alice' || person === 'bob' ? isRows : denied, person)
    })
  })
}

suite('a token that counts for nothing', () => {
  const now = Math.floor(Date.now() / 1000)
  const foreign = makeKey('t1')
  const rsa = makeKey('t1', 'RS256')
  const long = 'x'.repeat(limits.txnTokenBytesMax + 1)
  const cases: Record<string, [string | Buffer | null, RegExp]> = {
    'of another workload': [txnToken('corp/alice', { req_wl: 'spiffe://demo.local/svc/other' }), /another workload/],
    'of workloads, in a list': [txnToken('corp/alice', { req_wl: ['spiffe://demo.local/svc/web'] }), /req_wl/],
    'of no workload': [txnToken('corp/alice', { req_wl: undefined }), /req_wl/],
    'of a part of the mesh': [
      txnToken('corp/alice', { req_wl: 'spiffe://demo.local/ringfence/gateway/g' }),
      /no workload/,
    ],
    'of a workload of another trust domain': [
      txnToken('corp/alice', { req_wl: 'spiffe://evil.local/svc/web' }),
      /no workload/,
    ],
    'that has ended': [txnToken('corp/alice', { iat: now - 120, exp: now - 1 }), /expired/],
    'that is not valid yet': [txnToken('corp/alice', { iat: now + 3000, exp: now + 3100 }), /not valid before/],
    'that lives too long': [txnToken('corp/alice', { exp: now + 3600 }), /lives/],
    'without an end': [txnToken('corp/alice', { exp: undefined }), /exp/],
    'by another key of the same name': [txnToken('corp/alice', {}, {}, foreign), /signature/],
    'by a key that is not known': [txnToken('corp/alice', {}, { kid: 't9' }), /key/],
    'by no named key': [txnToken('corp/alice', {}, { kid: undefined }), /key/],
    'by another algorithm': [txnToken('corp/alice', {}, {}, rsa), /RS256/],
    'without a signature': [`${txnToken('corp/alice', {}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`, /none/],
    'signed by the public key as a secret': [
      signedBySecret(
        JSON.stringify(txnKey.jwk),
        { sub: 'corp/alice' },
        { alg: 'HS256', typ: 'txntoken+jwt', kid: 't1' },
      ),
      /HS256/,
    ],
    'that is an access token': [txnToken('corp/alice', {}, { typ: 'at+jwt' }), /type/],
    'that is no JWT by its type': [txnToken('corp/alice', {}, { typ: undefined }), /type/],
    'of another issuer': [txnToken('corp/alice', { iss: 'https://login.example.com' }), /issuer/],
    'of another trust domain': [txnToken('corp/alice', { aud: 'other.local' }), /audience/],
    'of several audiences': [txnToken('corp/alice', { aud: ['demo.local', 'other'] }), /aud/],
    'for something else': [txnToken('corp/alice', { scope: 'http' }), /scope/],
    'of nobody': [txnToken('alice'), /sub/],
    'without a transaction': [txnToken('corp/alice', { txn: undefined }), /txn/],
    'with a group of another provider': [txnToken('corp/alice', { rctx: { groups: ['other/staff'] } }), /group/],
    'with a changed claim': [
      txnToken('corp/bob').replace(/\.[^.]+\./, `.${txnToken('corp/alice').split('.')[1]}.`),
      /signature/,
    ],
    'that is none': ['not a token', /JSON Web Token/],
    'that is empty': ['', /of whom/],
    'that is null': [null, /of whom/],
    'that is too long': [long, /at most/],
  }
  for (const [name, [token, words]] of Object.entries(cases)) {
    it(`${name} refuses its request with 0x2100, in words and on record, and nothing reaches the node`, async () => {
      const from = await client()
      sidecar.node.requests.length = 0
      const answer = await ask(from, query(select), ['txn-token', token])
      assert.match(answer, denied)
      assert.match(answer, words)
      assert.match(answer, /rule txn-token/)
      assert.equal(sidecar.node.requests.length, 0)
      const { verdict, rule: by, outcome, person, operation } = lastRecord()
      assert.deepEqual([verdict, by, outcome, person, operation], ['deny', 'txn-token', 'error', undefined, 'QUERY'])
      if (typeof token === 'string' && token !== '' && token !== long)
        assert.match(String(lastRecord().tokenHash), /^[0-9a-f]{64}$/)
      // The session goes on, and a good one is taken.
      assert.match(await ask(from, query(select), ['txn-token', txnToken('corp/alice')]), isRows)
    })
  }

  it('is refused where two say for whom, in whatever way', async () => {
    const from = await client()
    const [alice, bob] = [txnToken('corp/alice'), txnToken('corp/bob')]
    const pairs: [string, string][][] = [
      [
        ['txn-token', alice],
        ['txn-token', alice],
      ],
      [
        ['txn-token', alice],
        ['txn-token', bob],
      ],
      [
        ['txn-token', alice],
        ['ProxyExecute', alice],
      ],
      [
        ['ProxyExecute', 'corp/bob'],
        ['txn-token', bob],
      ],
      [
        ['ProxyExecute', 'corp/bob'],
        ['ProxyExecute', 'corp/bob'],
      ],
      [
        ['x', 'y'],
        ['txn-token', bob],
        ['z', ''],
        ['ProxyExecute', 'corp/bob'],
      ],
    ]
    for (const entries of pairs) assert.match(await ask(from, query(select), ...entries), /^0x2100.*more than once/)
    // Other entries say nothing.
    assert.match(await ask(from, query(select), ['x', 'y'], ['txn-token', bob], ['z', '']), isRows)
    assert.match(await ask(from, query(insert), ['txn-tokens', bob], ['execute-as', 'corp/bob']), isRows)
  })

  it('is refused under a name that only reads like one: it is never served as the workload alone', async () => {
    const from = await client()
    sidecar.node.requests.length = 0
    for (const [name, value] of [
      ['Txn-Token', txnToken('corp/bob')],
      ['txn_token', txnToken('corp/bob')],
      ['proxyexecute', 'corp/bob'],
      ['PROXYEXECUTE', txnToken('corp/bob')],
    ] as const)
      assert.match(await ask(from, query(insert), [name, value]), /^0x2100.*not by the name/, name)
    assert.equal(sidecar.node.requests.length, 0)
    assert.match(await ask(from, query(insert)), isRows)
  })

  it('is refused in a session that is a person’s own', async () => {
    const credentials = await world.credentials('user/corp/alice')
    const from = await world.client(sidecar.port, 'web', { credentials })
    const token = txnToken('corp/bob', { req_wl: 'spiffe://demo.local/user/corp/alice' })
    assert.match(await ask(from, query(select), ['txn-token', token]), /^0x2100/)
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), /^0x2100/)
    assert.match(await ask(from, query(select)), isRows)
  })

  it('has no effect on REGISTER and on v3, which take no payload', async () => {
    const three = await client('web', sidecar.port, 3)
    assert.match(await ask(three, query(select, 3), ['txn-token', txnToken('corp/alice')]), /^0x000a/)
  })
})

suite('a token that was good', () => {
  it('is refused once its key is gone, and with the key that took its place', async () => {
    const from = await client()
    const next = makeKey('t2')
    const token = txnToken('corp/alice')
    assert.match(await ask(from, query(select), ['txn-token', token]), isRows)
    useTxnKeys(sidecar, [next, txnKey])
    assert.match(await ask(from, query(select), ['txn-token', token]), isRows)
    assert.match(await ask(from, query(select), ['txn-token', txnToken('corp/alice', {}, { kid: 't2' }, next)]), isRows)
    useTxnKeys(sidecar, [next])
    assert.match(await ask(from, query(select), ['txn-token', token]), denied)
  })

  it('is refused when it has ended, on the session that used it and on others', async () => {
    const now = Date.now()
    let nowMs = now
    const clocked = await world.sidecar({ policy, name: 'clocked', nowMs: () => nowMs })
    useTxnKeys(clocked)
    const [first, second] = [await client('web', clocked.port), await client('web', clocked.port)]
    const token = txnToken('corp/alice')
    for (const from of [first, second]) assert.match(await ask(from, query(select), ['txn-token', token]), isRows)
    nowMs = now + 121_000
    for (const from of [first, second])
      assert.match(await ask(from, query(select), ['txn-token', token]), /^0x2100.*expired/)
    assert.match(await ask(first, query(select)), isRows)
  })

  it('is refused where another workload has it, which knows it from nowhere', async () => {
    const token = txnToken('corp/alice')
    assert.match(await ask(await client(), query(select), ['txn-token', token]), isRows)
    assert.match(await ask(await client('other'), query(select), ['txn-token', token]), /^0x2100.*another workload/)
    assert.equal(lastRecord().workload, 'spiffe://demo.local/svc/other')
    assert.equal(lastRecord().claimed, 'corp/alice')
  })

  it('is verified once for many requests that come before it is known', async () => {
    const from = await client()
    const token = txnToken('corp/alice')
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, stream) =>
        from.ask(withPayload(queryEnvelope(4, stream, select), [['txn-token', token]])),
      ),
    )
    for (const answer of answers) assert.match(describe(answer), isRows)
  })

  it('is judged by the policy that is in force at each request', async () => {
    const from = await client()
    const token = txnToken('corp/alice')
    assert.match(await ask(from, query(select), ['txn-token', token]), isRows)
    sidecar.feed.apply(policy.replace('person: corp/alice', 'person: corp/zoe'))
    assert.match(await ask(from, query(select), ['txn-token', token]), denied)
  })
})

suite('a bare name', () => {
  it('counts only where policy lets that workload say it', async () => {
    const [from, other] = [await client(), await client('other')]
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), isRows)
    assert.deepEqual([lastRecord().person, lastRecord().authentication], ['corp/bob', 'certificate+impersonation'])
    assert.match(await ask(from, query(insert), ['ProxyExecute', 'corp/bob']), denied)
    assert.equal(lastRecord().person, 'corp/bob')
    for (const [who, name] of [
      [from, 'corp/alice'],
      [from, 'bob'],
      [from, 'corp/bob\u0000'],
      [from, '/bob'],
      [other, 'corp/bob'],
    ] as const) {
      assert.match(await ask(who, query(select), ['ProxyExecute', name]), /^0x2100.*rule impersonate/, name)
      const isName = /^corp\/\w+$/.test(name)
      assert.deepEqual([lastRecord().person, lastRecord().claimed], [undefined, isName ? name : undefined], name)
      assert.equal(lastRecord().tokenHash === undefined, isName, name)
    }
    // In the place of a token it is none.
    assert.match(await ask(from, query(select), ['txn-token', 'corp/bob']), /^0x2100.*rule txn-token/)
  })

  it('is met by no rule that asks how the person was proved, where only the workload was proved so', async () => {
    const from = await client()
    const bare: [string, string] = ['ProxyExecute', 'corp/bob']
    const token: [string, string] = ['txn-token', txnToken('corp/bob')]
    const bobs =
      'operations: [READ, SCAN] }\n---\napiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: crew }'
    assert.ok(policy.includes(bobs))
    const asking = (...ways: string[]): string =>
      policy.replace(bobs, bobs.replace(' }', `, when: { authentication: [${ways.join()}] } }`))
    for (const [ways, byName, byToken] of [
      [['certificate'], false, false],
      [['impersonation'], true, false],
      [['txn-token'], false, true],
      [['certificate', 'txn-token'], false, true],
      [['impersonation', 'txn-token'], true, true],
    ] as const) {
      sidecar.feed.apply(asking(...ways))
      const answers = [await ask(from, query(select), bare), await ask(from, query(select), token)]
      assert.deepEqual(
        answers.map((answer) => isRows.test(answer)),
        [byName, byToken],
        `${ways}: ${answers}`,
      )
    }
    // What denies looks at both.
    const deny = rule(
      'never-by-name',
      `{ subjects: [${web}], keyspaces: [shop], operations: [READ], effect: deny, when: { authentication: [impersonation] } }`,
    )
    sidecar.feed.apply(policy + deny)
    assert.match(await ask(from, query(select), bare), denied)
    assert.match(await ask(from, query(select), token), isRows)
    assert.match(await ask(from, query(select)), isRows)
  })

  it('counts no more when policy takes the leave back', async () => {
    const from = await client()
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), isRows)
    sidecar.feed.apply(noImpersonation)
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), /^0x2100.*rule impersonate/)
    sidecar.feed.apply(policy)
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), isRows)
  })
})

suite('what is kept for somebody', () => {
  it('is the pair’s: a page goes on for the same person only', async () => {
    const from = await client()
    const text = 'SELECT keyspace_name, table_name FROM system_schema.tables'
    const page = async (entries: [string, string][], pagingState?: Buffer): Promise<Buffer> => {
      const envelope = queryEnvelope(4, 7, text, { pageSize: 1, ...(pagingState !== undefined && { pagingState }) })
      return from.ask(entries.length === 0 ? envelope : withPayload(envelope, entries))
    }
    const alice = (): [string, string][] => [['txn-token', txnToken('corp/alice')]]
    const bob: [string, string][] = [['ProxyExecute', 'corp/bob']]
    const first = await page(alice())
    const { pagingState } = readRows(wholeEnvelope(first), 4)
    assert.ok(pagingState)
    assert.equal(headerOpcode(await page(alice(), pagingState), 0), Opcode.RESULT)
    assert.match(describe(await page([['txn-token', txnToken('corp/bob')]], pagingState)), /^0x2200/)
    assert.match(describe(await page(bob, pagingState)), /^0x2200/)
    assert.match(describe(await page([], pagingState)), /^0x2200/)
    const bobs = await page([['txn-token', txnToken('corp/bob')]])
    const ofBob = readRows(wholeEnvelope(bobs), 4).pagingState
    assert.ok(ofBob)
    assert.equal(headerOpcode(await page([['ProxyExecute', txnToken('corp/bob')]], ofBob), 0), Opcode.RESULT)
    // By name and by token he is known in two ways, of which policy may ask.
    assert.match(describe(await page(bob, ofBob)), /^0x2200/)
  })

  it('lends what the workload prepared to whom it acts for, and nothing the other way round', async () => {
    const from = await client()
    const text = "SELECT * FROM shop.items WHERE k = 'lent'"
    const answer = await from.ask(withPayload(prepareEnvelope(4, 1, text), [['txn-token', txnToken('corp/alice')]]))
    const { id } = readPrepared(wholeEnvelope(answer), 4)
    const execute = executeEnvelope(4, 5, id, undefined, [])
    assert.match(await ask(from, execute, ['txn-token', txnToken('corp/alice')]), isRows)
    assert.match(await ask(from, execute), /^0x2500/)
    assert.match(await ask(from, execute, ['txn-token', txnToken('corp/bob')]), /^0x2500/)
    await prepared(from, text)
    assert.match(await ask(from, execute, ['txn-token', txnToken('corp/bob')]), isRows)
    assert.match(await ask(await client('other'), execute), /^0x2500/)
  })

  it('is the pair’s when the node has forgotten the statement and the request is served again', async () => {
    const from = await client()
    const put = await prepared(from, "INSERT INTO shop.items (k) VALUES ('forgotten')")
    const execute = executeEnvelope(4, 5, put, undefined, [])
    const alice = txnToken('corp/alice')
    assert.match(await ask(from, execute, ['txn-token', alice]), isRows)
    sidecar.node.prepared.clear()
    assert.match(await ask(from, execute, ['txn-token', alice]), isRows)
    assert.equal(lastRecord().person, 'corp/alice')
    // The same where what she may is taken away while it is prepared again: the workload alone still may.
    sidecar.node.prepared.clear()
    sidecar.node.intercept = (request) => {
      if (request.opcode !== Opcode.PREPARE) return false
      sidecar.feed.apply(policy.replace('person: corp/alice', 'person: corp/zoe'))
      return false
    }
    assert.match(await ask(from, execute, ['txn-token', alice]), denied)
    assert.equal(lastRecord().person, 'corp/alice')
    assert.match(await ask(from, execute), isRows)
  })

  it('is refused when its token’s key goes while the statement is prepared again', async () => {
    const from = await client()
    const put = await prepared(from, "INSERT INTO shop.items (k) VALUES ('key gone')")
    const execute = executeEnvelope(4, 5, put, undefined, [])
    const alice = txnToken('corp/alice')
    assert.match(await ask(from, execute, ['txn-token', alice]), isRows)
    sidecar.node.prepared.clear()
    sidecar.node.intercept = (request) => {
      if (request.opcode === Opcode.PREPARE) useTxnKeys(sidecar, [makeKey('t5')])
      return false
    }
    assert.match(await ask(from, execute, ['txn-token', alice]), /^0x2100.*ended meanwhile/)
  })

  it('is served again when somebody else is thrown out while the statement is prepared again, and refused when it is that person', async () => {
    const from = await client()
    const id = await prepared(from, `${select} WHERE k = 'thrown out'`)
    const execute = executeEnvelope(4, 5, id, undefined, [])
    const revoked = sidecar.feed.value(revocationKinds[1]!)
    const ended = /^0x2100.*ended meanwhile/
    const cases: readonly (readonly [payload: [string, string], again: RegExp])[] = [
      [['txn-token', txnToken('corp/alice')], isRows],
      [['txn-token', txnToken('corp/bob')], ended],
      [['ProxyExecute', 'corp/bob'], ended],
    ]
    for (const [payload, again] of cases) {
      assert.match(await ask(from, execute, payload), isRows)
      sidecar.node.prepared.clear()
      sidecar.node.intercept = (request) => {
        if (request.opcode !== Opcode.PREPARE) return false
        revoked.set([{ id: 1, kind: 'person', value: 'corp/bob' }])
        return false
      }
      assert.match(await ask(from, execute, payload), again)
      sidecar.node.intercept = undefined
      revoked.set([])
    }
  })

  it('is served again with any other payload, too', async () => {
    const from = await client()
    const id = await prepared(from, "SELECT * FROM shop.items WHERE k = 'other payload'")
    sidecar.node.prepared.clear()
    assert.match(await ask(from, executeEnvelope(4, 5, id, undefined, []), ['request-id', 'x']), isRows)
  })

  it('stays within its bounds for a workload that names many people', async () => {
    sidecar.feed.apply(policy.replace('impersonate: [{ person: corp/bob }]', 'impersonate: [{ person: corp/* }]'))
    const from = await client()
    for (let at = 0; at < 3 * limits.behalvesPerSessionMax; at++)
      assert.match(await ask(from, query(select), ['ProxyExecute', `corp/nobody${at}`]), denied)
    assert.match(await ask(from, query(select), ['ProxyExecute', 'corp/bob']), isRows)
  })
})

suite('a transaction token', () => {
  it('is written nowhere: neither whole nor its claims nor its signature', () => {
    const record = JSON.stringify(sidecar.records())
    assert.ok(tokensMade.length > 100)
    for (const token of tokensMade) {
      const [, claims = '', signature = ''] = token.split('.')
      for (const secret of [token, claims, signature].filter((text) => text !== '')) {
        assert.ok(!record.includes(secret), secret)
        for (const line of world.logged) assert.ok(!line.includes(secret), line)
      }
    }
  })
})
