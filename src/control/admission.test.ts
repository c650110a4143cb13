import assert from 'node:assert/strict'
import { request } from 'node:https'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { pino } from 'pino'
import type { Clock } from '../base/clock.ts'
import { limits } from '../base/limits.ts'
import { makeKey } from '../mesh/credentials.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import { Admission } from './admission.ts'
import { junkBodies } from './junk.fixture.ts'
import { eventually, type Mesh, withMesh } from './mesh.fixture.ts'

const sidecarId = (n: number): string => `spiffe://demo.local/ringfence/sidecar/c1/dc1/n${n}`

describe('Admission', () => {
  const clock: Clock & { ms: number } = { ms: 0, now: () => 0, monotonic: () => clock.ms }

  it('lets a flood of handshakes be the loss of its own address, and gives those of the mesh more', () => {
    const admission = new Admission(clock)
    let n = 0
    const taken = (address: string, count: number): number => {
      let done = 0
      for (let i = 0; i < count; i++) if (admission.connected(`${++n}`, address, () => {})) done++
      return done
    }
    const perSecond = limits.controlHandshakesPerSecondMax
    assert.equal(taken('192.0.2.1', 10 * perSecond), (2 * perSecond) / 10)
    assert.equal(taken('192.0.2.1', 1), 0)
    assert.equal(taken('192.0.2.2', 1), 1)
    // All of one /64 is one address.
    assert.equal(taken('2001:db8::1', 10 * perSecond), (2 * perSecond) / 10)
    assert.equal(taken('2001:db8::2', 1), 0)
    admission.proven(`${n}`, '192.0.2.2')
    assert.equal(taken('192.0.2.2', 10 * perSecond), 2 * perSecond)
    clock.ms += 1_000
    assert.equal(taken('192.0.2.1', 10 * perSecond), perSecond / 10)
  })

  it('closes the oldest that has proved nothing where there are too many, of the own address first, then of the one with most', () => {
    const admission = new Admission(clock)
    clock.ms += 1_000_000
    const ended: string[] = []
    const come = (id: string, address: string): boolean => admission.connected(id, address, () => ended.push(id))
    const share = limits.controlUnprovenMax / 8
    assert.ok(come('other', '192.0.2.9'))
    for (let i = 0; i < share; i++) assert.ok(come(`a${i}`, '192.0.2.1'))
    assert.deepEqual(ended, [])
    assert.ok(come('a-new', '192.0.2.1'))
    assert.deepEqual(ended, ['a0'])
    admission.proven('a1', '192.0.2.1')
    assert.ok(come('a-next', '192.0.2.1'))
    assert.deepEqual(ended, ['a0'])
    for (let at = 10; admission.unproven < limits.controlUnprovenMax; at++) {
      for (let i = 0; i < share && admission.unproven < limits.controlUnprovenMax; i++) {
        assert.ok(come(`${at}-${i}`, `198.51.100.${at}`))
      }
    }
    ended.length = 0
    assert.ok(come('last', '203.0.113.1'))
    assert.deepEqual(ended, ['a2'], 'not the oldest of all, which may be alone at its address')
    assert.equal(admission.unproven, limits.controlUnprovenMax)
  })

  it('answers so many requests of one address, and those of another', () => {
    const admission = new Admission(clock)
    let answered = 0
    for (let i = 0; i < 5_000; i++) if (admission.mayAsk('192.0.2.1')) answered++
    assert.equal(answered, 2 * limits.controlRequestsPerSecondMax)
    assert.ok(admission.mayAsk('192.0.2.2'))
    assert.ok(admission.mayAsk(undefined))
  })
})

