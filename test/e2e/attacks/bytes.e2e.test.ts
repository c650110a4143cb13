/**
 * Rows of the catalogue that are about bytes and not about words: A6, A11, B10, B12 to B18. The bytes are made by hand. What
 * `hostile.e2e.test.ts` sends is not sent again (`coverage.ts` says which). Nothing of it may arrive at the node, and whoever is not
 * closed goes on.
 */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc24, crc32 } from '../../../src/cql/crc.ts'
import { batchEnvelope, optionsEnvelope } from '../../../src/cql/encode.fixture.ts'
import { prepareEnvelope, queryEnvelope, registerEnvelope } from '../../../src/cql/encode.ts'
import { wholeEnvelope } from '../../../src/cql/envelope.ts'
import {
  envelopeHeaderBytes,
  headerOpcode,
  headerStream,
  Opcode,
  type ProtocolVersion,
} from '../../../src/cql/protocol.ts'
import { readRows } from '../../../src/cql/responses.ts'
import { type ClientOptions, describe, RawClient } from '../../path/client.ts'
import { type MeshFixture, useMesh } from '../fixture.ts'
import { openAt, pemsOf } from '../people.ts'
import { codeOf, idOf } from './sender.ts'

const mark = `bytes-${Date.now().toString(36)}`
const closeMsMax = 15_000
/** Answered by the node, so it would be seen there. */
const local = (name: string): string => `SELECT key FROM system.local WHERE key = '${mark} ${name}'`
const hello = "SELECT release_version FROM system.local WHERE key = 'local'"

let mesh: MeshFixture
let credentials: NonNullable<ClientOptions['credentials']>
let started: string

before(async () => {
  mesh = await useMesh()
  credentials = pemsOf(await mesh.identity(idOf('attacker')))
  started = new Date().toISOString()
})
after(async () => {
  // Everything above has the mark, and none of it was to arrive; what was permitted says `arrives`.
  const lines = await mesh.cassandraLines(mark)
  assert.deepEqual(
    lines.filter((line) => !line.includes('arrives')),
    [],
  )
})

const place = (): { host: string; port: number } => mesh.doors.sidecar
const open = async (version: ProtocolVersion = 4): Promise<RawClient> =>
  openAt(mesh.doors.sidecar, await mesh.identity(idOf('attacker')), version)

async function closes(client: RawClient): Promise<void> {
  assert.notEqual(await Promise.race([client.closed, sleep(closeMsMax, 'still open')]), 'still open')
}

/** A protocol error (or another that ends the connection) on `stream`, then the end. */
async function endsWith(client: RawClient, pattern: RegExp, stream = 7): Promise<void> {
  const answer = await client.next()
  assert.match(describe(answer), pattern)
  assert.equal(headerStream(answer, 0), stream)
  await closes(client)
}

async function goesOn(client: RawClient): Promise<void> {
  const answer = await client.ask(queryEnvelope(client.version, 30_000, hello))
  assert.equal(codeOf(answer), -1, describe(answer))
  client.close()
}

function envelope(version: number, opcode: number, body: Buffer, flags = 0, stream = 7): Buffer {
  const header = Buffer.alloc(envelopeHeaderBytes)
  header[0] = version
  header[1] = flags
  header.writeInt16BE(stream, 2)
  header[4] = opcode
  header.writeInt32BE(body.length, 5)
  return Buffer.concat([header, body])
}

const int = (n: number): Buffer => Buffer.from([n >> 24, n >> 16, n >> 8, n])
const short = (n: number): Buffer => Buffer.from([n >> 8, n])
const string = (text: string): Buffer => Buffer.concat([short(Buffer.byteLength(text)), Buffer.from(text)])
const longString = (bytes: Buffer): Buffer => Buffer.concat([int(bytes.length), bytes])
/** A BATCH of one statement: of which kind it is (0: text), the statement, and the flags behind the consistency. */
const batchOf = (kind: number, text: Buffer, flags: number): Buffer =>
  envelope(
    4,
    Opcode.BATCH,
    Buffer.concat([
      Buffer.from([0]),
      short(1),
      Buffer.from([kind]),
      longString(text),
      short(0),
      short(1),
      Buffer.from([flags]),
    ]),
  )
