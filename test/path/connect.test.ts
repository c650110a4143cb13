/** `ringfence connect`: tools with no credentials at all work as the person who is logged in, at both doors. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { authenticateEnvelope, authSuccessEnvelope, queryEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { Inbound } from '../../src/cql/inbound.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { readRows } from '../../src/cql/responses.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { logInByDevice } from '../../src/people/log-in-by-device.ts'
import { ProfileFolder } from '../../src/people/profile.ts'
import { discover } from '../../src/people/provider.ts'
import { RawClient, describe as words } from './client.ts'
import {
  base,
  begin,
  end,
  gateway,
  loggedIn,
  outcome,
  provider,
  read,
  said,
  secrets,
  sidecar,
  start,
  tokensOf,
  world,
} from './connect-world.ts'
import { Browser } from './people-provider.ts'
import { until } from './world.ts'

before(begin)
after(end)

describe('a tool with no credentials', () => {
  for (const [door, portOf] of Object.entries({
    'a gateway': () => gateway.port,
    'a sidecar': () => sidecar.port,
  })) {
    it(`works as the person who is logged in, through ${door}`, async () => {
      const { port } = await start(loggedIn(portOf()))
      assert.equal(await outcome(port), '1 row')
      const connected = sidecar.records().findLast(({ operation }) => operation === 'CONNECT')
      assert.deepEqual([connected?.person, connected?.authentication], ['corp/alice', 'oidc'])
      const other = await start(loggedIn(portOf(), tokensOf('bob', 300)))
      assert.match(await outcome(other.port), /user\/corp\/bob has no SELECT permission on <table shop\.items>/)
    })
  }

  for (const version of [3, 4, 5] as ProtocolVersion[]) {
    for (const compression of [undefined, 'lz4'] as const) {
      it(`in version ${version}${compression === undefined ? '' : ' with LZ4'}, with requests and answers of any size`, async () => {
        const { port } = await start(loggedIn(gateway.port))
        const client = await RawClient.open({ port, version, ...(compression === undefined ? {} : { compression }) })
        for (const size of [1, 1000, 200_000]) {
          const text = `${read} WHERE k = '${'x'.repeat(size)}'`
          assert.match(words(await client.ask(queryEnvelope(version, 3, text))), /^echo: /)
        }
        client.close()
      })
    }
  }

  it('is told of no other address, which it would try without TLS', async () => {
    const own = { address: '127.0.0.1', port: gateway.port }
    const others = [own, { address: '127.0.0.2', port: 9042 }, { address: '127.0.0.3', port: 9042 }]
    const wide = await world.gateway([sidecar], { name: 'wide', authentication: ['token'], advertise: others })
    wide.feed.apply(gateway.feed.value(pushedKinds.policy).current.source)
    wide.feed.value(pushedKinds.keySets).set(gateway.feed.value(pushedKinds.keySets).current)
    const { port } = await start(loggedIn(wide.port))
    const through = await RawClient.open({ port })
    const direct = await RawClient.connect({ port: wide.port, credentials: { bundlePem: world.ca.bundlePem } })
    await direct.startup()
    await direct.logIn('token', tokensOf('alice', 300).token)
    for (const table of ['peers', 'peers_v2']) {
      const count = async (client: RawClient): Promise<number> => {
        const answer = await client.ask(queryEnvelope(4, 1, `SELECT * FROM system.${table}`))
        return readRows(wholeEnvelope(answer), 4).rows.length
      }
      assert.deepEqual([await count(through), await count(direct)], [0, 2], table)
    }
    through.close()
    direct.close()
  })

  it('one of many, each with a session of its own', async () => {
    const { port } = await start(loggedIn(gateway.port))
    const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.open({ port, version: 5 })))
    const answers = await Promise.all(clients.map((client) => client.ask(queryEnvelope(5, 7, read))))
    for (const answer of answers) assert.match(words(answer), /^echo: /)
    clients[0]!.close()
    assert.match(words(await clients[1]!.ask(queryEnvelope(5, 7, read))), /^echo: /)
    for (const client of clients) client.close()
  })
})

describe('the log-in', () => {
  it('is told to be due in words, where every driver comes back, and a new one counts at once', async () => {
    const folder = loggedIn(gateway.port)
    const { port } = await start(folder)
    assert.equal(await outcome(port), '1 row')
    folder.removeTokens()
    await sleep(1500)
    assert.ok(said.includes('nobody is logged in with profile default (ringfence login)'))
    assert.match(await outcome(port), /nobody is logged in with profile default \(ringfence login\)/)
    const client = await RawClient.connect({ port })
    assert.match(words(await client.startup()), /^0x0000 nobody is logged in/)
    folder.writeTokens(tokensOf('alice', -1))
    assert.match(await outcome(port), /the log-in of profile default ended at \S+ \(ringfence login\)/)
    chmodSync(folder.tokensPath, 0o640)
    assert.match(await outcome(port), /others may use \S+ \(mode 640\)/)
    folder.writeTokens(tokensOf('alice', 900))
    assert.equal(await outcome(port), '1 row')
    await until('the terminal says that all is well', () => said.includes('the log-in is good again'))
  })

  it('takes its sessions along when it goes, or when somebody else takes its place, and not when it is renewed', async () => {
    const folder = loggedIn(gateway.port)
    const { port } = await start(folder)
    const kept = await RawClient.open({ port })
    await sleep(1100)
    folder.writeTokens(tokensOf('alice', 400))
    await sleep(1100)
    assert.match(words(await kept.ask(queryEnvelope(4, 1, read))), /^echo: /)
    folder.writeTokens(tokensOf('bob', 300))
    await kept.closed
    const next = await RawClient.open({ port })
    assert.match(words(await next.ask(queryEnvelope(4, 1, read))), /user\/corp\/bob has no SELECT/)
    folder.removeTokens()
    await next.closed
  })

  it('is renewed in the background, with real tokens of the provider', async () => {
    provider.options.seconds = 4
    const folder = loggedIn(gateway.port)
    const profile = folder.profile()!
    const configuration = await discover(profile)
    const tokens = await logInByDevice(configuration, profile, ({ wholeAddress }) => {
      void new Browser('alice').open(wholeAddress!)
    })
    folder.writeTokens(tokens)
    const { port } = await start(folder)
    assert.equal(await outcome(port), '1 row')
    await until('it was renewed', () => folder.tokens()?.token !== tokens.token, 10_000)
    await sleep(Math.max(0, tokens.expiresAtMs - Date.now() + 100))
    assert.equal(await outcome(port), '1 row', 'with the second token')
    // While the provider is away the last token is used to its end, then the cause is told.
    provider.away()
    await until('it has ended', () => folder.tokens()!.expiresAtMs < Date.now(), 10_000)
    assert.match(await outcome(port), /the identity provider \S+ does not answer/)
    assert.ok(said.some((text) => /does not answer/.test(text)))
    provider.options.seconds = 300
    provider.back()
    await until('it is renewed again', () => folder.tokens()!.expiresAtMs > Date.now(), 20_000)
    assert.equal(await outcome(port), '1 row')
    // The provider takes it back.
    folder.writeTokens({ ...folder.tokens()!, refreshToken: 'of nobody', expiresAtMs: Date.now() })
    assert.match(await outcome(port), /(does not renew this log-in any more|ended at \S+) \(ringfence login\)/)
    for (const token of provider.given) secrets.add(token)
  })

  it('that the door refuses is told in the words of the door, and at the start', async () => {
    await assert.rejects(
      start(loggedIn(gateway.port, tokensOf('carol', 300, []))),
      /the door refuses the log-in: these credentials are not accepted here/,
    )
    await assert.rejects(start(loggedIn(1)), /the door 127\.0\.0\.1:1 cannot be used/)
    await assert.rejects(start(new ProfileFolder(join(base, 'none'), 'default')), /nobody is logged in/)
    const folder = loggedIn(gateway.port)
    const { door: _, ...doorless } = folder.profile()!
    folder.write(doorless, folder.tokens()!)
    await assert.rejects(start(folder), /does not know the door/)
  })
})

/** A gateway that lets everybody in, and then does what a test says. */
async function openDoor(then: (socket: TLSSocket) => void): Promise<{ port: number; close(): void }> {
  const { certificatePem: cert, keyPem: privateKey } = await world.freshCredentials('ringfence/gateway/open')
  const server = createTlsServer({ cert, key: privateKey }, (socket) => {
    const inbound = new Inbound('requests', 65_536)
    const take = (chunk: Buffer): void => {
      inbound.push(chunk, {
        onEnvelope(buffer, start) {
          const isStartup = headerOpcode(buffer, start) === Opcode.STARTUP
          socket.write(isStartup ? authenticateEnvelope(4, 0, 'any.PasswordAuthenticator') : authSuccessEnvelope(4, 0))
          if (isStartup) return
          socket.off('data', take)
          then(socket)
        },
      })
    }
    socket.on('data', take)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as { port: number }).port, close: () => server.close() }
}

