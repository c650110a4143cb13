/**
 * What is hidden from one of a workload and the person behind a request is hidden from the two of them, by every channel; and what the workload asks
 * for itself, on the same connection and with the same prepared statement, is as it was.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, rowsEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode, type ProtocolVersion, ResultKind } from '../../src/cql/protocol.ts'
import { readPrepared, readRows, resultKind } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, World } from './world.ts'

const document = (kind: string, name: string, spec: object): string =>
  `---\n${JSON.stringify({ apiVersion: 'ringfence.dev/v1alpha1', kind, metadata: { name }, spec })}\n`
const web = { spiffeId: 'spiffe://demo.local/svc/web' }
const alice = { person: 'corp/alice' }
const rule = (name: string, subject: object, keyspaces: string[]): string =>
  document('AccessPolicy', name, { subjects: [subject], keyspaces, operations: ['ALL'] })
const mask = (name: string, subject: object, more: object): string =>
  document('MaskingPolicy', name, { subjects: [subject], mask: 'full', ...more })
const noUnmask = document('AccessPolicy', 'no-unmask', {
  effect: 'deny',
  subjects: [{ spiffeId: 'spiffe://demo.local/*' }],
  keyspaces: ['shop'],
  operations: ['UNMASK'],
})
const corp = document('IdentityProvider', 'corp', { type: 'oidc', issuer: 'https://x.example', audiences: ['x'] })

/** Of one of both something is hidden, of the other nothing. */
const policies: Record<string, { readonly policy: string; readonly ofWorkload: boolean }> = {
  'from the person': {
    policy: [
      rule('web', web, ['shop', 'play']),
      rule('alice', alice, ['shop']),
      mask('masks', alice, { keyspaces: ['shop'], columns: ['v'] }),
      mask('topology', alice, { keyspaces: ['system'], tables: ['local'], columns: ['cluster_name'] }),
    ].join(''),
    ofWorkload: false,
  },
  'from the workload': {
    policy: [
      rule('web', web, ['shop']),
      rule('alice', alice, ['shop', 'play']),
      mask('masks', web, { keyspaces: ['shop'], columns: ['v'] }),
      mask('topology', web, { keyspaces: ['system'], tables: ['local'], columns: ['cluster_name'] }),
    ].join(''),
    ofWorkload: true,
  },
}

const text = native('text')
const boolean = native('boolean')
let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  const node = await world.node()
  const key = { partitionKey: { k: 'text' }, regulars: { v: 'text' } }
  node.schema.add({ keyspace: 'shop', name: 'seen', base: 'items', ...key })
  node.intercept = answer
  sidecar = await world.sidecar({ node, policy: policies['from the person']!.policy + corp + noUnmask })
  gateway = await world.gateway([sidecar])
  useTxnKeys(sidecar)
})
after(() => world.close())
beforeEach(() => {
  sidecar.node.requests.length = 0
})

function answer({ opcode, text: asked, connection: { version, keyspace }, reply }: NodeRequest): boolean {
  if (opcode === Opcode.PREPARE || /system|^USE/.test(asked)) return false
  if (asked.startsWith('DESCRIBE')) {
    const columns = ['keyspace_name', 'type', 'name'].map((name) => ({ name, type: text }))
    const rows = ['shop', 'play'].flatMap((name) =>
      [
        [name, 'keyspace', name],
        [name, 'table', 'items'],
      ].map((row) => row.map((cell) => Buffer.from(cell))),
    )
    reply(rowsEnvelope(version, 0, { keyspace: 'system', table: 'describe', columns }, rows))
    return true
  }
  const isConditional = / IF /.test(asked)
  const columns = [
    ...(isConditional ? [{ name: '[applied]', type: boolean }] : []),
    { name: 'k', type: text },
    { name: 'v', type: text },
  ]
  const row = [...(isConditional ? [Buffer.alloc(1)] : []), Buffer.from('key'), Buffer.from('value')]
  const table = asked.includes('seen') ? 'seen' : 'items'
  reply(rowsEnvelope(version, 0, { keyspace: keyspace || 'shop', table, columns }, [row]))
  return true
}

const shows: Record<string, (version: ProtocolVersion) => Buffer> = {
  'SELECT *': (version) => queryEnvelope(version, 5, 'SELECT * FROM shop.items'),
  'SELECT of columns': (version) => queryEnvelope(version, 5, 'SELECT k, v FROM shop.items'),
  'SELECT of a view': (version) => queryEnvelope(version, 5, 'SELECT * FROM shop.seen'),
  'a condition': (version) => queryEnvelope(version, 5, "UPDATE shop.items SET v = 'a' WHERE k = 'a' IF EXISTS"),
  'a condition in a BATCH': (version) =>
    batchEnvelope(version, 5, 0, [{ text: "INSERT INTO shop.items (k) VALUES ('a') IF NOT EXISTS", values: [] }]),
}
const uses = [
  'SELECT JSON * FROM shop.items',
  'SELECT JSON v FROM shop.items',
  'SELECT max(v) FROM shop.items',
  'SELECT shop.f(v) FROM shop.items',
  'SELECT cast(v AS blob) FROM shop.items',
  'SELECT writetime(v) FROM shop.items',
  "SELECT k FROM shop.items WHERE v = 'a' ALLOW FILTERING",
  'SELECT k FROM shop.seen GROUP BY k, v',
  'SELECT k FROM shop.items ORDER BY v',
  "UPDATE shop.items SET v = 'a' WHERE k = 'a' IF v = 'guess'",
  'CREATE INDEX ON shop.items (v)',
]