/** <query_parameters> of v4: consistency ONE and these flags. */
const params = (flags: number, ...rest: Buffer[]): Buffer => Buffer.concat([short(1), Buffer.from([flags]), ...rest])
const query = (text: Buffer, rest: Buffer = params(0)): Buffer =>
  envelope(4, Opcode.QUERY, Buffer.concat([longString(text), rest]))
const startup = (...pairs: [string, string][]): Buffer =>
  Buffer.concat([short(pairs.length), ...pairs.flat().map(string)])

/** Bytes that are no UTF-8, inside a text literal. */
const malformed: Record<string, string> = {
  'a lone continuation byte': '80',
  'an overlong quote': 'c0a7',
  'an overlong slash of three bytes': 'e080af',
  'half a surrogate pair': 'eda080',
  'a surrogate pair of six bytes (CESU-8)': 'eda0bdedb880',
  'a character above U+10FFFF': 'f4908080',
  'a byte that never stands in UTF-8': 'ff',
  'a character that is cut off': 'e282',
}

suite('A6 malformed UTF-8 is a protocol error, in each place where text may stand', () => {
  for (const [name, hex] of Object.entries(malformed)) {
    const bad = Buffer.from(hex, 'hex')
    const text = Buffer.concat([
      Buffer.from(`SELECT key FROM system.local WHERE key = '${mark} utf8 `),
      bad,
      Buffer.from("'"),
    ])
    it(name, async () => {
      const places = [
        query(text),
        envelope(4, Opcode.PREPARE, longString(text)),
        batchOf(0, text, 0),
        envelope(4, Opcode.REGISTER, Buffer.concat([short(1), short(bad.length), bad])),
      ]
      for (const bytes of places) {
        const client = await open()
        client.socket.write(bytes)
        await endsWith(client, /^0x000a /)
      }
    })
  }
})

suite('A11 statements made to be expensive', () => {
  const heavy: Record<string, string> = {
    '10⁵ parentheses': `SELECT * FROM e2e_attacks.open WHERE k = ${'('.repeat(100_000)}`,
    '10⁵ lists': `INSERT INTO e2e_attacks.open (k) VALUES (${'['.repeat(100_000)}`,
    '10⁵ types': `CREATE TABLE e2e_attacks.t (a ${'list<'.repeat(100_000)}`,
    '10⁵ maps': `SELECT * FROM e2e_attacks.open WHERE k = ${'{1: '.repeat(100_000)}`,
    'a million tokens': `SELECT * FROM e2e_attacks.open WHERE k IN (${'1,'.repeat(500_000)}1`,
    'one text of a mebibyte': `SELECT v FROM e2e_attacks.secret WHERE k = '${'x'.repeat(1_048_500)}'`,
    'a mebibyte and one': `SELECT v FROM e2e_attacks.secret WHERE k = '${'x'.repeat(1_048_600)}'`,
    'a long number': `SELECT v FROM e2e_attacks.secret WHERE k = ${'9'.repeat(1_000_000)}`,
    'a long exponent': `SELECT v FROM e2e_attacks.secret WHERE k = 1e${'9'.repeat(1_000_000)}`,
    'comments alone': '/**/'.repeat(250_000),
    'semicolons alone': `SELECT v FROM e2e_attacks.secret WHERE k = 'a'${';'.repeat(1_000_000)}`,
  }
  for (const [name, text] of Object.entries(heavy)) {
    it(`${name} is refused, and others do not wait for it`, async (t) => {
      const [attacker, bystander] = [await open(), await open()]
      let done = false
      let slowestMs = 0
      const pings = (async () => {
        for (let stream = 1; !done; stream = (stream % 100) + 1) {
          const begun = performance.now()
          await bystander.ask(queryEnvelope(4, stream, hello))
          slowestMs = Math.max(slowestMs, performance.now() - begun)
        }
      })()
      const begun = performance.now()
      const answer = await attacker.ask(queryEnvelope(4, 7, text))
      const tookMs = performance.now() - begun
      done = true
      await pings
      t.diagnostic(`answered in ${Math.round(tookMs)} ms, slowest bystander ${Math.round(slowestMs)} ms`)
      assert.match(describe(answer), /^0x(2000|2200|2100|1001) /)
      // The node answers the bystander too: bounds on the mesh alone are held where it is alone (bench/, analyst.test.ts).
      assert.ok(tookMs < 1000, `${tookMs} ms`)
      assert.ok(slowestMs < 500, `${slowestMs} ms`)
      attacker.close()
      await goesOn(bystander)
    })
  }
})

