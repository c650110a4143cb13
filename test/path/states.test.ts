/** The states of a client's connection, and what ends it: out of turn, out of bounds, out of time. */

import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { optionsEnvelope } from '../../src/cql/encode.fixture.ts'
import { authResponseEnvelope, queryEnvelope, startupEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, headerStream, headerVersion, Opcode } from '../../src/cql/protocol.ts'
import { readSupported } from '../../src/cql/responses.fixture.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningSidecar, until, World } from './world.ts'

const select = 'SELECT * FROM shop.items'

let world: World
let running: RunningSidecar

before(async () => {
  world = await World.make()
  running = await world.sidecar()
})
after(() => world.close())

/** Nobody else notices: a second client asks before and after. */
async function undisturbed(work: () => Promise<void>): Promise<void> {
  const bystander = await world.client(running.port, 'bob')
  const before = running.node.requests.length
  await work()
  assert.equal(running.node.requests.length, before, 'nothing reached the node')
  assert.equal(describe(await bystander.ask(queryEnvelope(4, 9, select))), `echo: ${select}`)
  bystander.close()
}

async function endsWith(client: RawClient, pattern: RegExp, stream?: number): Promise<Buffer> {
  const answer = await client.next()
  assert.match(describe(answer), pattern)
  if (stream !== undefined) assert.equal(headerStream(answer, 0), stream)
  await client.closed
  return answer
}

const raw = (client: RawClient, bytes: Buffer): void => void client.socket.write(bytes)
const startup = (version: 3 | 4 | 5, options: [string, string][] = [['CQL_VERSION', '3.0.0']]): Buffer =>
  startupEnvelope(version, 7, new Map(options))

