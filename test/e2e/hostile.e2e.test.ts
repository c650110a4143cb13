/**
 * Bad input at every door: a clear error or a clean close, nobody else's connection disturbed, and nothing reaches the node. Bystanders
 * with an ordinary driver keep reading through both doors all the while; Cassandra's own log says what arrived.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { Client } from 'cassandra-driver'
import { systemClock } from '../../src/base/clock.ts'
import { CertificateAuthority } from '../../src/control/ca.ts'
import { authResponseEnvelope, prepareEnvelope, queryEnvelope, startupEnvelope } from '../../src/cql/encode.ts'
import { headerStream } from '../../src/cql/protocol.ts'
import { sealSegment } from '../../src/cql/segment.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'
import { type ClientOptions, describe, RawClient } from '../path/client.ts'
import { type MeshFixture, useMesh } from './fixture.ts'
import { driverAt, freshKeyspace, pemsOf } from './people.ts'

const keyspace = 'e2e_hostile'
/** Stands as a literal in every statement that must not arrive. */
const marker = 'hostile-marker'
const closeMsMax = 15_000

type Door = 'nginx' | 'gateway' | 'sidecar'
const doors: readonly Door[] = ['nginx', 'gateway', 'sidecar']

let mesh: MeshFixture
let admin: Client
const bystanders: Bystander[] = []

before(async () => {
  mesh = await useMesh()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await freshKeyspace(admin, mesh, keyspace, 'rows (k int PRIMARY KEY, v text)')
  for (let k = 0; k < 20; k++) await admin.execute(`INSERT INTO ${keyspace}.rows (k, v) VALUES (${k}, 'value ${k}')`)
  for (const door of ['nginx', 'sidecar'] as const) bystanders.push(await Bystander.start(mesh, door))
})
after(async () => {
  for (const bystander of bystanders) await bystander.stop()
  await admin?.execute(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  await admin?.shutdown()
})

/** Somebody who only wants to work. */
class Bystander {
  readonly #client: Client
  readonly #door: string
  #stopped = false
  #done: Promise<void> | undefined
  answers = 0
  errors: string[] = []

  private constructor(client: Client, door: string) {
    this.#client = client
    this.#door = door
  }

  static async start(fixture: MeshFixture, door: 'nginx' | 'sidecar'): Promise<Bystander> {
    const client = driverAt(fixture, door, fixture.identities.reader)
    await client.connect()
    const bystander = new Bystander(client, door)
    bystander.#done = bystander.#run()
    return bystander
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      try {
        const { rows } = await this.#client.execute(`SELECT v FROM ${keyspace}.rows WHERE k = ?`, [i % 20], {
          prepare: true,
        })
        if (rows[0]?.v !== `value ${i % 20}`) this.errors.push(`asked for ${i % 20}, got ${rows[0]?.v}`)
        this.answers++
      } catch (reason) {
        this.errors.push(String(reason))
      }
      await sleep(10)
    }
  }

  /** It went on since the last look, and nothing went wrong. */
  async assertUndisturbed(): Promise<void> {
    const before = this.answers
    const until = performance.now() + 10_000
    while (this.answers < before + 3 && performance.now() < until) await sleep(10)
    assert.ok(this.answers >= before + 3, `the bystander at ${this.#door} stands still`)
    assert.deepEqual(this.errors, [], `the bystander at ${this.#door}`)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
    await this.#client.shutdown()
  }
}

const header = (port: number): Buffer => Buffer.from(`PROXY TCP4 198.51.100.7 203.0.113.1 ${port} 9042\r\n`)

/** Where and how a door is reached; straight at the gateway, the PROXY header is ours to send. */
function placeOf(door: Door): Pick<ClientOptions, 'port'> & { host: string; preamble?: Buffer } {
  if (door === 'gateway') {
    const { address, port } = mesh.layout.gateway
    return { host: address, port, preamble: header(40_000) }
  }
  const { host, port } = mesh.doors[door]
  return { host, port }
}

function connectAt(door: Door, options: Partial<ClientOptions> = {}): Promise<RawClient> {
  return RawClient.connect({ ...placeOf(door), credentials: pemsOf(mesh.identities.admin), ...options })
}