suite('B10 messages out of their state', () => {
  it('REGISTER before STARTUP is the end', async () => {
    const client = await RawClient.connect({ ...place(), credentials })
    client.send(registerEnvelope(4, 7, ['SCHEMA_CHANGE']))
    await endsWith(client, /^0x000a .*expecting STARTUP or OPTIONS/)
  })

  it('OPTIONS before STARTUP has an end', async () => {
    const client = await RawClient.connect({ ...place(), credentials })
    const flood = Buffer.concat(Array.from({ length: 1000 }, () => optionsEnvelope(4, 7)))
    for (let sent = 0; sent < 100 && !client.isClosed; sent++) client.socket.write(flood)
    await closes(client)
  })

  it('OPTIONS and REGISTER after READY are answered', async () => {
    const client = await open()
    assert.equal(headerOpcode(await client.ask(optionsEnvelope(4, 1)), 0), Opcode.SUPPORTED)
    assert.equal(headerOpcode(await client.ask(registerEnvelope(4, 2, ['STATUS_CHANGE'])), 0), Opcode.READY)
    await goesOn(client)
  })
})

suite('B12 streams', () => {
  it('a negative stream is the end', async () => {
    const client = await open()
    client.socket.write(
      envelope(4, Opcode.QUERY, Buffer.concat([longString(Buffer.from(local('negative'))), params(0)]), 0, -2),
    )
    await closes(client)
  })

  it('thousands in flight each get their own answer', async () => {
    const client = await open()
    const count = 5000
    const answers = await Promise.all(
      Array.from({ length: count }, (_, n) =>
        // Five thousand new texts, each read and decided on: seconds on a busy machine.
        client.ask(queryEnvelope(4, n, `SELECT (int) ${n} AS n FROM system.local WHERE key = 'local'`), 30_000),
      ),
    )
    answers.forEach((answer, n) => {
      assert.equal(headerStream(answer, 0), n)
      assert.equal(readRows(wholeEnvelope(answer), 4).rows[0]?.[0]?.readInt32BE(0), n, describe(answer))
    })
    await goesOn(client)
  })
})

suite('B13 many requests in one write', () => {
  it('are judged each alone and answered each on its stream', async () => {
    for (const version of [4, 5] as const) {
      const client = await open(version)
      const texts = [
        `SELECT role FROM system_auth.roles WHERE role = '${mark}'`,
        hello,
        'nonsense',
        `DELETE FROM system_auth.roles WHERE role = '${mark}'`,
        hello,
      ]
      const answers = await Promise.all(texts.map((text, stream) => client.ask(queryEnvelope(version, stream, text))))
      assert.deepEqual(answers.map(codeOf), [0x2100, -1, 0x2000, 0x2100, -1])
      await goesOn(client)
    }
  })
})

suite('B14 custom payload', () => {
  /** A question with a custom payload of this one entry. */
  const withPayload = (key: string, value: string): Buffer => {
    const payload = Buffer.concat([short(1), string(key), longString(Buffer.from(value))])
    return envelope(4, Opcode.QUERY, Buffer.concat([payload, longString(Buffer.from(local('arrives'))), params(0)]), 4)
  }

  it('is taken off, whatever its key, where it names nobody', async () => {
    const client = await open()
    for (const key of ['request-id', 'tenant', 'ProxyExecute ', 'txn-tokens', 'SCYLLA_SHARD', '']) {
      const answer = await client.ask(withPayload(key, 'cassandra'))
      assert.equal(codeOf(answer), -1, `${key}: ${describe(answer)}`)
    }
    await goesOn(client)
  })

  it('makes nobody of who sends it: what names somebody is refused without a rule that lets it', async () => {
    const client = await open()
    // Nearly the right name names somebody, too.
    for (const key of ['ProxyExecute', 'txn-token', 'proxyexecute', 'TXN-TOKEN', 'Txn_Token'])
      for (const value of ['cassandra', 'ringfence', 'corp/alice', 'e30.e30.', '']) {
        const answer = await client.ask(withPayload(key, value))
        assert.equal(codeOf(answer), 0x2100, `${key} ${value}: ${describe(answer)}`)
      }
    await goesOn(client)
  })
})