suite('before STARTUP', () => {
  it('OPTIONS is answered with what is done and nothing else', async () => {
    const client = await world.connect(running.port, 'alice')
    const answer = await client.ask(optionsEnvelope(4, 3))
    const supported = readSupported(wholeEnvelope(answer))
    assert.deepEqual(supported.get('COMPRESSION'), ['lz4'])
    assert.deepEqual(supported.get('PROTOCOL_VERSIONS'), ['3/v3', '4/v4', '5/v5'])
    assert.equal(headerOpcode(await client.startup(), 0), Opcode.READY)
  })

  it('OPTIONS without end is ended', async () => {
    const client = await world.connect(running.port, 'alice')
    for (let i = 0; i < 40; i++) client.send(optionsEnvelope(4, i))
    for (let i = 0; i < 32; i++) assert.equal(headerOpcode(await client.next(), 0), Opcode.SUPPORTED)
    await endsWith(client, /^0x000a too many OPTIONS/)
  })

  const outOfTurn: Record<string, [Buffer, RegExp]> = {
    'a QUERY': [queryEnvelope(4, 7, select), /^0x000a .*expecting STARTUP or OPTIONS/],
    AUTH_RESPONSE: [
      authResponseEnvelope(4, 7, Buffer.from('\0cassandra\0cassandra')),
      /^0x000a unexpected AUTH_RESPONSE/,
    ],
    'a STARTUP without CQL_VERSION': [startup(4, [['DRIVER_NAME', 'x']]), /^0x000a STARTUP without CQL_VERSION/],
    'a compression that was not advertised': [
      startup(4, [
        ['CQL_VERSION', '3.0.0'],
        ['COMPRESSION', 'snappy'],
      ]),
      /^0x000a unknown compression algorithm: snappy/,
    ],
    'an unknown opcode': [Buffer.from('040000074200000000', 'hex'), /^0x000a unknown opcode 66/],
    'an answer’s opcode': [Buffer.from('040000070800000000', 'hex'), /^0x000a unknown opcode 8/],
    'a malformed STARTUP': [Buffer.from('0400000701000000040001ffff', 'hex'), /^0x000a /],
  }
  for (const [name, [bytes, pattern]] of Object.entries(outOfTurn)) {
    it(`${name} is a protocol error on its own stream, and the end`, () =>
      undisturbed(async () => {
        const client = await world.connect(running.port, 'alice')
        raw(client, bytes)
        await endsWith(client, pattern, 7)
      }))
  }

  for (const [name, version] of [
    ['version 6', 0x06],
    ['DSE v2', 0x42],
    ['DSE v1', 0x41],
    ['version 126', 0x7e],
  ] as const) {
    it(`${name} is answered on the client’s own stream with the words that drivers downgrade on`, () =>
      undisturbed(async () => {
        const client = await world.connect(running.port, 'alice')
        const envelope = startup(5)
        envelope[0] = version
        envelope.writeInt16BE(321, 2)
        raw(client, envelope)
        const answer = await client.next()
        assert.equal(
          describe(answer),
          `0x000a Invalid or unsupported protocol version (${version}); supported versions are (3/v3, 4/v4, 5/v5)`,
        )
        assert.equal(headerStream(answer, 0), 321)
        assert.equal(headerVersion(answer, 0), 5)
        await client.closed
      }))
  }

  it('version 2 is answered, though its header is a byte shorter', async () => {
    const client = await world.connect(running.port, 'alice')
    raw(client, Buffer.from('0200010500000000', 'hex'))
    await endsWith(client, /^0x000a Invalid or unsupported protocol version \(2\)/)
  })

  const hostile: Record<string, [Buffer, RegExp]> = {
    'a length of 2³¹': [Buffer.from('040000070180000000', 'hex'), /^0x000a negative body length/],
    'a length of 2³¹ − 1': [Buffer.from('04000007017fffffff', 'hex'), /^0x2200 body of 2147483647 bytes/],
    'one byte more than authMessageBytesMax': [Buffer.from('040000070100010001', 'hex'), /^0x2200 body of 65537 bytes/],
    'a response': [Buffer.from('840000070200000000', 'hex'), /^0x000a a response came from a client/],
    'a compressed body that nobody agreed on': [Object.assign(startup(4), { 1: 0x01 }), /^0x000a compressed body/],
  }
  for (const [name, [bytes, pattern]] of Object.entries(hostile)) {
    it(`${name} is refused before memory is taken`, () =>
      undisturbed(async () => {
        const client = await world.connect(running.port, 'alice')
        raw(client, bytes)
        await endsWith(client, pattern, 7)
      }))
  }

  it('the beta flag on version 5, which old drivers set, means nothing and is not handed on', async () => {
    const client = await world.connect(running.port, 'alice', { version: 5 })
    raw(client, Object.assign(startup(5), { 1: 0x10 }))
    assert.equal(headerOpcode(await client.next(), 0), Opcode.READY)
    const answer = await client.ask(Object.assign(queryEnvelope(5, 1, select), { 1: 0x10 }))
    assert.equal(describe(answer), `echo: ${select}`)
    assert.equal(running.node.requests.at(-1)?.flags, 0)
  })

  it('garbage is answered or closed', () =>
    undisturbed(async () => {
      for (const text of ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-OpenSSH\r\n', '\0\0\0\0\0\0\0\0\0\0']) {
        const client = await world.connect(running.port, 'alice')
        raw(client, Buffer.from(text))
        await client.closed
      }
    }))

  it('more than unauthenticatedBytesMax, in messages that are each allowed, is the end', () =>
    undisturbed(async () => {
      const client = await world.connect(running.port, 'alice')
      const body = Buffer.alloc(60_000)
      const header = Buffer.from('040000000500000000', 'hex')
      header.writeInt32BE(body.length, 5)
      for (let i = 0; i < 6; i++) raw(client, Buffer.concat([header, body]))
      await client.closed
    }))

  it('what stands behind STARTUP before READY ends the connection and not the sidecar, in pieces too', () =>
    undisturbed(async () => {
      for (const behind of [Buffer.from([5]), Buffer.from('0500', 'hex'), queryEnvelope(5, 1, select)]) {
        for (const version of [4, 5] as const) {
          const client = await world.connect(running.port, 'alice', { version })
          raw(client, Buffer.concat([startup(version), behind]))
          if (version === 5 || behind.length > 8) await client.closed
          else client.close()
        }
      }
    }))
})