async function openAt(door: Door, options: Partial<ClientOptions> = {}): Promise<RawClient> {
  return RawClient.open({ ...placeOf(door), credentials: pemsOf(mesh.identities.admin), ...options })
}

const insert = (name: string): string => `INSERT INTO ${keyspace}.rows (k, v) VALUES (999, '${marker} ${name}')`
const startup = (version: 4 | 5): Buffer => startupEnvelope(version, 7, new Map([['CQL_VERSION', '3.0.0']]))

async function closes(client: RawClient): Promise<void> {
  const timer = sleep(closeMsMax, 'still open')
  assert.notEqual(await Promise.race([client.closed, timer]), 'still open')
}

/** One answer that matches, then the end. */
async function answersAndCloses(client: RawClient, pattern: RegExp, stream?: number): Promise<void> {
  const answer = await client.next()
  assert.match(describe(answer), pattern)
  if (stream !== undefined) assert.equal(headerStream(answer, 0), stream)
  await closes(client)
}

async function undisturbed(work: () => Promise<void>): Promise<void> {
  await work()
  for (const bystander of bystanders) await bystander.assertUndisturbed()
  assert.deepEqual(await mesh.cassandraLines(marker), [], 'it reached the node')
}

function segment(payload: Buffer): Buffer {
  const whole = Buffer.alloc(6 + payload.length + 4)
  payload.copy(whole, 6)
  sealSegment(whole, 0, payload.length, true)
  return whole
}

interface Attack {
  readonly name: string
  /** Sends it, and looks at what comes. */
  readonly run: (door: Door) => Promise<void>
}