const words = (envelope: Buffer, version: ProtocolVersion): string => {
  const isRows = headerOpcode(envelope, 0) === Opcode.RESULT && resultKind(wholeEnvelope(envelope)) === ResultKind.ROWS
  if (!isRows) return describe(envelope)
  return readRows(wholeEnvelope(envelope), version)
    .rows.map((row) => row.filter((cell) => cell !== null && cell.length > 1).join())
    .join(' ')
}
const asAlice = (envelope: Buffer): Buffer => withPayload(envelope, [['txn-token', txnToken('corp/alice')]])

async function both(client: RawClient, envelope: Buffer): Promise<[workload: string, pair: string]> {
  const { version } = client
  const workload = words(await client.ask(envelope), version)
  return [workload, words(await client.ask(asAlice(envelope)), version)]
}

for (const [whom, { policy, ofWorkload }] of Object.entries(policies)) {
  suite(`what is hidden ${whom}`, () => {
    before(() => sidecar.feed.apply(policy + corp + noUnmask))

    for (const door of ['at a sidecar', 'through a gateway']) {
      const open = (version: ProtocolVersion): Promise<RawClient> =>
        world.client(door === 'at a sidecar' ? sidecar.port : gateway.port, 'web', { version })

      for (const version of [4, 5] as const) {
        it(`is masked for the two of them in whatever shows it, ${door}, v${version}`, async () => {
          const client = await open(version)
          for (const [name, envelope] of Object.entries(shows)) {
            const [workload, pair] = await both(client, envelope(version))
            assert.deepEqual([workload, pair], [ofWorkload ? 'key,****' : 'key,value', 'key,****'], name)
          }
          const prepared = await client.ask(prepareEnvelope(version, 1, 'SELECT * FROM shop.items'))
          const { id, resultMetadataId } = readPrepared(wholeEnvelope(prepared), version)
          const execute = executeEnvelope(version, 5, id, resultMetadataId, [], { skipMetadata: true })
          for (let turn = 0; turn < 3; turn++)
            assert.deepEqual(await both(client, execute), [ofWorkload ? 'key,****' : 'key,value', 'key,****'])
          client.close()
        })
      }

      it(`may not be used by the two of them, ${door}`, async () => {
        const client = await open(4)
        for (const asked of uses) {
          const [workload, pair] = await both(client, queryEnvelope(4, 5, asked))
          assert.match(pair, /^0x2100 .*\(rule masks|^0x2100 .*no EXECUTE/, asked)
          if (!ofWorkload && !asked.includes('shop.f')) assert.doesNotMatch(workload, /^0x2100/, asked)
        }
        client.close()
      })

      it(`is in no question about the schema and in no description, ${door}`, async () => {
        const client = await open(4)
        for (const asked of [
          "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name IN ('play', 'shop')",
          "SELECT DISTINCT keyspace_name FROM system_schema.tables WHERE keyspace_name IN ('play', 'shop')",
          "SELECT max(keyspace_name), min(keyspace_name) FROM system_schema.tables WHERE keyspace_name IN ('play', 'shop')",
          'DESCRIBE KEYSPACES',
          'DESCRIBE TABLES',
        ]) {
          const [workload, pair] = await both(client, queryEnvelope(4, 5, asked))
          assert.match(pair, /shop/, asked)
          assert.doesNotMatch(pair, /play/, asked)
          if (!ofWorkload) assert.match(workload, /play/, asked)
        }
        for (const refused of ['SELECT * FROM play.items', 'USE play', 'DESCRIBE TABLE play.items'])
          assert.match((await both(client, queryEnvelope(4, 5, refused)))[1], /^0x2100/, refused)
        client.close()
      })
    }

    it('is masked in what a gateway knows', async () => {
      const client = await world.client(gateway.port, 'web')
      const envelope = queryEnvelope(4, 5, 'SELECT cluster_name, key FROM system.local')
      const [workload, pair] = await both(client, envelope)
      assert.equal(pair, '****,local')
      assert.equal(workload === pair, ofWorkload, workload)
      client.close()
    })

    it('is on record for whom it was, with every table', async () => {
      const client = await world.client(sidecar.port, 'web')
      for (const [asked, tables] of [
        ['SELECT * FROM shop.seen', ['shop.seen', 'shop.items']],
        ["INSERT INTO shop.items (k) VALUES ('a')", ['shop.items', 'shop.seen']],
        ['SELECT keyspace_name FROM system_schema.keyspaces', ['system_schema.keyspaces']],
        [
          "BEGIN BATCH INSERT INTO shop.items (k) VALUES ('a'); DELETE FROM play.items WHERE k = 'a' APPLY BATCH",
          ['shop.items', 'shop.seen', 'play.items'],
        ],
      ] as const) {
        await client.ask(asAlice(queryEnvelope(4, 5, asked)))
        const line = sidecar.records().findLast(({ person }) => person !== undefined)!
        assert.deepEqual([line.person, line.workload], ['corp/alice', web.spiffeId])
        assert.deepEqual([...(line.tables as string[])].sort(), [...tables].sort(), asked)
      }
      client.close()
    })
  })
}
