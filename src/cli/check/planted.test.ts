/**
 * Faults planted one at a time, each on a real socket, and what `check` says of it. Where there is none it is silent. Those of a status are
 * in `of-status.test.ts`.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createServer as createTls, type TlsOptions } from 'node:tls'
import { type Clock, systemClock } from '../../base/clock.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import {
  authenticateEnvelope,
  authSuccessEnvelope,
  errorEnvelope,
  readyEnvelope,
  rowsEnvelope,
} from '../../cql/encode.ts'
import { envelopeHeaderBytes, headerOpcode, Opcode } from '../../cql/protocol.ts'
import { native } from '../../cql/types.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import type { HostPort } from '../options.ts'
import type { Door } from './doors.ts'
import type { Finding } from './finding.ts'
import { unsaid } from './messages.fixture.ts'
import type { ProbeCertificate } from './probe.ts'
import { ofResult, wayThrough } from './way-through.ts'
import { waysAround } from './ways-around.ts'

const trustDomain = 'demo.local'

/** What a planted server does with the messages of a log-in. */
interface Manners {
  readonly startup: 'ready' | 'password' | 'certificate' | 'overloaded' | 'hang' | 'garbage'
  /** Takes cassandra/cassandra, or whatever is answered where no password is asked for. */
  readonly firstPassword?: boolean
  readonly query?: 'rows' | 'unauthorized' | 'overloaded' | 'unrecorded'
}

function serve(socket: Socket, manners: Manners): void {
  socket.on('error', () => {})
  socket.on('data', (data: Buffer) => {
    if (data[0] !== 0x04 || data.length < envelopeHeaderBytes) {
      socket.destroy()
      return
    }
    const opcode = headerOpcode(data, 0)
    if (opcode === Opcode.STARTUP) {
      const answers: Record<Manners['startup'], Buffer | undefined> = {
        ready: readyEnvelope(4, 0),
        password: authenticateEnvelope(4, 0, 'org.apache.cassandra.auth.PasswordAuthenticator'),
        certificate: authenticateEnvelope(4, 0, 'org.apache.cassandra.auth.MutualTlsAuthenticator'),
        overloaded: errorEnvelope(4, 0, 0x1001, 'no node of the cluster is reachable'),
        hang: undefined,
        garbage: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      }
      const answer = answers[manners.startup]
      if (answer !== undefined) socket.write(answer)
    } else if (opcode === Opcode.AUTH_RESPONSE) {
      const first = data.subarray(envelopeHeaderBytes + 4).toString() === '\0cassandra\0cassandra'
      const takes = (manners.startup === 'certificate' || first) && manners.firstPassword === true
      socket.write(takes ? authSuccessEnvelope(4, 0) : errorEnvelope(4, 0, 0x0100, 'Bad credentials'))
    } else if (manners.query === 'rows') {
      const columns = [{ name: 'release_version', type: native('text') }]
      socket.write(rowsEnvelope(4, 0, { keyspace: 'system', table: 'local', columns }, [[Buffer.from('5.0.9')]]))
    } else {
      const words = manners.query === 'unrecorded' ? 'the audit record cannot be written' : 'not now'
      socket.write(errorEnvelope(4, 0, manners.query === 'unauthorized' ? 0x2100 : 0x1001, words))
    }
  })
}

interface Planted {
  readonly target: HostPort
  close(): void
}

async function listening(server: Server): Promise<Planted> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { target: { address: '127.0.0.1', port }, close: () => server.close() }
}

const tcp = (manners: Manners): Promise<Planted> => listening(createTcp((socket) => serve(socket, manners)))
const tls = (manners: Manners, options: TlsOptions): Promise<Planted> => {
  const server = createTls(options, (socket) => serve(socket, manners))
  server.on('tlsClientError', () => {})
  return listening(server)
}