const attacks: readonly Attack[] = [
  {
    name: 'garbage bytes inside TLS',
    run: async (door) => {
      for (const bytes of [
        'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00',
        '\xff'.repeat(200),
        '\0'.repeat(64),
      ]) {
        const client = await connectAt(door)
        client.socket.write(Buffer.from(bytes, 'latin1'))
        await closes(client)
      }
    },
  },
  {
    name: 'garbage bytes instead of TLS',
    run: async (door) => {
      for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\xff'.repeat(500), '\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff']) {
        const { host, port, preamble } = placeOf(door)
        const socket = await rawSocket(host, port)
        if (preamble !== undefined) socket.write(preamble)
        socket.write(Buffer.from(bytes, 'latin1'))
        await closed(socket)
      }
    },
  },
  {
    name: 'plain CQL on the TLS port',
    run: async (door) => {
      const { host, port, preamble } = placeOf(door)
      const socket = await rawSocket(host, port)
      const said: Buffer[] = []
      socket.on('data', (chunk: Buffer) => said.push(chunk))
      socket.write(Buffer.concat([preamble ?? Buffer.alloc(0), startup(4), queryEnvelope(4, 1, insert('plain text'))]))
      await closed(socket)
      // TLS may send an alert; it never answers in CQL.
      assert.notEqual(Buffer.concat(said)[0], 0x84)
    },
  },
  {
    name: 'a length of 2³¹',
    run: async (door) => {
      const early = await connectAt(door)
      early.socket.write(Buffer.from('040000070180000000', 'hex'))
      await answersAndCloses(early, /^0x000a negative body length/, 7)
      const late = await openAt(door)
      late.socket.write(Buffer.concat([Buffer.from('040000070780000000', 'hex'), Buffer.from(insert('length'))]))
      await answersAndCloses(late, /^0x000a negative body length/, 7)
    },
  },
  {
    name: 'a length of 2³¹ − 1, and of one byte more than an envelope can have',
    run: async (door) => {
      for (const [bytes, pattern] of [
        ['04000007077fffffff', /^0x2200 body of 2147483647 bytes/],
        ['040000070710000001', /^0x2200 body of 268435457 bytes/],
      ] as const) {
        const client = await openAt(door)
        client.socket.write(Buffer.from(bytes, 'hex'))
        await answersAndCloses(client, pattern, 7)
      }
    },
  },
  {
    name: 'a truncated segment',
    run: async (door) => {
      const client = await openAt(door, { version: 5 })
      const whole = segment(queryEnvelope(5, 1, insert('truncated')))
      client.socket.end(whole.subarray(0, -3))
      await closes(client)
    },
  },
  {
    name: 'a wrong CRC, of the header and of the payload',
    run: async (door) => {
      for (const [at, pattern] of [
        [3, /^0x000a segment header does not match/],
        [30, /^0x000a segment payload does not match/],
        [-1, /^0x000a segment payload does not match/],
      ] as const) {
        const client = await openAt(door, { version: 5 })
        const whole = segment(queryEnvelope(5, 1, insert('checksum')))
        const place = at < 0 ? whole.length + at : at
        whole[place] = whole[place]! ^ 0x40
        client.socket.write(whole)
        await answersAndCloses(client, pattern)
      }
    },
  },
  {
    name: 'a self-contained segment that ends inside an envelope',
    run: async (door) => {
      const client = await openAt(door, { version: 5 })
      client.socket.write(segment(queryEnvelope(5, 1, insert('cut')).subarray(0, -5)))
      await answersAndCloses(client, /^0x000a a self-contained segment ends inside an envelope/)
    },
  },
  {
    name: 'a request before STARTUP',
    run: async (door) => {
      for (const envelope of [queryEnvelope(4, 7, insert('early')), prepareEnvelope(4, 7, insert('early'))]) {
        const client = await connectAt(door)
        client.send(envelope)
        await answersAndCloses(client, /^0x000a .*expecting STARTUP or OPTIONS/, 7)
      }
    },
  },
  {
    name: 'a request right behind STARTUP, before READY',
    run: async (door) => {
      for (const version of [4, 5] as const) {
        const client = await connectAt(door, { version })
        client.socket.write(Buffer.concat([startup(version), queryEnvelope(version, 8, insert('pipelined'))]))
        await closes(client)
      }
    },
  },
  {
    name: 'AUTH_RESPONSE after success',
    run: async (door) => {
      const client = await openAt(door)
      client.send(authResponseEnvelope(4, 7, Buffer.from('\0cassandra\0cassandra')))
      await answersAndCloses(client, /^0x000a unexpected AUTH_RESPONSE/, 7)
    },
  },
  {
    name: 'a second STARTUP',
    run: async (door) => {
      const client = await openAt(door)
      client.send(startup(4))
      await answersAndCloses(client, /^0x000a unexpected STARTUP/, 7)
    },
  },
  {
    name: 'a stream id in flight',
    run: async (door) => {
      const client = await openAt(door)
      const slow = queryEnvelope(4, 7, `SELECT * FROM ${keyspace}.rows`)
      client.socket.write(Buffer.concat([slow, queryEnvelope(4, 7, insert('twice'))]))
      let answer = await client.next()
      // Only what was asked first may have been answered already.
      if (!describe(answer).startsWith('0x')) answer = await client.next()
      assert.match(describe(answer), /^0x000a stream id 7 is in flight already/)
      await closes(client)
    },
  },
  {
    name: 'an unknown opcode',
    run: async (door) => {
      for (const opcode of ['42', 'ff', '08', '0c', '02']) {
        const client = await openAt(door)
        client.socket.write(Buffer.from(`04000007${opcode}00000000`, 'hex'))
        await answersAndCloses(client, new RegExp(`^0x000a unknown opcode ${Number.parseInt(opcode, 16)}$`), 7)
      }
    },
  },
  {
    name: 'bytes behind the end of a message',
    run: async (door) => {
      const client = await openAt(door)
      const envelope = Buffer.concat([queryEnvelope(4, 7, insert('trailing')), Buffer.from([0])])
      envelope.writeInt32BE(envelope.length - 9, 5)
      client.socket.write(envelope)
      await answersAndCloses(client, /^0x000a 1 bytes behind the end/, 7)
    },
  },
  {
    name: 'a protocol version that nobody speaks',
    run: async (door) => {
      for (const version of [0x06, 0x42, 0x7e]) {
        const client = await connectAt(door)
        const envelope = startup(4)
        envelope[0] = version
        client.socket.write(envelope)
        await answersAndCloses(client, /^0x000a Invalid or unsupported protocol version/, 7)
      }
    },
  },
  {
    name: 'an expired certificate',
    run: async (door) => {
      const files = await mesh.identity(`spiffe://demo.local/svc/e2e-expired-${door}`, 1000)
      await sleep(1200)
      await assert.rejects(openAt(door, { credentials: pemsOf(files) }))
    },
  },
  {
    name: 'a certificate of a foreign authority with the same names',
    run: async (door) => {
      const folder = mkdtempSync(join(tmpdir(), 'ringfence-foreign-'))
      const foreign = await CertificateAuthority.open(folder, 'demo.local', systemClock)
      const spiffeId = parseSpiffeId(mesh.identities.admin.spiffeId)
      const { keyPem, certificatePem } = await foreign.mint({ spiffeId, ttlMs: 60_000 })
      const { bundlePem } = pemsOf(mesh.identities.admin)
      await assert.rejects(openAt(door, { credentials: { keyPem, certificatePem, bundlePem } }))
      rmSync(folder, { recursive: true })
    },
  },
  {
    name: 'no certificate',
    run: async (door) => {
      const { bundlePem } = pemsOf(mesh.identities.admin)
      await assert.rejects(openAt(door, { credentials: { bundlePem } as NonNullable<ClientOptions['credentials']> }))
    },
  },
  {
    name: 'TLS 1.2',
    run: async (door) => {
      const { host, port, preamble } = placeOf(door)
      const raw = await rawSocket(host, port)
      if (preamble !== undefined) raw.write(preamble)
      const { keyPem: key, certificatePem: cert, bundlePem: ca } = pemsOf(mesh.identities.admin)
      await assert.rejects(
        new Promise((resolve, reject) => {
          const socket = connectTls({
            socket: raw,
            key,
            cert,
            ca,
            maxVersion: 'TLSv1.2',
            checkServerIdentity: () => undefined,
          })
          socket.once('secureConnect', resolve)
          socket.once('error', reject)
          socket.once('close', () => reject(new Error('closed')))
        }),
      )
      raw.destroy()
    },
  },
]