suite('after READY', () => {
  const outOfTurn: Record<string, [Buffer, RegExp]> = {
    'a second STARTUP': [startup(4), /^0x000a unexpected STARTUP/],
    AUTH_RESPONSE: [authResponseEnvelope(4, 7, null), /^0x000a unexpected AUTH_RESPONSE/],
    'an unknown opcode': [Buffer.from('04000007ff00000000', 'hex'), /^0x000a unknown opcode 255/],
    'an EVENT': [Buffer.from('040000070c00000000', 'hex'), /^0x000a unknown opcode 12/],
    'a message of another version': [
      queryEnvelope(3, 7, select),
      /^0x000a message of version 3 on a connection of version 4/,
    ],
    'one byte behind a QUERY': [extended(queryEnvelope(4, 7, select)), /^0x000a 1 bytes behind the end/],
    'an unknown query flag': [
      Object.assign(queryEnvelope(4, 7, select), { [9 + 4 + select.length + 2]: 0x80 }),
      /^0x000a unknown query flag/,
    ],
    'an unknown header flag': [Object.assign(queryEnvelope(4, 7, select), { 1: 0x40 }), /^0x000a unknown flag/],
  }
  for (const [name, [bytes, pattern]] of Object.entries(outOfTurn)) {
    it(`${name} is a protocol error on its own stream, and the end`, () =>
      undisturbed(async () => {
        const client = await world.client(running.port, 'alice')
        raw(client, bytes)
        await endsWith(client, pattern, 7)
      }))
  }

  it('a negative stream is the end', () =>
    undisturbed(async () => {
      const client = await world.client(running.port, 'alice')
      raw(client, queryEnvelope(4, -1, select))
      await endsWith(client, /^0x000a stream id -1/)
    }))

  it('a stream in flight is the end, and its first request is answered to nobody', async () => {
    const client = await world.client(running.port, 'alice')
    const bystander = await world.client(running.port, 'bob')
    const taken: (() => void)[] = []
    running.node.intercept = (request) => {
      if (!request.text.includes('twice')) return false
      taken.push(() => request.answer())
      return true
    }
    client.send(queryEnvelope(4, 7, `${select} WHERE k = 'twice 1'`))
    client.send(queryEnvelope(4, 7, `${select} WHERE k = 'twice 2'`))
    await endsWith(client, /^0x000a stream id 7 is in flight already/, 7)
    running.node.intercept = undefined
    assert.equal(taken.length, 1)
    taken[0]!()
    assert.equal(describe(await bystander.ask(queryEnvelope(4, 7, select))), `echo: ${select}`)
  })

  it('v5: a wrong checksum and a truncated segment end one connection', () =>
    undisturbed(async () => {
      const segment = Buffer.from('0000020000000000000000', 'hex')
      const wrong = await world.client(running.port, 'alice', { version: 5 })
      raw(wrong, segment)
      await endsWith(wrong, /^0x000a segment header does not match/)
      const cut = await world.client(running.port, 'alice', { version: 5 })
      raw(cut, segment.subarray(0, 4))
      cut.socket.end()
      await cut.closed
    }))

  it('a CQL syntax error is answered and the connection goes on', async () => {
    const client = await world.client(running.port, 'alice')
    const before = running.node.requests.length
    assert.match(describe(await client.ask(queryEnvelope(4, 1, 'SELEKT * FROM shop.items'))), /^0x2[01]00 /)
    assert.equal(running.node.requests.length, before)
    assert.equal(describe(await client.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
  })
})

function extended(envelope: Buffer): Buffer {
  const longer = Buffer.concat([envelope, Buffer.from([0])])
  longer.writeInt32BE(longer.length - 9, 5)
  return longer
}

suite('time', { concurrency: true }, () => {
  it('ends a session with its certificate: what is in flight is answered, then the connection closes', async () => {
    const shortLived = await world.freshCredentials('svc/alice', 2500)
    const client = await world.client(running.port, 'alice', { credentials: shortLived })
    const other = await world.client(running.port, 'bob')
    let answer: (() => void) | undefined
    running.node.intercept = (request) => {
      if (!request.text.includes('long')) return false
      answer = () => request.answer()
      return true
    }
    const inFlight = client.ask(queryEnvelope(4, 1, `${select} WHERE k = 'long'`))
    await sleep(shortLived.notAfterMs - Date.now() + 300)
    assert.equal(client.isClosed, false)
    running.node.intercept = undefined
    answer!()
    assert.equal(describe(await inFlight), `echo: ${select} WHERE k = 'long'`)
    await client.closed
    assert.equal(describe(await other.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
    const late = await world.connect(running.port, 'alice', { credentials: shortLived })
    assert.match(describe(await late.startup()), /^0x0000 .*expired/)
    await late.closed
  })

  it('ends a connection that says nothing for handshakeTimeoutMs, and leaves those that are ready', async () => {
    const ready = await world.client(running.port, 'bob')
    const silent = await world.connect(running.port, 'alice')
    const withoutTls = await world.connect(running.port, undefined)
    const started = performance.now()
    await Promise.all([silent.closed, withoutTls.closed])
    assert.ok(performance.now() - started > 8000)
    assert.equal(describe(await ready.ask(queryEnvelope(4, 1, select))), `echo: ${select}`)
  })
})

suite('a slow reader', () => {
  it('stops itself and nobody else, and gets everything when it reads again', async () => {
    const slow = await world.client(running.port, 'alice')
    const other = await world.client(running.port, 'bob')
    const text = `${select} WHERE k = '${'x'.repeat(60_000)}'`
    slow.socket.pause()
    const asked = Array.from({ length: 200 }, (_, i) => slow.ask(queryEnvelope(4, i, text)))
    await sleep(200)
    const reached = running.node.requests.filter((request) => request.text === text).length
    assert.ok(reached < 200, `${reached} of 200 were read`)
    for (let i = 0; i < 20; i++) {
      assert.equal(describe(await other.ask(queryEnvelope(4, i, select))), `echo: ${select}`)
    }
    slow.socket.resume()
    for (const answer of await Promise.all(asked)) assert.equal(describe(answer).length, text.length + 6)
    await until('it is read again', () => slow.unasked.length === 0)
  })
})
