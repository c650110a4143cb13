/** `ringfence connect` and `cqlsh`: whom they let in, to whom they show a token, and what they print. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { headerOpcode, Opcode, type ProtocolVersion } from '../../src/cql/protocol.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { loopbackAddress } from '../../src/people/connect/listener.ts'
import { userAtOtherEnd } from '../../src/people/connect/same-user.ts'
import { withoutOwnSections } from '../../src/people/cqlsh.ts'
import { RawClient, describe as words } from './client.ts'
import {
  base,
  begin,
  end,
  gateway,
  loggedIn,
  outcome,
  read,
  said,
  secrets,
  sidecar,
  start,
  world,
} from './connect-world.ts'
import { Program } from './program.ts'
import { until, World } from './world.ts'

before(begin)
after(end)

describe('a token', () => {
  it('is shown to a gateway or sidecar of the mesh, and to nobody who is in its place', async () => {
    const strangers = await World.make('strangers.example')
    const seen: string[] = []
    const place = async (from: World, path: string): Promise<{ port: number; close(): void }> => {
      const { certificatePem: cert, keyPem: privateKey } = await from.freshCredentials(path)
      const server = createTlsServer({ cert, key: privateKey }, (socket) => {
        socket.on('error', () => {})
        socket.on('data', (chunk) => seen.push(chunk.toString('latin1')))
      })
      server.on('tlsClientError', () => {})
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return { port: (server.address() as { port: number }).port, close: () => server.close() }
    }
    for (const [from, path, expected] of [
      [world, 'svc/mallory', /svc\/mallory is no gateway and no sidecar/],
      [world, 'cassandra/node1', /is no gateway and no sidecar/],
      [world, 'ringfence/control-plane/a', /is no gateway and no sidecar/],
      [world, 'ns/gateway/ringfence', /is no gateway and no sidecar/],
      [strangers, 'ringfence/gateway/g', /cannot be used/],
    ] as const) {
      const impostor = await place(from, path)
      await assert.rejects(start(loggedIn(impostor.port)), expected, path)
      impostor.close()
    }
    const sockets: Socket[] = []
    const plain = createServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => {})
      socket.on('data', (chunk) => seen.push(chunk.toString('latin1')))
    })
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
    const ended = assert.rejects(start(loggedIn((plain.address() as { port: number }).port)), /cannot be used/)
    await until('it was called', () => seen.length > 0)
    for (const socket of sockets) socket.destroy()
    await ended
    plain.close()
    for (const token of secrets) assert.ok(!seen.join('').includes(token))
    assert.ok(!seen.join('').includes('CQL_VERSION'))
    await strangers.close()
  })
})

describe('the listener', () => {
  it('is on loopback, or is refused with the reason', async () => {
    const folder = loggedIn(gateway.port)
    for (const address of ['0.0.0.0', '::', '192.0.2.1', '10.0.0.1', '::ffff:127.0.0.1', 'example.com', '128.0.0.1']) {
      const listen = { address, port: 0 }
      await assert.rejects(start(folder, { listen }), {
        code: 'USAGE',
        message: `not an address of loopback: ${address}`,
      })
    }
    for (const address of ['127.0.0.1', '127.3.2.1', '::1', 'localhost']) assert.ok(loopbackAddress(address))
    const { port } = await start(folder, { listen: { address: '127.3.2.1', port: 0 } })
    const client = await RawClient.open({ port, host: '127.3.2.1' })
    client.close()
  })

  it('knows whose connection it is, and lets no other user in', async (context) => {
    if (process.platform !== 'linux') context.skip('only Linux tells')
    const own = process.getuid!()
    for (const [listen, host] of [
      ['127.0.0.1', '127.0.0.1'],
      ['::1', '::1'],
      ['127.0.0.1', '::ffff:127.0.0.1'],
    ] as const) {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, listen, resolve))
      const { port } = server.address() as { port: number }
      const client = connectTcp({ port, host })
      const socket = await new Promise<Socket>((resolve) => server.once('connection', resolve))
      const ends = {
        ...{ remoteAddress: socket.remoteAddress!, remotePort: socket.remotePort! },
        ...{ localAddress: socket.localAddress!, localPort: socket.localPort! },
      }
      assert.equal(await userAtOtherEnd(ends), own, host)
      // A socket that was closed belongs to nobody, whatever the list says.
      client.destroy()
      await new Promise((resolve) => socket.resume().once('close', resolve))
      assert.equal(await userAtOtherEnd(ends), undefined)
      server.close()
    }
    if (own !== 0) context.skip('only root can be another user')
    const { port, guard } = await start(loggedIn(gateway.port))
    assert.equal(guard, 'user')
    const came = async (uid: number): Promise<string> => {
      const script = `const s = require('node:net').connect(${port}, '127.0.0.1', () => s.write(Buffer.from('040000000500000000', 'hex')));
        s.on('data', () => { console.log('served'); s.destroy() }); s.on('error', () => {}); s.on('close', () => console.log('closed'))`
      const child = spawn('node', ['-e', script], { uid, gid: uid, stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' })
      let out = ''
      child.stdout.on('data', (chunk) => {
        out += String(chunk)
      })
      await new Promise((resolve) => child.on('close', resolve))
      return out
    }
    assert.match(await came(own), /^served/)
    assert.match(await came(65_534), /^closed/)
    assert.equal(said.at(-1), 'a connection of another user (65534) was closed')
  })

  it('asks for the password of the credentials file where there is one', async () => {
    const credentialsFile = join(base, 'credentials')
    const { port, guard } = await start(loggedIn(gateway.port), { credentialsFile })
    assert.equal(guard, 'credentials')
    assert.equal(statSync(credentialsFile).mode & 0o777, 0o600)
    const [, password = ''] = /^password = (\S+)$/m.exec(readFileSync(credentialsFile, 'utf8')) ?? []
    assert.ok(password.length >= 32)
    secrets.add(password)
    assert.equal(await outcome(port, password), '1 row')
    assert.match(await outcome(port, `${password}x`), /not the user and password of the credentials file/)
    assert.match(await outcome(port), /requires authentication|Authentication provider not set/i)
    for (const version of [3, 4, 5] as ProtocolVersion[]) {
      for (const compression of [undefined, 'lz4'] as const) {
        const client = await RawClient.connect({ port, version, ...(compression === undefined ? {} : { compression }) })
        assert.equal(headerOpcode(await client.startup(), 0), Opcode.AUTHENTICATE)
        assert.equal(headerOpcode(await client.logIn('ringfence', password), 0), Opcode.AUTH_SUCCESS)
        assert.match(words(await client.ask(queryEnvelope(version, 3, read))), /^echo: /)
        client.close()
        const wrong = await RawClient.connect({ port, version, ...(compression === undefined ? {} : { compression }) })
        await wrong.startup()
        assert.match(words(await wrong.logIn('ringfence', 'x')), /^0x0100 /)
        await wrong.closed
        const early = await RawClient.connect({ port, version, ...(compression === undefined ? {} : { compression }) })
        await early.startup()
        early.send(queryEnvelope(version, 3, read))
        await early.closed
      }
    }
  })

  it('keeps no driver away for good: what is due is told in answer to STARTUP also where it asks for a password', async () => {
    const folder = loggedIn(gateway.port)
    const credentialsFile = join(base, 'credentials2')
    const { port } = await start(folder, { credentialsFile })
    folder.removeTokens()
    const client = await RawClient.connect({ port, driverName: 'DataStax Python Driver' })
    assert.match(words(await client.startup()), /^0x0000 nobody is logged in/)
    const go = await RawClient.connect({ port, driverName: 'github.com/apache/cassandra-gocql-driver' })
    assert.match(words(await go.startup()), /^0x1001 nobody is logged in/)
  })

  it('says nothing to a driver that would stay away for good after it, where that is not read by a person', async () => {
    const credentials = (name: string): string => {
      const [, password = ''] = /^password = (\S+)$/m.exec(readFileSync(join(base, name), 'utf8')) ?? []
      return password
    }
    const [usual, forPerson] = await Promise.all([
      start(loggedIn(gateway.port), { credentialsFile: join(base, 'usual') }),
      start(loggedIn(gateway.port), { credentialsFile: join(base, 'person'), isForPerson: true }),
    ])
    const keySets = gateway.feed.value(pushedKinds.keySets)
    const sets = keySets.current
    keySets.set([])
    const answer = async (port: number, file: string, driverName: string): Promise<string> => {
      const client = await RawClient.connect({ port, version: 5, driverName })
      await client.startup()
      return await client.logIn('ringfence', credentials(file)).then(words, (reason: Error) => reason.message)
    }
    const refused = /^0x0000 the door refuses the log-in: no identity provider has keys here yet/
    assert.match(await answer(usual.port, 'usual', 'DataStax Python Driver'), /^closed: /)
    assert.match(await answer(usual.port, 'usual', 'DataStax Node.js Driver for Apache Cassandra'), refused)
    assert.match(await answer(forPerson.port, 'person', 'DataStax Python Driver'), refused)
    keySets.set(sets)
    assert.match(await answer(usual.port, 'usual', 'DataStax Python Driver'), /^opcode 16/)
  })

  it('takes nothing but a driver’s first words before it is ready', async () => {
    const { port } = await start(loggedIn(gateway.port))
    const hear = async (bytes: Buffer | string): Promise<string> => {
      const socket = connectTcp({ port, host: '127.0.0.1' })
      const heard: string[] = []
      socket.on('error', () => {})
      socket.on('data', (chunk) => heard.push(chunk.toString('latin1')))
      socket.write(bytes)
      await new Promise((resolve) => socket.once('close', resolve))
      return heard.join('')
    }
    assert.match(await hear('POST / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'), /unsupported protocol version/)
    assert.match(await hear(Buffer.from('420000000500000000', 'hex')), /\(66\); supported versions are/)
    assert.match(await hear(queryEnvelope(4, 1, read)), /a request before the connection is ready/)
    const client = await RawClient.connect({ port })
    const options = Buffer.from('040000050500000000', 'hex')
    assert.equal(headerOpcode(await client.ask(options), 0), Opcode.SUPPORTED)
    client.send(Buffer.concat([Buffer.from('0400000005000000', 'hex')]))
    client.close()
    // Behind STARTUP nothing may stand that was not waited for.
    const before = sidecar.node.connections.size
    const both = Buffer.concat([
      Buffer.from('0400000001000000160001000b43514c5f56455253494f4e0005332e302e30', 'hex'),
      queryEnvelope(4, 1, 'TRUNCATE shop.items'),
    ])
    assert.equal((await hear(both)).length, 0)
    assert.equal(sidecar.node.connections.size, before)
    assert.ok(!sidecar.records().some((line) => JSON.stringify(line).includes('TRUNCATE')))
  })
})

describe('the program', () => {
  it('says where it is and as whom, and ends in order', async () => {
    const folder = loggedIn(gateway.port)
    const env = { RINGFENCE_CONFIG_DIR: join(folder.path, '../..'), NO_COLOR: '1' }
    const connect = new Program(['connect', '--listen', '127.0.0.1:0'], env)
    const [, port] = await connect.says(/127\.0\.0\.1:(\d+) is Cassandra as alice/)
    assert.equal(await outcome(Number(port)), '1 row')
    await connect.says(/tools {4}those of your own user, without TLS and without a password/)
    folder.removeTokens()
    await connect.says(/^\d\d:\d\d:\d\d nobody is logged in with profile default \(ringfence login\)$/m)
    connect.child.kill('SIGTERM')
    const ended = await connect.ended
    assert.equal(ended.code, 0)
    const open = await Program.run(['connect', '--listen', '0.0.0.0:9042'], env)
    assert.equal(open.code, 64)
    assert.match(open.err, /not an address of loopback: 0\.0\.0\.0\n {2}hint: whoever reaches the listener is you/)
    for (const { out, err } of [ended, open]) {
      for (const line of out.split('\n')) assert.ok(line.length <= 80, line)
      for (const secret of secrets) assert.ok(!(out + err).includes(secret))
    }
  })

  it('starts cqlsh with a password of this one run, and no token in its arguments or environment', async () => {
    const folder = loggedIn(gateway.port)
    const shell = join(base, 'cqlsh')
    // As cqlsh reads its files and its environment.
    writeFileSync(
      shell,
      `#!${process.execPath}
      const { readFileSync, statSync } = require('node:fs')
      const { auth, Client, policies } = require('${join(import.meta.dirname, '../../node_modules/cassandra-driver')}')
      const args = process.argv.slice(2)
      const file = args[args.indexOf('--credentials') + 1]
      const [, user, password] = /username = (\\S+)\\npassword = (\\S+)/.exec(readFileSync(file, 'utf8'))
      const { CQLSH_HOST: host, CQLSH_PORT: port } = process.env
      const client = new Client({ contactPoints: [host + ':' + port], protocolOptions: { port: Number(port) }, isMetadataSyncEnabled: false,
        policies: { loadBalancing: new policies.loadBalancing.RoundRobinPolicy() }, authProvider: new auth.PlainTextAuthProvider(user, password) })
      client.execute(args[args.indexOf('-e') + 1]).then(({ rows }) => {
        console.log(JSON.stringify({ rows: rows.length, args, env: process.env, mode: statSync(file).mode & 0o777, file,
          rc: readFileSync(args[args.indexOf('--cqlshrc') + 1], 'utf8') }))
        process.exit(7)
      }, (reason) => { console.log(reason); process.exit(8) })`,
      { mode: 0o755 },
    )
    const env = { RINGFENCE_CONFIG_DIR: join(folder.path, '../..'), NO_COLOR: '1', CQLSH_HOST: 'example.com' }
    const ran = await Program.run(['cqlsh', '--cqlsh', shell, '-e', read], env)
    assert.equal(ran.code, 7, ran.out + ran.err)
    const told = JSON.parse(ran.out) as { rows: number; mode: number; file: string; rc: string; args: string[] }
    assert.deepEqual([told.rows, told.mode], [1, 0o600])
    assert.match(told.rc, /\[connection\]\nssl = false/)
    assert.throws(() => statSync(told.file), { code: 'ENOENT' })
    for (const secret of secrets) assert.ok(!(ran.out + ran.err).includes(secret))
    const absent = await Program.run(['cqlsh'], { ...env, PATH: '/nonexistent' })
    assert.equal(absent.code, 1)
    assert.match(absent.err, /cqlsh is not in PATH\n {2}hint: pipx install cqlsh/)
  })

  it('leaves of a person’s cqlshrc what is not about where to go and as whom', () => {
    const text = '[ui]\ncolor = on\n[connection]\nhostname = a\nssl = true\n\n[ssl]\ncertfile = x\n[copy]\nmaxrows = 1'
    assert.equal(withoutOwnSections(text), '[ui]\ncolor = on\n[copy]\nmaxrows = 1')
  })

  it('has said no token', () => {
    assert.ok(said.length > 5 && secrets.size > 10)
    for (const secret of secrets) for (const line of [...said, ...world.logged]) assert.ok(!line.includes(secret), line)
  })
})
