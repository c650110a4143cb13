/** The drill of a breach at doors and a control plane that misbehave: it says what is not as promised, and nobody is revoked behind it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { createServer as createTls, type TLSSocket } from 'node:tls'
import { systemClock } from '../../base/clock.ts'
import { RingfenceError } from '../../base/errors.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import type { RevokedAnswer } from '../../control/services/revocations.ts'
import { errorEnvelope, readyEnvelope, rowsEnvelope } from '../../cql/encode.ts'
import { envelopeHeaderBytes, headerBodyBytes, headerOpcode, headerStream, Opcode } from '../../cql/protocol.ts'
import { native } from '../../cql/types.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { proxy, status as usualStatus } from '../check/status.fixture.ts'
import { type BreachOrder, type DrillAdmin, drillBreach } from './breach.ts'

const identity = parseSpiffeId('spiffe://demo.local/svc/alice')
const columns = [{ name: 'release_version', type: native('text') }]
const row = (stream: number): Buffer =>
  rowsEnvelope(4, stream, { keyspace: 'system', table: 'local', columns }, [[Buffer.from('5.0.9')]])

let folder: string
let ca: CertificateAuthority
const servers: Server[] = []
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rf-drill-'))
  ca = await CertificateAuthority.open(join(folder, 'ca'), 'demo.local', systemClock)
})
after(() => {
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Serial numbers; what is revoked at the control plane. */
let revoked: Set<string>
let everRevoked: number
beforeEach(() => {
  revoked = new Set()
  everRevoked = 0
})

/** How a door takes a revocation. */
interface Manners {
  /** It never hears of it. */
  readonly deaf?: boolean
  /** It refuses, and leaves the socket open. */
  readonly staysOpen?: boolean
  /** It takes any revocation for everybody's. */
  readonly all?: boolean
  /** It refuses the question by policy, as it may. */
  readonly policyRefuses?: boolean
  /** Of its certificate. */
  readonly id?: string
}

async function door(manners: Manners = {}): Promise<{ address: string; port: number }> {
  const { deaf = false, all = false, id = 'ringfence/gateway/g' } = manners
  const own = await ca.mint({ spiffeId: parseSpiffeId(`spiffe://demo.local/${id}`), ttlMs: 600_000 })
  const open = new Map<TLSSocket, string>()
  const isOut = (serial: string): boolean => !deaf && (revoked.has(serial) || (all && revoked.size > 0))
  const refusal = (stream: number): Buffer => errorEnvelope(4, stream, 0x2100, 'access was revoked (revocation 1)')
  const options = { cert: own.certificatePem, key: own.keyPem, ca: ca.bundlePem, requestCert: true }
  const server = createTls(options, (socket) => {
    const serial = socket.getPeerX509Certificate()?.serialNumber ?? ''
    open.set(socket, serial)
    socket.on('error', () => {})
    socket.on('close', () => open.delete(socket))
    socket.on('data', (data: Buffer) => {
      for (let at = 0; at < data.length; at += envelopeHeaderBytes + headerBodyBytes(data, at)) {
        const stream = headerStream(data, at)
        if (headerOpcode(data, at) === Opcode.STARTUP)
          socket.write(isOut(serial) ? errorEnvelope(4, stream, 0x0100, 'not let in') : readyEnvelope(4, stream))
        else if (isOut(serial)) {
          socket.write(refusal(stream))
          if (manners.staysOpen !== true) socket.end()
        } else if (manners.policyRefuses === true) socket.write(errorEnvelope(4, stream, 0x2100, 'rule default-deny'))
        else socket.write(row(stream))
      }
    })
  })
  server.on('tlsClientError', () => {})
  return listening(server)
}