/** Junk at every door that is open to who has no certificate, until the result is called. */
function flood(mesh: Mesh, perSecond: number): { sent: () => number; stop: () => void } {
  const { port } = mesh.control
  let sent = 0
  const paths = ['/v1/enrol', '/v1/enrol', '/v1/enrol', '/v1/renew', '/v1/report', '/v1/nothing']
  const sockets = new Set<Socket>()
  const lines = Array.from({ length: 8 }, () => {
    let socket: Socket | undefined
    return (): Socket => {
      if (socket === undefined || socket.destroyed) {
        const made = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
        made.on('error', () => {})
        made.on('close', () => sockets.delete(made))
        made.resume()
        sockets.add(made)
        socket = made
      }
      return socket
    }
  })
  const timer = setInterval(() => {
    for (let i = 0; i < perSecond / 50; i++) {
      const body = junkBodies[sent % junkBodies.length]!
      const path = paths[sent % paths.length]!
      const line = lines[sent % lines.length]!()
      sent++
      line.write(
        `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      )
    }
    // A handshake that is not begun, and one that is not ended.
    for (const first of ['', '\x16\x03\x01']) {
      const held = connectTcp(port, '127.0.0.1', () => held.write(first))
      held.on('error', () => {})
      held.on('close', () => sockets.delete(held))
      held.resume()
      sockets.add(held)
    }
  }, 20)
  return {
    sent: () => sent,
    stop: () => {
      clearInterval(timer)
      for (const socket of sockets) socket.destroy()
    },
  }
}

describe('a control plane under a flood of strangers', () => {
  it('renews every certificate in time, and enrols who has a token', () =>
    withMesh({ svidTtlMs: 20_000 }, async (mesh) => {
      const lines: string[] = []
      const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) })
      const agents = await Promise.all(
        Array.from({ length: 10 }, async (_, i) =>
          mesh.agent(`n${i}`, await mesh.token(sidecarId(i), 'sidecar'), { log }),
        ),
      )
      const token = await mesh.token(sidecarId(99), 'sidecar')
      const junk = flood(mesh, 300)
      try {
        const until = performance.now() + 24_000
        while (performance.now() < until) {
          for (const agent of agents)
            assert.ok(
              agent.credentials.current.notAfterMs > Date.now(),
              `a certificate expired: ${lines.slice(-20).join('')}`,
            )
          await sleep(100)
        }
        assert.ok(junk.sent() > 1_500, `${junk.sent()} sent`)
        for (const { spiffeId } of agents.map(({ credentials }) => credentials.current)) {
          const { issuances } = await mesh.admin.issuances(1_000)
          assert.ok(issuances.filter((one) => one.spiffeId === spiffeId && one.reason === 'renew').length >= 1)
        }
      } finally {
        junk.stop()
      }
      // Its address has used up what strangers there may ask; a second later it is let in.
      await sleep(1_100)
      assert.ok(await mesh.agent('n99', token))
    }))

  it('closes what is held open without a certificate, and keeps the connections of proxies', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId(1), 'sidecar'))
      const held: Socket[] = []
      for (let i = 0; i < limits.controlUnprovenMax / 8 + 20; i++) {
        const socket = connectTcp(mesh.control.port, '127.0.0.1')
        socket.on('error', () => {})
        held.push(socket)
      }
      await eventually(
        'the oldest closed',
        () => held.filter(({ destroyed, readableEnded }) => destroyed || readableEnded).length >= 20,
      )
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await eventually('policy on the open stream', () => agent.value(pushedKinds.policy).current.revision === 1)
      for (const socket of held) socket.destroy()
    }))

  it('looks at the token before anything else, and never draws on the budget of renewals', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(sidecarId(1), 'sidecar'))
      const post = (path: string, body: unknown, tls = {}): Promise<number> =>
        new Promise((resolve, reject) => {
          const options = { method: 'POST', agent: false, rejectUnauthorized: false, ...tls }
          const headers = { 'content-type': 'application/json' }
          const sent = request(new URL(path, mesh.control.url), { ...options, headers }, (answer) => {
            answer.resume()
            resolve(answer.statusCode ?? 0)
          })
          sent.on('error', reject)
          sent.end(JSON.stringify(body))
        })
      // 403 says that the token was looked at; a request that is none would be 400.
      const junk = { token: 'x', csrPem: 'no request', name: 'x', role: 'sidecar' }
      const answers: number[] = []
      for (let i = 0; i < 5; i++)
        answers.push(...(await Promise.all(Array.from({ length: 20 }, () => post('/v1/enrol', junk)))))
      assert.deepEqual(
        answers.filter((status) => status !== 403 && status !== 429),
        [],
      )
      const { csrPem } = await makeKey()
      const { certificatePem: cert, keyPem: key } = agent.credentials.current
      assert.equal(await post('/v1/renew', { csrPem }, { cert, key }), 200)
    }))

  it('renews over connections that are proven, where no new one gets through', () =>
    withMesh({ svidTtlMs: 20_000 }, async (mesh) => {
      // In front of the control plane, to keep new connections from it.
      let open = true
      const relay = createServer((socket) => {
        if (!open) {
          socket.destroy()
          return
        }
        const through = connectTcp(mesh.control.port, '127.0.0.1')
        for (const [from, to] of [
          [socket, through],
          [through, socket],
        ] as const) {
          from.on('error', () => {})
          from.on('close', () => to.destroy())
          from.pipe(to)
        }
      })
      await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
      const controlUrl = `https://127.0.0.1:${(relay.address() as AddressInfo).port}`
      const agent = await mesh.agent('n1', await mesh.token(sidecarId(1), 'sidecar'), { controlUrl })
      const nothing = {
        policyRevision: 0,
        connections: 0,
        sessions: 0,
        upstreamConnections: 0,
        listeners: [],
        traffic: [],
      }
      agent.setReporter(() => nothing)
      let renewals = 0
      agent.credentials.observe(() => renewals++)
      // That a report is made is not yet a connection.
      await eventually('a report is taken', async () => (await mesh.admin.status()).proxies[0]?.connected === true)
      open = false
      try {
        for (const count of [1, 2]) await eventually(`renewal ${count}`, () => renewals >= count)
        assert.ok(agent.credentials.current.notAfterMs > Date.now())
      } finally {
        open = true
        relay.close()
      }
    }))
})