suite('B15 compression', () => {
  it('that was not agreed is a protocol error in v4', async () => {
    const client = await open()
    client.socket.write(envelope(4, Opcode.QUERY, Buffer.from('00000010f0ffffffff', 'hex'), 1))
    await endsWith(client, /^0x000a /)
  })

  it('of a kind that nobody speaks is refused at STARTUP', async () => {
    for (const name of ['snappy', 'zstd', 'LZ4,snappy', '']) {
      const client = await RawClient.connect({ ...place(), credentials })
      client.send(envelope(4, Opcode.STARTUP, startup(['CQL_VERSION', '3.0.0'], ['COMPRESSION', name])))
      await endsWith(client, /^0x000a /)
    }
  })

  it('of v4 means nothing in v5, as the specification says', async () => {
    const client = await open(5)
    const flagged = queryEnvelope(5, 1, local('arrives with a flag'))
    flagged[1] = 1
    assert.equal(codeOf(await client.ask(flagged)), -1)
    await goesOn(client)
  })
})

suite('B16 what stands where nothing should', () => {
  it('a key twice in STARTUP', async () => {
    for (const pairs of [
      [
        ['COMPRESSION', 'lz4'],
        ['COMPRESSION', 'lz4'],
      ],
      [
        ['CQL_VERSION', '3.0.0'],
        ['CQL_VERSION', '3.0.0'],
      ],
    ] as [string, string][][]) {
      const client = await RawClient.connect({ ...place(), credentials })
      client.send(envelope(4, Opcode.STARTUP, startup(['CQL_VERSION', '3.0.0'], ...pairs)))
      await endsWith(client, /^0x000a /)
    }
  })

  it('bytes behind a PREPARE and behind a BATCH', async () => {
    for (const bytes of [
      prepareEnvelope(4, 7, local('behind')),
      batchEnvelope(4, 7, 0, [{ text: local('behind'), values: [] }]),
    ]) {
      const longer = Buffer.concat([bytes, Buffer.from(local('hidden'))])
      longer.writeInt32BE(longer.length - envelopeHeaderBytes, 5)
      const client = await open()
      client.socket.write(longer)
      await endsWith(client, /^0x000a .*behind the end/)
    }
  })

  it('a driver’s name with control bytes is one line in the record, and does nothing to a terminal', async () => {
    const name = `${mark}\n{"verdict":"allow"}\u001b]0;x\u0007\u202e${'x'.repeat(5000)}`
    const client = await RawClient.connect({ ...place(), credentials })
    client.send(envelope(4, Opcode.STARTUP, startup(['CQL_VERSION', '3.0.0'], ['DRIVER_NAME', name])))
    assert.equal(headerOpcode(await client.next(), 0), Opcode.READY)
    await goesOn(client)
    const record = await mesh.auditRecord('the driver', [mark, '"CONNECT"'], () => true)
    assert.ok(String(record.driver).startsWith(`${mark}\n{"verdict":"allow"}\u001b]`))
    assert.ok(Buffer.byteLength(String(record.driver)) < 1000)
  })
})

/** A segment of v5 whose checksums are right, whatever its header says. */
function segment(payload: Buffer, selfContained: boolean, padding = 0): Buffer {
  const header = Buffer.alloc(6)
  header.writeUIntLE(payload.length | (selfContained ? 0x20000 : 0) | (padding << 18), 0, 3)
  header.writeUIntLE(crc24(header, 0, 3), 3, 3)
  const trailer = Buffer.alloc(4)
  trailer.writeUInt32LE(crc32(payload, 0, payload.length))
  return Buffer.concat([header, payload, trailer])
}