describe('bytes', () => {
  const block = randomBytes(64 * 1024)
  const blocks = 1024
  const waitingBytesMax = 24 * 1024 * 1024

  /** Writes them all, each as soon as there is room; how many were written so far. */
  function flood(socket: Socket): { written: number } {
    const count = { written: 0 }
    const more = (): void => {
      while (count.written < blocks * block.length) {
        count.written += block.length
        if (!socket.write(block)) {
          socket.once('drain', more)
          return
        }
      }
      socket.end()
    }
    more()
    return count
  }

  async function digestOf(socket: Socket): Promise<string> {
    const hash = createHash('sha256')
    for await (const chunk of socket) hash.update(chunk as Buffer)
    return hash.digest('hex')
  }

  const whole = createHash('sha256')
  for (let one = 0; one < blocks; one++) whole.update(block)
  const expected = whole.digest('hex')

  for (const direction of ['to the tool', 'to the door']) {
    it(`${direction} wait at their source while nobody takes them, and come whole`, async () => {
      let doorEnd: TLSSocket | undefined
      const door = await openDoor((socket) => {
        socket.pause()
        doorEnd = socket
      })
      const { port } = await start(loggedIn(door.port))
      const client = await RawClient.open({ port })
      client.socket.pause()
      client.socket.removeAllListeners('data')
      await until('the door has it', () => doorEnd !== undefined)
      const [from, to] = direction === 'to the tool' ? [doorEnd!, client.socket] : [client.socket, doorEnd!]
      const count = flood(from)
      let before = -1
      while (count.written !== before) {
        before = count.written
        await sleep(300)
      }
      assert.ok(count.written < waitingBytesMax, `${count.written} bytes wait`)
      assert.equal(await digestOf(to), expected)
      door.close()
    })
  }
})