async function listening(server: Server): Promise<{ address: string; port: number }> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { address: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

function admin(change: Partial<DrillAdmin> = {}): DrillAdmin {
  return {
    mint: async () => {
      const minted = await ca.mint({ spiffeId: identity, ttlMs: 60_000 })
      return { ...minted, spiffeId: identity, bundlePem: ca.bundlePem }
    },
    revoke: async ({ value, kind, lifeMs }) => {
      assert.equal(kind, 'one-certificate')
      assert.ok((lifeMs ?? Number.POSITIVE_INFINITY) <= 120_000, 'it ends by itself soon')
      revoked.add(value)
      everRevoked++
      return { revocation: { id: 1 } } as RevokedAnswer
    },
    restore: async (order) => {
      if (!('value' in order) || !revoked.delete(order.value)) throw new RingfenceError('USAGE', 'it is not revoked')
      return { revocation: { id: 1 } as RevokedAnswer['revocation'] }
    },
    status: async () => ({ ...usualStatus, proxies: [{ ...proxy, revocationsInForce: true }] }),
    ...change,
  }
}

function order(
  targets: readonly { address: string; port: number }[],
  signal = new AbortController().signal,
): BreachOrder {
  const doors = targets.map((target) => ({ target, kind: 'door' as const }))
  const { control } = usualStatus
  const status = {
    ...usualStatus,
    control: { ...control, trustDomain: 'demo.local' },
    proxies: [{ ...proxy, spiffeId: 'spiffe://demo.local/ringfence/gateway/g', name: 'g1' }],
  }
  return { identity, doors, status, by: 'test', reason: 'drill', say: () => {}, signal, waitMsMax: 2_000 }
}

const gone = (): RingfenceError => new RingfenceError('UNAVAILABLE', 'gone')

describe('the drill of a breach', () => {
  it('times a door that is as promised, also where policy refuses its question', async () => {
    const targets = [await door(), await door({ policyRefuses: true })]
    const { doors, faults, inForce } = await drillBreach(admin(), order(targets))
    assert.deepEqual([...faults, ...doors.flatMap((one) => one.faults)], [])
    for (const { refusedMs = 0, closedMs = 0, comesAgain, neighbourAnswered, letInMs, proxy: name } of doors) {
      assert.ok(refusedMs > 0 && refusedMs <= closedMs, `${refusedMs} ${closedMs}`)
      assert.ok(neighbourAnswered > 0 && letInMs !== undefined)
      assert.deepEqual([comesAgain, name], ['refused', 'g1'])
    }
    assert.deepEqual([inForce.have, inForce.connected], [1, 1])
    assert.deepEqual([everRevoked, revoked.size], [1, 0])
  })

  for (const [name, manners, words] of [
    [
      'never hears of it',
      { deaf: true },
      ['not refused within 2 s', 'not closed within 2 s', 'a new connection was let in while it was revoked'],
    ],
    ['leaves the socket open', { staysOpen: true }, ['not closed within 2 s']],
    [
      'cuts off everybody',
      { all: true },
      [
        'the other certificate of the same identity was cut off, which nobody revoked',
        'the other certificate of the same identity had no answer',
      ],
    ],
  ] as const) {
    it(`tells of a door that ${name}, and of no other`, async () => {
      const { doors } = await drillBreach(admin(), order([await door(), await door(manners)]))
      assert.deepEqual(doors[0]?.faults, [])
      const told = doors[1]?.faults ?? []
      // One that is cut off soon has perhaps had an answer before.
      assert.deepEqual(told, words.slice(0, told.length))
      assert.ok(told.length > 0)
      assert.equal(revoked.size, 0)
    })
  }

  it('tells of a door that cannot be tried, and why', async () => {
    const deadPort = await listening(createTcp())
    servers.pop()!.close()
    const stranger = await door({ id: 'svc/somebody' })
    const { doors } = await drillBreach(admin(), order([await door(), deadPort, stranger]))
    assert.deepEqual(doors[0]?.faults, [])
    assert.match(doors[1]?.faults.join() ?? '', /^not tried: .*ECONNREFUSED/)
    assert.match(doors[2]?.faults.join() ?? '', /^not tried: it is no gateway or sidecar of this mesh$/)
  })

  it('revokes nobody where no door can be tried', async () => {
    const silent = await listening(createTcp((socket) => void socket.on('error', () => {}).resume()))
    await assert.rejects(drillBreach(admin(), order([silent])), {
      code: 'UNAVAILABLE',
      message: /^nothing was tried and nobody revoked\n127\.0\.0\.1:\d+: no answer within 2 s$/,
    })
    assert.equal(everRevoked, 0)
  })

  it('tells of a proxy that does not say that it has it', async () => {
    const status = async () => ({ ...usualStatus, proxies: [{ ...proxy, name: 'mute', revocationsInForce: false }] })
    const { faults } = await drillBreach(admin({ status }), order([await door()]))
    assert.deepEqual(faults, ['mute has not said that it has the revocation'])
  })

  for (const [name, change] of [
    [
      'loses the answer to the command',
      {
        revoke: (given) =>
          admin()
            .revoke(given)
            .then(() => Promise.reject(gone())),
      },
    ],
    ['refuses the command', { revoke: () => Promise.reject(gone()) }],
    ['is away behind it', { status: () => Promise.reject(gone()) }],
  ] as const satisfies readonly (readonly [string, Partial<DrillAdmin>])[]) {
    it(`leaves nobody revoked where the control plane ${name}`, async () => {
      await assert.rejects(drillBreach(admin(change), order([await door()])), { message: 'gone' })
      assert.equal(revoked.size, 0)
    })
  }

  it('asks to restore until it is heard', async () => {
    let asked = 0
    const restore: DrillAdmin['restore'] = (given) => (++asked < 3 ? Promise.reject(gone()) : admin().restore(given))
    const { doors } = await drillBreach(admin({ restore }), order([await door()]))
    assert.deepEqual([asked, revoked.size, doors[0]?.faults], [3, 0, []])
  })

  it('restores where it is cancelled, and revokes nobody where it was before', async () => {
    const cancel = new AbortController()
    const revoke: DrillAdmin['revoke'] = async (given) => {
      setTimeout(() => cancel.abort(), 50)
      return admin().revoke(given)
    }
    const targets = [await door({ deaf: true })]
    await assert.rejects(drillBreach(admin({ revoke }), order(targets, cancel.signal)), /cancelled; nobody is revoked/)
    assert.deepEqual([everRevoked, revoked.size], [1, 0])
    await assert.rejects(drillBreach(admin(), order(targets, AbortSignal.abort())), /cancelled/)
    assert.equal(everRevoked, 1)
  })
})