suite('bad input', { concurrency: doors.length }, () => {
  for (const door of doors) {
    suite(`at the ${door}`, { concurrency: 1 }, () => {
      for (const { name, run } of attacks) it(name, () => undisturbed(() => run(door)))
    })
  }
})

suite('the witness', () => {
  it('sees what is permitted, so that it would have seen the rest', async () => {
    const { length } = await mesh.cassandraLines(`INTO ${keyspace}.rows`, "'value 3'")
    assert.equal(length, 1)
  })
})

suite('the PROXY header at the gateway', { concurrency: 1 }, () => {
  const good = (): Buffer => header(40_001)
  const bad: Record<string, Buffer> = {
    none: Buffer.alloc(0),
    'a malformed one': Buffer.from('PROXY TCP4 198.51.100.7\r\n'),
    'one without an end': Buffer.from(`PROXY TCP4 ${'9'.repeat(120)}`),
    'one of version 2 that is too long': Buffer.from('0d0a0d0a000d0a515549540a2111ffff', 'hex'),
    'one of a UNIX socket': Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a213100d8', 'hex'), Buffer.alloc(216)]),
    two: Buffer.concat([header(1), header(2)]),
  }
  for (const [name, preamble] of Object.entries(bad)) {
    it(`${name} is refused`, () =>
      undisturbed(() => assert.rejects(openAt('gateway', { preamble }), /closed|reset|EPIPE|disconnected|hang up/i)))
  }

  it('is taken from NGINX’s address, and refused from any other', () =>
    undisturbed(async () => {
      const client = await openAt('gateway', { preamble: good() })
      client.close()
      await assert.rejects(openAt('gateway', { preamble: good(), localAddress: '127.0.0.77' }))
    }))

  it('by a client of NGINX is no header but bytes that are no TLS', () =>
    undisturbed(() => assert.rejects(openAt('nginx', { preamble: good() }))))
})

async function rawSocket(host: string, port: number): Promise<Socket> {
  const socket = connect({ host, port })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return socket
}

async function closed(socket: Socket): Promise<void> {
  socket.resume()
  const end = new Promise((resolve) => socket.once('close', resolve))
  assert.notEqual(await Promise.race([end, sleep(closeMsMax, 'still open')]), 'still open')
}
