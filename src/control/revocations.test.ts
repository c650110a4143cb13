import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { ManualClock } from '../base/clock.fixture.ts'
import { systemClock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { makeKey } from '../mesh/credentials.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { RevocationsFeed, reportedRevocations, revocationsAsOf } from '../mesh/revocations.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { eventually, type Mesh, overHttps, withMesh } from './mesh.fixture.ts'
import { Publisher } from './publisher.ts'
import { RevocationBook } from './revocation-book.ts'

const id = (path: string): string => `spiffe://demo.local/${path}`
const sidecar = async (mesh: Mesh, name: string): Promise<Agent> =>
  mesh.agent(name, await mesh.token(id(`ringfence/sidecar/${name}`), 'sidecar'))
const workload = async (mesh: Mesh, name: string): Promise<Agent> =>
  mesh.agent(name, await mesh.token(id(`svc/${name}`), 'workload'), { role: 'workload' })
const revokedIn = (agent: Agent) => new RevocationsFeed((kind) => agent.value(kind)).current
const reason = 'a test'

describe('revocations at the control plane', () => {
  it('reach every proxy, also one that comes later, and survive a restart', () =>
    withMesh({}, async (mesh) => {
      const early = await sidecar(mesh, 'n1')
      const alice = { subject: id('svc/alice') }
      assert.equal(revokedIn(early).find(alice, Date.now()), undefined)
      const { revocation } = await mesh.admin.revoke({ kind: 'id', value: alice.subject, reason, by: 'carol' })
      await eventually('the revocation', () => revokedIn(early).find(alice, Date.now())?.id === revocation.id)
      await mesh.admin.revoke({ kind: 'person', value: 'corp/alice', reason, lifeMs: 3_600_000 })
      await mesh.control.stop()
      await mesh.restart()
      const late = await sidecar(mesh, 'n2')
      assert.equal(revokedIn(late).find(alice, Date.now())?.id, revocation.id, 'known before it serves anybody')
      assert.equal(revokedIn(late).size, 2)
      const { revocations, count } = await mesh.admin.revocations(false, 10)
      assert.equal(count, 2)
      assert.deepEqual(
        revocations.map(({ kind, value, by, reason: why }) => [kind, value, by, why]),
        [
          ['person', 'corp/alice', 'admin', reason],
          ['id', alice.subject, 'carol', reason],
        ],
      )
      await mesh.admin.restore({ id: revocation.id, reason: 'found', by: 'carol' })
      await eventually('it is let in', () => revokedIn(late).find(alice, Date.now()) === undefined)
      await assert.rejects(mesh.admin.restore({ id: revocation.id }), { code: 'USAGE' })
      const all = (await mesh.admin.revocations(true, 10)).revocations
      assert.deepEqual(all.at(-1)?.ended?.reason, 'found')
    }))

  it('hold while the control plane is away, and a proxy that has none serves nobody', () =>
    withMesh({}, async (mesh) => {
      const agent = await sidecar(mesh, 'n1')
      await mesh.admin.revoke({ kind: 'id', value: id('svc/alice'), reason })
      await eventually('the revocation', () => revokedIn(agent).size === 1)
      // It dies right after.
      await mesh.control.stop()
      await agent.stop()
      const again = await mesh.agent('n1')
      assert.equal(revokedIn(again).size, 1)
      await again.stop()
      // What was kept is not all of it.
      const { rmSync, readdirSync } = await import('node:fs')
      const kept = `${mesh.stateDir}/../n1/kept`
      for (const file of readdirSync(kept)) rmSync(`${kept}/${file}`)
      const starting = mesh.agent('n1')
      let isUp = false
      void starting.then(() => {
        isUp = true
      })
      await sleep(1_000)
      assert.ok(!isUp, 'it waits')
      await mesh.restart()
      const up = await starting
      assert.equal(revokedIn(up).size, 1)
    }))

  it('refuse renewals, enrolments, watching and minting, and no neighbour’s', () =>
    withMesh({}, async (mesh) => {
      const [alice, bob, n1, n2] = [
        await workload(mesh, 'alice'),
        await workload(mesh, 'bob'),
        await sidecar(mesh, 'n1'),
        await sidecar(mesh, 'n2'),
      ]
      const token = await mesh.token(id('svc/alice'), 'workload')
      const renew = async (agent: Agent) =>
        (await overHttps(mesh, agent.credentials.current, 'POST', '/v1/renew', { csrPem: (await makeKey()).csrPem }))
          .status
      const watch = async (agent: Agent) =>
        (await overHttps(mesh, agent.credentials.current, 'GET', '/v1/watch')).status
      assert.deepEqual([await renew(alice), await watch(n1)], [200, 200])
      await mesh.admin.revoke({ kind: 'id', value: id('svc/alice'), reason })
      await mesh.admin.revoke({ kind: 'proxy', value: 'n1', reason })
      assert.deepEqual([await renew(alice), await renew(bob), await watch(n1), await watch(n2)], [403, 200, 403, 200])
      const enrolled = async (joinToken: string) => {
        const body = { token: joinToken, csrPem: (await makeKey()).csrPem, name: 'x', role: 'workload' }
        return (await overHttps(mesh, undefined, 'POST', '/v1/enrol', body)).status
      }
      assert.equal(await enrolled(token), 403)
      assert.equal(await enrolled(await mesh.token(id('svc/carol'), 'workload')), 200)
      await assert.rejects(mesh.admin.makeToken({ spiffeId: id('svc/alice'), role: 'workload' }), { code: 'USAGE' })
      await assert.rejects(mesh.admin.mint({ spiffeId: id('svc/alice') }), { code: 'USAGE' })
      await mesh.admin.mint({ spiffeId: id('svc/alice2') })
      const { proxies } = await mesh.admin.status()
      assert.deepEqual(
        proxies.map(({ name, revoked, connected }) => [name, revoked !== undefined, connected]),
        [
          ['n1', true, false],
          ['n2', false, proxies[1]?.connected],
        ],
      )
    }))

  it('are in force for all, also where a connection is open whose renewed certificate is over', () => {
    let aheadMs = 0
    const clock = { now: () => Date.now() + aheadMs, monotonic: systemClock.monotonic }
    return withMesh({ clock }, async (mesh) => {
      const [alice, n1] = [await workload(mesh, 'alice'), await sidecar(mesh, 'n1')]
      const { certificatePem: cert, keyPem: key } = alice.credentials.current
      const agent = new HttpsAgent({ keepAlive: true, maxSockets: 1, cert, key, rejectUnauthorized: false })
      const headers = { 'content-type': 'application/json' }
      const csr = JSON.stringify({ csrPem: (await makeKey()).csrPem })
      const [socket, closed] = await new Promise<[Socket, Promise<unknown>]>((resolve, reject) => {
        const url = new URL('/v1/renew', mesh.control.url)
        const sent = httpsRequest(url, { agent, method: 'POST', headers }, (answer) => {
          const { socket: used } = answer
          answer.resume().on('end', () => resolve([used, once(used, 'close')]))
        })
        sent.on('error', reject).end(csr)
      })
      assert.ok(!socket.destroyed)
      const keysBefore = n1.value(pushedKinds.keys).current.map(({ id: key }) => key)
      aheadMs = 25 * 3_600_000
      await mesh.admin.revoke({ kind: 'proxy', value: 'n1', reason })
      await closed
      await mesh.admin.revoke({ kind: 'id', value: id('svc/bob'), reason })
      assert.equal((await mesh.admin.revocations(false, 10)).count, 2)
      assert.ok(mesh.control.value(pushedKinds.keys).current.some(({ id: key }) => !keysBefore.includes(key)))
      agent.destroy()
    })
  })

  it('mean one certificate, or its key, and not another of the same id', () =>
    withMesh({}, async (mesh) => {
      const bob = await workload(mesh, 'bob')
      const first = bob.credentials.current
      const body = { csrPem: (await makeKey()).csrPem }
      const ask = async (credentials: Pick<typeof first, 'certificatePem' | 'keyPem'>, csrPem = body.csrPem) =>
        (await overHttps(mesh, credentials, 'POST', '/v1/renew', { csrPem })).status
      const certificate = new X509Certificate(first.certificatePem)
      const { revocation } = await mesh.admin.revoke({
        kind: 'one-certificate',
        value: certificate.serialNumber,
        reason,
      })
      assert.equal(await ask(first), 403)
      await mesh.admin.restore({ id: revocation.id })
      assert.equal(await ask(first), 200)
      const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
      await mesh.admin.revoke({ kind: 'key', value: createHash('sha256').update(spki).digest('hex'), reason })
      assert.equal(await ask(first), 403)
      // Nor does the key get another certificate.
      const fresh = await makeKey()
      const ofFresh = await mesh.admin.mint({ spiffeId: id('svc/bob') })
      assert.equal(await ask(ofFresh, fresh.csrPem), 200)
    }))

  it('of a sidecar make the mesh keys anew: those of before open for ten minutes, and masks change', () => {
    const clock = new ManualClock()
    return withMesh({ clock }, async (mesh) => {
      const before = mesh.control.value(pushedKinds.keys).current
      await mesh.admin.revoke({ kind: 'id', value: id('svc/alice'), reason })
      assert.deepEqual(mesh.control.value(pushedKinds.keys).current, before, 'a workload knows none')
      await mesh.admin.revoke({ kind: 'id', value: id('ringfence/gateway/g1'), reason })
      assert.deepEqual(mesh.control.value(pushedKinds.keys).current, before, 'nor does a gateway')
      const { keysRotated } = await mesh.admin.revoke({ kind: 'id', value: id('ringfence/sidecar/n1'), reason })
      assert.ok(keysRotated)
      const known = new Set(before.map((key) => key.id))
      const keys = () => mesh.control.value(pushedKinds.keys).current
      const pages = () => keys().filter(({ use }) => use !== 'masks')
      assert.equal(pages().filter((key) => !known.has(key.id)).length, 2, 'the one that seals, and the next')
      assert.ok(
        pages().some((key) => known.has(key.id)),
        'pages that are open go on',
      )
      const later = async (ms: number) => {
        clock.advance(ms)
        await mesh.control.stop()
        await mesh.restart()
      }
      await later(3_000)
      const masks = keys().filter(({ use }) => use === 'masks')
      assert.deepEqual(
        masks.map((key) => known.has(key.id)),
        [false],
      )
      await later(10 * 60_000)
      assert.ok(keys().every((key) => !known.has(key.id)))
      const settled = keys()
      await later(60_000)
      assert.deepEqual(keys(), settled, 'once')
    })
  })

  it('are heard by the proxy that is thrown out, which hears nothing of what comes after, and hears on when it is let in again', () =>
    withMesh({}, async (mesh) => {
      const [thrown, other] = [await sidecar(mesh, 'n1'), await sidecar(mesh, 'n2')]
      const keysOf = (agent: Agent) => agent.value(pushedKinds.keys).current.map(({ id: key }) => key)
      const before = keysOf(thrown)
      const { revocation } = await mesh.admin.revoke({ kind: 'proxy', value: 'n1', reason })
      const own = { subject: id('ringfence/sidecar/n1') }
      await eventually('it knows', () => revokedIn(thrown).find(own, Date.now())?.id === revocation.id)
      await eventually('new keys', () => keysOf(other).some((key) => !before.includes(key)))
      await mesh.admin.revoke({ kind: 'person', value: 'corp/later', reason })
      await eventually('the next one', () => revokedIn(other).find({ subject: '', person: 'corp/later' }, Date.now()))
      assert.deepEqual(keysOf(thrown), before)
      assert.equal(revokedIn(thrown).size, 1)
      await mesh.admin.restore({ id: revocation.id })
      await eventually('it hears on', () => revokedIn(thrown).find(own, Date.now()) === undefined)
      await eventually('the next one', () => revokedIn(thrown).find({ subject: '', person: 'corp/later' }, Date.now()))
    }))

  it('are heard by a proxy as soon as a report tells it that the control plane is there again', () =>
    withMesh({}, async (mesh) => {
      const said: string[] = []
      const log = pino({ level: 'debug' }, { write: (line: string) => void said.push(line) })
      let isLong = false
      // From then on it would wait for minutes until it asks again by itself.
      const random = (): number => (isLong ? 1_000 : 0)
      const token = await mesh.token(id('ringfence/sidecar/n1'), 'sidecar')
      const agent = await mesh.agent('n1', token, { log, random })
      agent.setReporter(() => ({
        policyRevision: 0,
        ...reportedRevocations((kind) => agent.value(kind)),
        connections: 0,
        sessions: 0,
        upstreamConnections: 0,
        listeners: [],
        traffic: [],
      }))
      await eventually('a report', async () => (await mesh.admin.status()).proxies[0]?.connected)
      isLong = true
      await mesh.control.stop()
      for (const text of ['control plane is away', 'report was not taken'])
        await eventually(text, () => said.some((line) => line.includes(text)))
      await mesh.restart()
      await mesh.admin.revoke({ kind: 'id', value: id('svc/alice'), reason })
      await eventually('the revocation', () => revokedIn(agent).find({ subject: id('svc/alice') }, Date.now()))
    }))

  it('are never made shorter by another of the same, in whatever spelling; as long, longer and endless ones count', () => {
    const clock = new ManualClock()
    return withMesh({ clock }, async (mesh) => {
      const hash = 'aB'.repeat(32)
      const spellings = [
        ['id', [id('svc/a')]],
        ['id', [id('svc/*')]],
        ['person', ['corp/a']],
        ['one-certificate', ['4A01', '00:4a:01']],
        ['key', [hash, hash.toLowerCase()]],
        ['one-token', [hash, hash.toUpperCase()]],
      ] as const
      for (const [kind, [value, again = value]] of spellings) {
        const revoke = async (lifeMs: number | undefined, dryRun = false) =>
          (await mesh.admin.revoke({ kind, value: lifeMs === undefined ? value : again, reason, lifeMs, dryRun }))
            .revocation.id
        const refused = (of: number) => ({
          code: 'USAGE',
          message: new RegExp(`revocation ${of}\\)`),
          hint: new RegExp(`restore ${of}$`),
        })
        const first = await revoke(60_000)
        for (const dry of [false, true]) await assert.rejects(revoke(59_999, dry), refused(first), kind)
        const same = await revoke(60_000)
        const longer = await revoke(70_000)
        const endless = await revoke(undefined)
        assert.ok(first < same && same < longer && longer < endless)
        for (const ms of [1, 60_000, 1e12]) await assert.rejects(revoke(ms), refused(endless), kind)
        const still = await revoke(undefined)
        await mesh.admin.restore({ id: still })
        await mesh.admin.restore({ id: await revoke(1_000) })
        await revoke(60_000)
        // The same, less of it being left.
        clock.advance(30_000)
        const after = await revoke(30_001)
        assert.ok(after > still)
      }
      const { count } = await mesh.admin.revocations(false, 100)
      assert.ok(count >= 1 && count <= spellings.length)
    })
  })

  it('say whom they mean, or who has nearly that name, and nothing changes in a dry run', () =>
    withMesh({}, async (mesh) => {
      await workload(mesh, 'orders')
      await workload(mesh, 'orders-batch')
      const dry = (value: string) => mesh.admin.revoke({ kind: 'id', value, reason, dryRun: true })
      assert.deepEqual((await dry(id('svc/orders'))).meant, { names: [id('svc/orders')], count: 1 })
      assert.equal((await dry(id('svc/*'))).meant?.count, 2)
      const typo = await dry(id('svc/order'))
      assert.deepEqual([typo.meant?.count, typo.nearest], [0, id('svc/orders')])
      assert.equal((await mesh.admin.revocations(true, 10)).count, 0)
      await assert.rejects(mesh.admin.revoke({ kind: 'proxy', value: 'n9', reason }), { code: 'USAGE' })
      await assert.rejects(mesh.admin.revoke({ kind: 'person', value: 'alice', reason }), { code: 'USAGE' })
    }))
})

describe('the book of revocations', () => {
  const made = () => {
    const [store, clock] = [new MemoryStore(), new ManualClock()]
    const log = { info() {}, error() {} }
    const publisher = new Publisher(log)
    return { store, clock, publisher, book: new RevocationBook({ store, publisher, clock, log }) }
  }
  const order = { kind: 'person', value: 'corp/alice', reason, by: 'a', untilMs: undefined } as const

  it('ends those whose time is over, and one that another takes the place of', () => {
    const { book, clock, publisher } = made()
    const digests = new Set([publisher.value(revocationsAsOf).current.revocationsDigest])
    const first = book.revoke({ ...order, untilMs: clock.now() + 1_000 })
    const second = book.revoke({ ...order, untilMs: clock.now() + 5_000 })
    digests.add(publisher.value(revocationsAsOf).current.revocationsDigest)
    assert.deepEqual(
      [...book.rows()].map((row) => row.id),
      [second.id],
    )
    assert.equal(book.ended(9)[0]?.id, first.id)
    clock.advance(4_000)
    book.sweep()
    assert.equal(book.current.find({ subject: '', person: 'corp/alice' }, clock.now())?.id, second.id)
    clock.advance(2_000)
    book.sweep()
    assert.equal(book.size, 0)
    assert.equal(book.ended(9)[0]?.ended?.by, 'time')
    assert.equal(digests.size, 2)
  })

  it('ends many whose time is over some at a time, and counts none of them meanwhile', () => {
    const { book, clock } = made()
    const count = 100
    for (let at = 0; at < count; at++) book.revoke({ ...order, value: `corp/p${at}`, untilMs: clock.now() + 1_000 })
    book.revoke({ ...order, value: 'corp/stays' })
    clock.advance(2_000)
    const found = (person: string) => book.current.find({ subject: '', person }, clock.now())
    for (let before = book.size, sweeps = 0; before > 1; sweeps++) {
      assert.ok(sweeps < count)
      for (let at = 0; at < count; at++) assert.equal(found(`corp/p${at}`), undefined)
      book.sweep()
      assert.ok(before - book.size > 0 && before - book.size <= 32, `${before - book.size} at once`)
      before = book.size
    }
    assert.ok(found('corp/stays') !== undefined)
  })

  it('tells everybody, whatever befalls one', () => {
    const { book } = made()
    const heard: number[] = []
    book.onAdded(() => {
      throw new Error('of this one')
    })
    book.onAdded((added) => heard.push(...added.map(({ id: of }) => of)))
    const { id: made1 } = book.revoke(order)
    assert.deepEqual(heard, [made1])
  })

  it('takes many at once, all or none, and tells each part and each listener once', () => {
    const { book, clock, publisher, store } = made()
    const orders = Array.from({ length: 3_600 }, (_, at) => ({ ...order, value: `corp/p${at}` }))
    book.revoke({ ...order, value: 'corp/before' })
    const heard: number[] = []
    book.onAdded((added) => heard.push(added.length))
    const sent: string[] = []
    publisher.watch((line) => sent.push(line), 'sidecar')
    sent.length = 0
    book.revokeAll(orders)
    assert.deepEqual(heard, [3_600])
    assert.ok(sent.length <= 65, `${sent.length} pushed`)
    const found = (value: string) => book.current.find({ subject: '', person: value }, clock.now())
    for (const { value } of [...orders, { value: 'corp/before' }]) assert.ok(found(value) !== undefined, value)
    assert.equal(found('corp/neighbour'), undefined)
    const most = Array.from({ length: limits.revocationsMax - 3_600 }, (_, at) => ({ ...order, value: `corp/q${at}` }))
    sent.length = 0
    assert.throws(() => book.revokeAll(most), { code: 'OVERLOADED' })
    assert.deepEqual([book.size, store.revocations().length, sent.length], [3_601, 3_601, 0])
    book.revokeAll(most.slice(1))
    assert.equal(book.size, limits.revocationsMax)
  })

  it('has no more patterns than are looked at, and 100,000 of others; one more costs a part only', () => {
    const { book, publisher, store, clock } = made()
    for (let at = 0; at < limits.revocationPatternsMax; at++)
      book.revoke({ ...order, kind: 'id', value: id(`p${at}/*`) })
    assert.throws(() => book.revoke({ ...order, kind: 'id', value: id('q/*') }), { code: 'OVERLOADED' })
    book.revoke({ ...order, kind: 'id', value: id('p1/*') })
    for (let at = book.size; at < limits.revocationsMax; at++)
      store.addRevocation({ ...order, value: `corp/p${at}`, createdAtMs: clock.now() })
    const log = { info() {}, error() {} }
    const full = new RevocationBook({ store, publisher, clock, log })
    assert.equal(full.size, limits.revocationsMax)
    assert.throws(() => full.revoke({ ...order, value: 'corp/one-more' }), { code: 'OVERLOADED' })
    const [newest] = full.rows()
    full.restore(newest!.id, 'a', '')
    const sent: number[] = []
    publisher.watch((line) => sent.push(line.length), 'sidecar')
    sent.length = 0
    full.revoke({ ...order, value: 'corp/one-more' })
    assert.ok(sent.length === 2 && Math.max(...sent) < 1_000_000, sent.join())
  })
})