describe('faults planted', () => {
  let folder: string
  let client: ProbeCertificate
  let mine: TlsOptions
  let theirs: TlsOptions
  let late: TlsOptions
  let early: TlsOptions
  let forged: TlsOptions
  let node: TlsOptions
  let lateNode: TlsOptions
  const planted: Planted[] = []
  const heard: Finding[] = []

  const made = async (
    domain: string,
    path: string,
    authority: string,
    clock: Clock = systemClock,
  ): Promise<ProbeCertificate> => {
    const ca = await CertificateAuthority.open(join(folder, authority), domain, clock)
    const minted = await ca.mint({ spiffeId: parseSpiffeId(`spiffe://${domain}/${path}`), ttlMs: 600_000 })
    return { ...minted, bundlePem: ca.bundlePem }
  }
  const optionsOf = ({ certificatePem, keyPem, bundlePem }: ProbeCertificate): TlsOptions => ({
    cert: certificatePem,
    key: keyPem,
    ca: bundlePem,
  })

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-check-'))
    client = await made(trustDomain, 'svc/check', 'mesh')
    mine = optionsOf(await made(trustDomain, 'ringfence/gateway/g', 'mesh'))
    node = optionsOf(await made(trustDomain, 'cassandra/node1', 'mesh'))
    forged = optionsOf(await made(trustDomain, 'ringfence/gateway/g', 'forged'))
    theirs = optionsOf(await made('other.local', 'ringfence/gateway/g', 'other'))
    const hours = 2 * 3_600_000
    const at = (offMs: number): Clock => ({ ...systemClock, now: () => Date.now() + offMs })
    lateNode = optionsOf(await made(trustDomain, 'cassandra/node1', 'mesh', at(-550_000)))
    late = optionsOf(await made(trustDomain, 'ringfence/gateway/g', 'mesh', at(hours)))
    early = optionsOf(await made(trustDomain, 'ringfence/gateway/g', 'mesh', at(-hours)))
  })
  after(() => {
    for (const one of planted) one.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const bad = (findings: readonly Finding[]): string[] => {
    heard.push(...findings)
    for (const { level, text, hint } of findings)
      assert.ok(level === 'ok' || (hint ?? '') !== '', `"${text}" has a hint`)
    return findings.flatMap(({ level, text }) =>
      level === 'ok' ? [] : [`${level}: ${text.replace(/127\.0\.0\.1:\d+/, 'NODE')}`],
    )
  }
  const around = async (one: Planted): Promise<string[]> => {
    planted.push(one)
    return bad(await waysAround([one.target], client))
  }
  const through = async (one: Planted, kind: Door['kind'] = 'nginx'): Promise<string[]> => {
    planted.push(one)
    return bad(await wayThrough([{ target: one.target, kind }], client, trustDomain))
  }
  /** The node's own lock: a certificate is demanded, and this one is not registered. */
  const locked = (options: TlsOptions): TlsOptions => ({ ...options, requestCert: true, rejectUnauthorized: true })

  describe('ways around Cassandra', () => {
    const cases: readonly [string, () => Promise<Planted>, readonly string[]][] = [
      ['a locked node', () => tls({ startup: 'certificate' }, locked(node)), []],
      [
        'a node that asks nobody anything',
        () => tcp({ startup: 'ready' }),
        ['failure: NODE lets everybody in without TLS, and asks for nothing'],
      ],
      [
        'passwords in the clear',
        () => tcp({ startup: 'password' }),
        ['failure: NODE takes passwords without TLS, so whoever knows one walks around the mesh'],
      ],
      [
        'the first password in the clear',
        () => tcp({ startup: 'password', firstPassword: true }),
        ['failure: NODE lets cassandra/cassandra in without TLS'],
      ],
      [
        'certificates asked for in the clear',
        () => tcp({ startup: 'certificate' }),
        ['failure: NODE speaks CQL without TLS'],
      ],
      [
        'whoever says anything in the clear',
        () => tcp({ startup: 'certificate', firstPassword: true }),
        ['failure: NODE lets a stranger in without TLS'],
      ],
      ['errors in the clear', () => tcp({ startup: 'overloaded' }), ['failure: NODE speaks CQL without TLS']],
      [
        'the first password by TLS without a certificate',
        () => tls({ startup: 'password', firstPassword: true }, node),
        [
          'failure: NODE lets cassandra/cassandra in by TLS without a certificate',
          'failure: NODE lets cassandra/cassandra in by another certificate of the mesh',
        ],
      ],
      [
        'a password behind a certificate of the mesh',
        () => tls({ startup: 'password' }, locked(node)),
        [
          'failure: NODE takes passwords by another certificate of the mesh, so whoever knows one walks around the mesh',
        ],
      ],
      [
        'whoever has a certificate of the mesh',
        () => tls({ startup: 'ready' }, locked(node)),
        ['failure: NODE lets everybody in by another certificate of the mesh, and asks for nothing'],
      ],
      [
        'TLS for anybody',
        () => tls({ startup: 'ready' }, node),
        [
          'failure: NODE lets everybody in by TLS without a certificate, and asks for nothing',
          'failure: NODE lets everybody in by another certificate of the mesh, and asks for nothing',
        ],
      ],
    ]
    for (const [name, make, expected] of cases) {
      it(name, async () => assert.deepEqual(await around(await make()), expected))
    }

    it('a node whose certificate is about to end', async () => {
      const [finding = '', ...others] = await around(await tls({ startup: 'certificate' }, locked(lateNode)))
      assert.match(
        finding,
        /^failure: certificate of the node at NODE ends in \d+s, a tenth of its life is left or less;/,
      )
      assert.match(finding, /its sidecar connects to it no more$/)
      assert.deepEqual(others, [])
    })

    it('a node that is stopped: nothing comes for five seconds', async () => {
      assert.deepEqual(await around(await tls({ startup: 'hang' }, locked(node))), [
        'warning: NODE took the connection by another certificate of the mesh and said nothing for five seconds',
      ])
    })

    it('a sidecar, where its node was meant', async () => {
      assert.deepEqual(await around(await tls({ startup: 'ready', query: 'rows' }, mine)), [
        'warning: NODE is a proxy of the mesh and no node, so nothing is known of the node',
      ])
    })

    it('a node that is down', async () => {
      const one = await tcp({ startup: 'ready' })
      one.close()
      const [finding] = await around(one)
      assert.match(finding ?? '', /^warning: NODE cannot be reached from here: .*ECONNREFUSED/)
    })

    it('no node named, and no certificate to try', async () => {
      assert.deepEqual(bad(await waysAround([], client)), [
        'warning: no node was tried, so nothing is known of ways around the mesh',
      ])
      const one = await tls({ startup: 'certificate' }, locked(node))
      planted.push(one)
      assert.deepEqual(bad(await waysAround([one.target], undefined)), [
        'warning: another certificate of the mesh was not tried, for none could be made',
      ])
    })
  })

  describe('the way through', () => {
    const cases: readonly [string, () => Promise<Planted>, readonly string[] | RegExp][] = [
      ['a door that answers', () => tls({ startup: 'ready', query: 'rows' }, mine), []],
      ['a door where policy refuses the question', () => tls({ startup: 'ready', query: 'unauthorized' }, mine), []],
      [
        'Cassandra away',
        () => tls({ startup: 'overloaded' }, mine),
        ['failure: NODE (nginx) refuses: no node of the cluster is reachable'],
      ],
      [
        'no answer to a query',
        () => tls({ startup: 'ready', query: 'overloaded' }, mine),
        ['failure: NODE (nginx) does not answer a query: not now'],
      ],
      [
        'NGINX that leads to a web server',
        () => tls({ startup: 'garbage' }, mine),
        ['failure: NODE (nginx) ended the connection: it does not speak CQL'],
      ],
      [
        'a door of another mesh',
        () => tls({ startup: 'ready', query: 'rows' }, theirs),
        /^failure: NODE \(nginx\) is not of this mesh: /,
      ],
      [
        'a certificate of its own making for this trust domain',
        () => tls({ startup: 'ready', query: 'rows' }, forged),
        /^failure: NODE \(nginx\) is not of this mesh: its certificate was not signed/,
      ],
      [
        'a gateway whose clock is two hours ahead',
        () => tls({ startup: 'ready', query: 'rows' }, late),
        /not yet valid/,
      ],
      [
        'a gateway whose clock is two hours behind, so that it never renewed',
        () => tls({ startup: 'ready', query: 'rows' }, early),
        /its certificate has expired by this host’s clock/,
      ],
      [
        'a record that cannot be written',
        () => tls({ startup: 'ready', query: 'unrecorded' }, mine),
        ['failure: NODE (nginx) does not answer a query: the audit record cannot be written'],
      ],
      [
        'a door that leads to Cassandra itself',
        () => tls({ startup: 'certificate' }, mine),
        ['failure: NODE (nginx) asks for a password, so it is no door of the mesh'],
      ],
      ['a door in the clear', () => tcp({ startup: 'ready' }), /^failure: NODE \(nginx\) ended the connection: /],
    ]
    for (const [name, make, expected] of cases) {
      it(name, async () => {
        const said = await through(await make())
        if (expected instanceof RegExp) assert.match(said.join('; '), expected)
        else assert.deepEqual(said, expected)
      })
    }

    it('NGINX that is not running, and a sidecar that is not', async () => {
      for (const kind of ['nginx', 'sidecar'] as const) {
        const one = await tcp({ startup: 'ready' })
        one.close()
        assert.match((await through(one, kind))[0] ?? '', /^failure: NODE \((nginx|sidecar)\) cannot be reached: /)
      }
    })

    it('a node that is stopped: nothing comes for five seconds', async () => {
      assert.deepEqual(await through(await tls({ startup: 'hang' }, mine), 'sidecar'), [
        'failure: NODE (sidecar) took the connection and said nothing for five seconds',
      ])
    })

    it('each kind of door that is silent, ends the connection, or answers no query, each with its own hint', async () => {
      const silent = { kind: 'silent' } as const
      const closed = { kind: 'closed', text: 'it ended the connection' } as const
      const ready = { kind: 'ready' } as const
      const hints = new Set<string>()
      for (const answer of [silent, closed, ready]) {
        for (const kind of ['nginx', 'gateway', 'sidecar', 'door'] as const) {
          const target = { address: '127.0.0.1', port: 1 }
          const nothing = { peerDer: undefined, chainFault: undefined, rows: undefined, queryError: undefined }
          const finding = ofResult({ target, kind }, { ...nothing, answer }, trustDomain)
          assert.equal(bad([finding]).length, 1)
          hints.add(finding.hint ?? '')
        }
      }
      assert.equal(hints.size, 2 + 3 + 1)
      const old = { answer: ready, peerDer: undefined, chainFault: undefined, rows: [], queryError: undefined }
      assert.deepEqual(
        bad([ofResult({ target: { address: '127.0.0.1', port: 1 }, kind: 'door' }, old, trustDomain)]),
        [],
      )
    })

    it('no door known, no certificate made', async () => {
      assert.equal(bad(await wayThrough([], client, trustDomain)).length, 1)
      assert.equal(bad(await wayThrough([], undefined, trustDomain)).length, 1)
    })
  })

  it('were each heard of that `check` has words for', () => {
    for (const file of ['ways-around.ts', 'way-through.ts']) assert.deepEqual(unsaid(file, heard), [], file)
  })
})
