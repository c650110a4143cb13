import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { type QueryOptions, queryEnvelope } from '../../cql/encode.ts'
import { wholeEnvelope } from '../../cql/envelope.ts'
import type { ProtocolVersion } from '../../cql/protocol.ts'
import { QueryView, readQuery } from '../../cql/requests.ts'
import { readPrepared, readRows } from '../../cql/responses.ts'
import { decodeValue } from '../../cql/values.ts'
import { answerQuestion, askedOf, preparedQuestion } from './answer.ts'
import { topologyForms } from './forms.fixture.ts'
import { murmur3Partitioner, type TopologyModel, virtualHosts } from './model.ts'
import { aboutTopology, type Question, readQuestion } from './question.ts'

/** Whole v4 envelopes that a Cassandra 5.0.9 node sent, by the statement that asked for them. */
const golden = new Map<string, string>(
  Object.entries(JSON.parse(readFileSync(new URL('fixtures/cassandra-5.0.9.json', import.meta.url), 'utf8'))),
)
const ofNode = (text: string) => Buffer.from(golden.get(text) ?? assert.fail(text), 'hex')

const place = { dataCenter: 'dc1', rack: 'rack1', clusterName: 'Orders' }
const model: TopologyModel = {
  clusterName: 'Orders',
  partitioner: murmur3Partitioner,
  releaseVersion: '5.0.9',
  cqlVersion: '3.4.7',
  nativeProtocolVersion: '5',
  schemaVersion: '6f0ec8e5-1b1d-3a57-9d8b-0d4cbc2b8f8a',
  hosts: virtualHosts(
    [1, 2, 3].map((n) => ({ address: `127.0.0.${n}`, port: 9042 })),
    place,
  ),
}
const [self, second] = [model.hosts[0]!, model.hosts[1]!]

function question(text: string): Question {
  const table = aboutTopology(text, '')
  assert.ok(table !== undefined, text)
  return readQuestion(text, table, Date.now)
}

/** What a client is sent that asks so. */
function answer(text: string, options: QueryOptions = {}, of = model, stream = 1, version: ProtocolVersion = 4) {
  const request = queryEnvelope(version, stream, text, options)
  const view = new QueryView()
  readQuery(view, wholeEnvelope(request), version)
  const asked = question(text)
  return answerQuestion(asked, askedOf(asked, view.params), of, of.hosts[0]!, version, stream)
}

function ask(text: string, values: (Buffer | null)[] = [], of: TopologyModel = model, options: QueryOptions = {}) {
  const envelope = answer(text, { values, ...options }, of)
  const { columns, rows } = readRows(wholeEnvelope(envelope), 4)
  return rows.map((row) =>
    Object.fromEntries(row.map((cell, n) => [columns![n]!.name, decodeValue(columns![n]!.type, cell)])),
  )
}

const inet = (text: string) => Buffer.from(text.split('.').map(Number))
const int = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

