/** Each fault of the table that a server can be brought to is brought about on a real socket; the words come from what Node.js said. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type ConnectionOptions, connect, createServer as createTls, type TlsOptions } from 'node:tls'
import { CertificateAuthority } from '../control/ca.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type Clock, systemClock } from './clock.ts'
import { transportFault, transportLine } from './transport-fault.ts'

interface Pems {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

describe('what a failed connection means', () => {
  let folder: string
  let mine: Pems
  let foreign: Pems
  let early: Pems
  let late: Pems
  const servers: Server[] = []

  const made = async (authority: string, aheadMs = 0): Promise<Pems> => {
    const clock: Clock = { ...systemClock, now: () => Date.now() + aheadMs }
    const ca = await CertificateAuthority.open(join(folder, authority), 'demo.local', systemClock)
    const at = aheadMs === 0 ? ca : await CertificateAuthority.open(join(folder, authority), 'demo.local', clock)
    const { certificatePem, keyPem } = await at.mint({
      spiffeId: parseSpiffeId('spiffe://demo.local/svc/a'),
      ttlMs: 60_000,
    })
    return { cert: certificatePem, key: keyPem, ca: ca.bundlePem }
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-fault-'))
    mine = await made('mesh')
    foreign = await made('foreign')
    early = await made('mesh', 2 * 3_600_000)
    late = await made('mesh', -2 * 3_600_000)
  })
  after(() => {
    for (const server of servers) server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function portOf(server: Server): Promise<number> {
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  /** The error of a client that comes to such a server. */
  async function fault(server: Server | number, client: ConnectionOptions): Promise<unknown> {
    const port = typeof server === 'number' ? server : await portOf(server)
    const socket = connect({
      host: '127.0.0.1',
      port,
      checkServerIdentity: () => undefined,
      minVersion: 'TLSv1.3',
      ...client,
    })
    // With TLS 1.3 the client is connected before the server has looked at its certificate; the alert comes when it reads.
    return await new Promise((resolve) => {
      socket.on('error', resolve)
      socket.on('close', () => resolve(new Error('closed without an error')))
      socket.resume()
      setTimeout(() => socket.destroy(new Error('nothing happened')), 3_000).unref()
    })
  }

  const tls = (options: TlsOptions): Server => {
    const server = createTls(options, (socket) => socket.on('error', () => {}))
    server.on('tlsClientError', () => {})
    return server
  }
  const strict = (pems: Pems): TlsOptions => ({ ...pems, requestCert: true, rejectUnauthorized: true })

  const cases: readonly [string, () => Server | Promise<Server>, () => ConnectionOptions, RegExp][] = [
    [
      'a node without TLS',
      () =>
        createTcp((socket) =>
          socket.on('error', () => {}).on('data', () => socket.end(Buffer.from('8400000000000000', 'hex'))),
        ),
      () => mine,
      /^it speaks plain text, not TLS /,
    ],
    [
      'no certificate',
      () => tls(strict(mine)),
      () => ({ ca: mine.ca }),
      /^it wants a certificate, and was shown none /,
    ],
    [
      'a server of another authority',
      () => tls(strict(foreign)),
      () => mine,
      /^it shows a certificate that this mesh’s authority did not sign /,
    ],
    [
      'a server whose clock is ahead',
      () => tls({ ...early }),
      () => mine,
      /^it shows a certificate that is not valid yet, so this host’s clock is behind/,
    ],
    [
      'a server whose certificate has expired',
      () => tls({ ...late }),
      () => mine,
      /^it shows a certificate that has expired/,
    ],
    ['TLS 1.2 only', () => tls({ ...mine, maxVersion: 'TLSv1.2' }), () => mine, /^it does not speak TLS 1\.3 /],
    [
      'a peer that hangs up',
      () => createTcp((socket) => socket.on('error', () => {}).on('data', () => socket.resetAndDestroy())),
      () => mine,
      /^it ended the connection without a word /,
    ],
  ]
  for (const [name, server, client, expected] of cases) {
    it(name, async () => assert.match(transportLine('it', await fault(await server(), client())), expected))
  }

  // Node.js as a server ends a connection whose certificate it refuses without an alert; Cassandra and OpenSSL send one.
  const openssl = spawnSync('openssl', ['version']).status === 0
  for (const [name, client, expected] of [
    [
      'a certificate of another authority',
      () => foreign,
      /^it (does not trust the authority of|refuses) our certificate /,
    ],
    ['our own certificate expired', () => late, /^it (says that our certificate has expired|refuses our certificate) /],
  ] as const) {
    it(name, { skip: openssl ? false : 'openssl is not installed' }, async () => {
      const file = (kind: keyof Pems): string => {
        const path = join(folder, `mine-${kind}.pem`)
        writeFileSync(path, mine[kind])
        return path
      }
      const free = createTcp()
      const port = await portOf(free)
      free.close()
      await once(free, 'close')
      const files = ['-cert', file('cert'), '-cert_chain', file('cert'), '-key', file('key'), '-CAfile', file('ca')]
      const args = ['s_server', '-accept', `127.0.0.1:${port}`, ...files, '-Verify', '3', '-verify_return_error']
      const server = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] })
      try {
        await new Promise<void>((resolve) => {
          server.stdout.on('data', (chunk) => String(chunk).includes('ACCEPT') && resolve())
        })
        const { ca } = mine
        assert.match(transportLine('it', await fault(port, { ...client(), ca })), expected)
      } finally {
        server.kill()
      }
    })
  }

  it('nothing listens', async () => {
    const server = createTcp()
    const port = await portOf(server)
    server.close()
    await once(server, 'close')
    assert.match(
      transportLine('127.0.0.1:1', await fault(port, mine)),
      /^127\.0\.0\.1:1 is not there: nothing listens .*is it running/,
    )
  })

  it('an error that is not in the table keeps its own text', () => {
    assert.equal(transportFault(new Error('x')), undefined)
    assert.equal(transportLine('it', new Error('something new')), 'it: something new')
  })
})