suite('B17 segments of v5 that lie', () => {
  const whole = (name: string): Buffer => queryEnvelope(5, 7, local(name))

  it('padding bits', async () => {
    const client = await open(5)
    client.socket.write(segment(whole('padding'), true, 1))
    await endsWith(client, /^0x000a /, 0)
  })

  it('two pieces of which one says that it is whole', async () => {
    const client = await open(5)
    const bytes = whole('pieces')
    client.socket.write(Buffer.concat([segment(bytes.subarray(0, 20), true), segment(bytes.subarray(20), false)]))
    await closes(client)
  })

  it('a whole envelope between the pieces of another', async () => {
    const client = await open(5)
    const bytes = whole('between')
    client.socket.write(
      Buffer.concat([
        segment(bytes.subarray(0, 20), false),
        segment(whole('smuggled'), true),
        segment(bytes.subarray(20), false),
      ]),
    )
    await closes(client)
  })

  it('a piece whose checksum is wrong does not make the next piece the beginning of a message', async () => {
    const client = await open(5)
    const bytes = whole('skipped')
    const broken = segment(bytes.subarray(0, 20), false)
    broken[10] = broken[10]! ^ 1
    client.socket.write(Buffer.concat([broken, segment(whole('behind the gap'), true)]))
    await closes(client)
  })

  it('an envelope that fills a segment to its last byte passes', async () => {
    const client = await open(5)
    const empty = queryEnvelope(5, 1, '').length
    const text = local('arrives at the edge').padEnd(131_071 - empty)
    const bytes = queryEnvelope(5, 1, text)
    assert.equal(bytes.length, 131_071)
    assert.equal(codeOf(await client.ask(bytes)), -1)
    await goesOn(client)
  })
})

suite('B18 lengths and counts that do not add up', () => {
  const text = Buffer.from(local('length'))
  const bad: Record<string, () => Buffer> = {
    'a text of −1 bytes': () => envelope(4, Opcode.QUERY, Buffer.concat([int(-1), text, params(0)])),
    'a text of 2³¹ − 1 bytes': () => envelope(4, Opcode.QUERY, Buffer.concat([int(0x7fffffff), text, params(0)])),
    'a text of 2³¹ bytes to PREPARE': () => envelope(4, Opcode.PREPARE, Buffer.concat([int(-0x80000000), text])),
    '65,535 values and none there': () => query(text, params(1, short(65_535))),
    'a value of −3 bytes': () => query(text, params(1, short(1), int(-3))),
    'a value of 2³¹ − 1 bytes': () => query(text, params(1, short(1), int(0x7fffffff))),
    'values whose sum is above 4 GiB': () =>
      query(text, params(1, short(3), int(0x7fffffff), int(0x7fffffff), int(0x7fffffff))),
    'a batch of 65,535 statements and none there': () =>
      envelope(4, Opcode.BATCH, Buffer.concat([Buffer.from([0]), short(65_535)])),
    'a batch of a kind that is none': () =>
      envelope(4, Opcode.BATCH, Buffer.concat([Buffer.from([3]), short(0), short(1), Buffer.from([0])])),
    'a part of a batch that is neither text nor id': () => batchOf(2, text, 0),
    'names for the values of a batch (B5)': () => batchOf(0, text, 0x40),
    'a prepared id of 65,535 bytes': () => envelope(4, Opcode.EXECUTE, Buffer.concat([short(65_535), text])),
    'a consistency that is none': () =>
      envelope(4, Opcode.QUERY, Buffer.concat([longString(text), short(0x1234), Buffer.from([0])])),
    'a serial consistency that is none': () => query(text, params(16, short(99))),
    'the timestamp that means none': () => query(text, params(32, Buffer.from('8000000000000000', 'hex'))),
    'flags of v5 in v4': () => query(text, params(0x80, string('system_auth'))),
  }
  for (const [name, bytes] of Object.entries(bad)) {
    it(name, async () => {
      const client = await open()
      client.socket.write(bytes())
      await endsWith(client, /^0x(000a|2200) /)
    })
  }
})

suite('the record', () => {
  it('has the protocol errors of a session that was ready', async () => {
    const records = await mesh.auditRecords(idOf('attacker'), '"not-understood"')
    const own = records.filter(({ time, verdict }) => String(time) >= started && verdict === 'deny')
    assert.ok(own.length >= Object.keys(malformed).length, `${own.length} records`)
  })
})