describe('answers look like a real node’s', () => {
  for (const table of ['local', 'peers', 'peers_v2']) {
    it(`the columns of system.${table}, byte by byte`, () => {
      const text = `SELECT * FROM system.${table}`
      const node = ofNode(text)
      const ours = answer(text)
      // kind, flags, column count, keyspace, table, then each name with its type: all in front of the row count
      const { columns } = readRows(wholeEnvelope(node), 4)
      assert.deepEqual(readRows(wholeEnvelope(ours), 4).columns, columns)
      const metadataEnd =
        9 +
        12 +
        8 +
        2 +
        table.length +
        columns!.reduce((sum, { name, type }) => sum + 2 + name.length + typeBytes(type.kind), 0)
      assert.deepEqual(ours.subarray(9, metadataEnd), node.subarray(9, metadataEnd))
      assert.deepEqual(ours.subarray(0, 5), node.subarray(0, 5))
    })
  }

  it('the same cells are null, and what is not an address or a number of this cluster is equal', () => {
    const node = ofNode('SELECT * FROM system.local')
    const { columns, rows } = readRows(wholeEnvelope(node), 4)
    const real = Object.fromEntries(
      rows[0]!.map((cell, n) => [columns![n]!.name, decodeValue(columns![n]!.type, cell)]),
    )
    const ours = ask('SELECT * FROM system.local')[0]!
    // A node that truncated a table at some time says when; nothing is truncated in a gateway.
    const names = Object.keys(real).filter((name) => name !== 'truncated_at')
    for (const name of names) assert.equal(ours[name] === null, real[name] === null, name)
    for (const name of [
      'key',
      'bootstrapped',
      'cql_version',
      'native_protocol_version',
      'partitioner',
      'release_version',
    ]) {
      assert.equal(ours[name], real[name], name)
    }
  })

  it('count(*), byte by byte with the warning that a node adds', () => {
    const node = ofNode('SELECT count(*) FROM system.local')
    assert.deepEqual(answer('SELECT count(*) FROM system.local', {}, model, node.readInt16BE(2)), node)
  })

  for (const text of [
    'SELECT cluster_name FROM system.local WHERE key = ? LIMIT ?',
    'SELECT * FROM system.peers_v2 WHERE peer = :address AND peer_port = :port',
  ]) {
    it(`PREPARE ${text}`, () => {
      const node = ofNode(`PREPARE ${text}`)
      const { envelope, id } = preparedQuestion(question(text), text, 4, 1)
      assert.deepEqual(envelope.subarray(13, 15), node.subarray(13, 15))
      assert.deepEqual(envelope.subarray(15, 31), id)
      assert.deepEqual(envelope.subarray(31), node.subarray(31))
    })
  }
})

function typeBytes(kind: string): number {
  return kind === 'set' ? 4 : kind === 'map' ? 6 : 2
}

describe('the virtual ring', () => {
  it('names mesh addresses only, self in local and all others in the peers', () => {
    const local = ask("SELECT * FROM system.local WHERE key='local'")[0]!
    for (const name of ['broadcast_address', 'listen_address', 'rpc_address']) assert.equal(local[name], '127.0.0.1')
    assert.equal(local.rpc_port, 9042)
    assert.equal(local.host_id, self.hostId)
    assert.equal(local.cluster_name, 'Orders')
    assert.deepEqual(local.tokens, [...self.tokens].sort())
    assert.deepEqual(ask('SELECT peer, rpc_address FROM system.peers'), [
      { peer: '127.0.0.3', rpc_address: '127.0.0.3' },
      { peer: '127.0.0.2', rpc_address: '127.0.0.2' },
    ])
    assert.deepEqual(
      ask('SELECT native_address, native_port FROM system.peers_v2'),
      // In the order of the tokens of their addresses, as of every key.
      ['127.0.0.3', '127.0.0.2'].map((native_address) => ({ native_address, native_port: 9042 })),
    )
  })

  it('has what drivers need in every row, so that none is dropped', () => {
    const needed = ['host_id', 'data_center', 'rack', 'release_version', 'schema_version', 'tokens']
    for (const row of [
      ...ask('SELECT * FROM system.peers'),
      ...ask('SELECT * FROM system.peers_v2'),
      ...ask('SELECT * FROM system.local'),
    ]) {
      for (const name of needed) assert.notEqual(row[name], null, name)
    }
  })

  it('keeps hosts apart that share an address, and shows the older table only what it can say', () => {
    const shared: TopologyModel = {
      ...model,
      hosts: virtualHosts(
        [9042, 9043, 9044].map((port) => ({ address: '127.0.0.1', port })),
        place,
      ),
    }
    const peers = ask('SELECT peer, peer_port, native_port FROM system.peers_v2', [], shared)
    assert.deepEqual(
      peers.map((row) => row.native_port),
      [9043, 9044],
    )
    assert.equal(new Set(peers.map((row) => row.peer_port)).size, 2)
    assert.deepEqual(ask('SELECT * FROM system.peers', [], shared), [])
  })

  it('shows agreement when the nodes agree, and disagreement while they do not', () => {
    const versions = (of: TopologyModel) =>
      new Set(
        [
          ...ask('SELECT schema_version FROM system.local', [], of),
          ...ask('SELECT schema_version FROM system.peers', [], of),
        ].map((row) => row.schema_version),
      )
    assert.equal(versions(model).size, 1)
    assert.equal(versions({ ...model, dissentingSchemaVersion: '00000000-1b1d-3a57-9d8b-0d4cbc2b8f8a' }).size, 2)
  })
})

describe('conditions', () => {
  it('pick rows by literal and by bound value', () => {
    const row = [{ host_id: second.hostId }]
    assert.deepEqual(ask("SELECT host_id FROM system.peers WHERE peer = '127.0.0.2'"), row)
    assert.deepEqual(ask('SELECT host_id FROM system.peers WHERE peer = ?', [inet('127.0.0.2')]), row)
    assert.deepEqual(ask("SELECT host_id FROM system.peers_v2 WHERE peer = '127.0.0.2' AND peer_port = 7000"), row)
    assert.deepEqual(
      ask('SELECT host_id FROM system.peers_v2 WHERE peer = :a AND peer_port = :p', [inet('127.0.0.2'), int(7000)]),
      row,
    )
    assert.deepEqual(ask(`SELECT host_id FROM system.peers WHERE host_id = ${second.hostId} ALLOW FILTERING`), row)
    assert.deepEqual(ask("SELECT key FROM system.local WHERE key = $$local$$ AND rack = 'rack1' ALLOW FILTERING"), [
      { key: 'local' },
    ])
  })

  it('leave no row where nothing matches, and not self among the peers', () => {
    assert.deepEqual(ask("SELECT * FROM system.peers WHERE peer = '127.0.1.2'"), [])
    assert.deepEqual(ask("SELECT * FROM system.peers WHERE peer = '127.0.0.1'"), [])
    assert.deepEqual(ask("SELECT * FROM system.local WHERE key = 'lo''cal'"), [])
    assert.deepEqual(ask('SELECT * FROM system.peers_v2 WHERE peer = ?', [Buffer.alloc(16)]), [])
    assert.deepEqual(ask("SELECT count(*) AS n FROM system.peers WHERE peer = '127.0.1.2'"), [{ n: 0n }])
  })

  it('are bounded by LIMIT, which does not bound what count(*) counts', () => {
    assert.equal(ask('SELECT * FROM system.peers LIMIT 1').length, 1)
    assert.equal(ask('SELECT * FROM system.peers LIMIT ?', [int(1)]).length, 1)
    assert.deepEqual(ask('SELECT count(*) FROM system.peers LIMIT 1'), [{ count: 2n }])
  })

  it('refuse values that do not fit', () => {
    const refused = (text: string, values: (Buffer | null)[], message: RegExp) =>
      assert.throws(() => ask(text, values), { code: 'INVALID', message })
    refused('SELECT * FROM system.peers WHERE peer = ?', [], /^Invalid amount of bind variables$/)
    refused('SELECT * FROM system.peers', [int(1)], /^Invalid amount/)
    refused('SELECT * FROM system.peers WHERE peer = ?', [null], /^Invalid null value in condition for column peer$/)
    refused('SELECT * FROM system.peers WHERE peer = ?', [Buffer.alloc(5)], /no valid inet/)
    refused('SELECT * FROM system.peers LIMIT ?', [int(0)], /^LIMIT must be strictly positive$/)
    refused('SELECT * FROM system.peers LIMIT ?', [Buffer.alloc(3)], /no valid int/)
    refused('SELECT * FROM system.peers LIMIT ?', [null], /^Invalid null value of limit$/)
  })
})

describe('what can only be wrong when a statement is executed', () => {
  for (const { text, values, pageSize, pagingState, refused } of topologyForms.filter(({ prepares }) => prepares)) {
    const of = values === undefined ? '' : ` with ${values.map((value) => value?.toString('hex') ?? 'null').join()}`
    const after = pagingState === undefined ? '' : ` after a page of ${pagingState.length} bytes`
    it(`is prepared, and refused then: ${text}${of}${after}`, () => {
      assert.ok(preparedQuestion(question(text), text, 4, 1).envelope.length > 0)
      const options = {
        ...(values === undefined ? {} : { values }),
        ...(pageSize === undefined ? {} : { pageSize }),
        ...(pagingState === undefined ? {} : { pagingState }),
      }
      assert.throws(() => answer(text, options), { code: refused === 0x000a ? 'PROTOCOL' : 'INVALID' })
    })
  }
})

describe('bound values', () => {
  const statement = 'SELECT host_id FROM system.peers_v2 WHERE peer = :address AND peer_port = :port'
  const bind = (values: (Buffer | null)[], names?: string[]) =>
    ask(statement, values, model, names === undefined ? {} : { names })

  it('are found by position or by name; the first of two equal names counts', () => {
    const row = [{ host_id: second.hostId }]
    assert.deepEqual(bind([inet('127.0.0.2'), int(7000)]), row)
    assert.deepEqual(bind([int(7000), inet('127.0.0.2')], ['port', 'address']), row)
    const twice = [int(7000), inet('127.0.0.2'), inet('127.0.0.3')]
    assert.deepEqual(bind(twice, ['port', 'address', 'address']), row)
    // A `?` has the name of its column.
    assert.deepEqual(
      ask('SELECT host_id FROM system.peers WHERE peer = ?', [inet('127.0.0.2')], model, { names: ['peer'] }),
      row,
    )
  })

  it('are refused when one is missing', () => {
    assert.throws(() => bind([int(1)]), { code: 'INVALID' })
    assert.throws(() => bind([int(1), int(1)], ['port', 'adress']), { code: 'INVALID' })
  })
})

describe('pages', () => {
  it('go on where the page before ended, on whichever gateway', () => {
    const text = 'SELECT host_id FROM system.peers_v2'
    const seen: string[] = []
    let pagingState: Buffer | undefined
    do {
      const options = pagingState === undefined ? { pageSize: 1 } : { pageSize: 1, pagingState }
      const envelope = answer(text, options)
      const page = readRows(wholeEnvelope(envelope), 4)
      assert.ok(page.rows.length <= 1)
      seen.push(...page.rows.map(([cell]) => cell!.toString('hex')))
      pagingState = page.pagingState ?? undefined
    } while (pagingState !== undefined)
    assert.equal(new Set(seen).size, 2)
    assert.throws(() => answer(text, { pageSize: 1, pagingState: Buffer.from('nonsense') }), { code: 'PROTOCOL' })
  })

  it('are bounded in bytes', () => {
    const wide = `SELECT ${Array(300).fill('tokens').join(', ')} FROM system.peers`
    const many = {
      ...model,
      hosts: virtualHosts(
        Array.from({ length: 60 }, (_, n) => ({ address: `10.0.0.${n}`, port: 9042 })),
        place,
      ),
    }
    assert.throws(() => answer(wide, {}, many), { code: 'INVALID', message: /larger than 1048576 bytes/ })
    assert.ok(answer(wide, { pageSize: 5 }, many).length < 1_048_576)
  })
})

describe('PREPARED', () => {
  it('has one id for one text, another for another, and a result id in v5', () => {
    const prepare = (text: string, version: 4 | 5) => {
      const { id, envelope } = preparedQuestion(question(text), text, version, 3)
      const read = readPrepared(wholeEnvelope(envelope), version)
      assert.deepEqual(read.id, id)
      return read
    }
    const text = 'SELECT * FROM system.local WHERE key = ?'
    assert.deepEqual(prepare(text, 4).id, prepare(text, 5).id)
    assert.notDeepEqual(prepare(text, 4).id, prepare(`${text};`, 4).id)
    assert.equal(prepare(text, 5).resultMetadataId?.length, 16)
    assert.deepEqual(prepare(text, 4).bind.pkIndexes, [0])
    assert.deepEqual(prepare('SELECT * FROM system.peers_v2 WHERE peer_port = ? AND peer = ?', 4).bind.pkIndexes, [1])
    assert.deepEqual(prepare('SELECT * FROM system.local', 4).bind.columns, [])
  })
})
