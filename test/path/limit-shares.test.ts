/**
 * One limit over the mesh: a real control plane, three sidecars that ask it, three gateways, and clients that move between them. The control plane goes
 * away on the way.
 */
import assert from 'node:assert/strict'
import { after, before, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withMesh } from '../../src/control/mesh.fixture.ts'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { limitSharesAnswer, limitSharesPath } from '../../src/mesh/limit-shares.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { describe } from './client.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

const byKey = 'SELECT v FROM shop.items WHERE k = 1'
const perSecond = 300
const inFlight = 10
const measuredMs = 3000

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

suite('a limit of an identity that comes by three gateways', () => {
  it('is one, while clients move and the control plane goes away', (t) =>
    withMesh({}, async (mesh) => {
      const spec = { perIdentity: `${perSecond}/s`, burst: '50ms', maxDelay: '0ms' }
      const document = {
        apiVersion: 'ringfence.dev/v1alpha1',
        kind: 'RateLimitPolicy',
        metadata: { name: 'slow' },
        spec,
      }
      const policy = `${usualPolicy}---\n${JSON.stringify(document)}`
      let answered = 0
      const running: RunningSidecar[] = []
      for (const name of ['n1', 'n2', 'n3']) {
        const spiffeId = `spiffe://demo.local/ringfence/sidecar/test/dc1/${name}`
        const agent = await mesh.agent(name, await mesh.token(spiffeId, 'sidecar'))
        agent.setReporter(() => ({
          ...{ policyRevision: 0, connections: 0, sessions: 0, upstreamConnections: 0, listeners: [], traffic: [] },
          endpoint: {
            name,
            spiffeId: agent.credentials.current.spiffeId,
            address: '127.0.0.1',
            port: 1,
            dataCenter: 'dc1',
            rack: 'r1',
          },
        }))
        const limitShares = async (asked: unknown) => {
          const answer = await agent.askControl(limitSharesPath, asked, limitSharesAnswer)
          answered++
          return answer
        }
        running.push(await world.sidecar({ name, policy, more: { limitShares } }))
      }
      for (const { feed } of running) feed.place(running.map(({ endpoint }) => endpoint))
      const gateways = await Promise.all(running.map((_, at) => world.gateway(running, { name: `gateway${at}` })))
      // Each has reported where it is, so that the control plane counts three.
      await until('the control plane knows of all', () =>
        mesh.agents.every((agent) => agent.value(pushedKinds.sidecars).current.length === 3),
      )

      let isOver = false
      let went = 0
      let refused = 0
      const move = async (first: number): Promise<void> => {
        for (let at = first; !isOver; at++) {
          const client = await world.client(gateways[at % gateways.length]!.port, 'alice', { version: 4 })
          const leaves = performance.now() + 700
          const ask = async (stream: number): Promise<void> => {
            while (!isOver && performance.now() < leaves) {
              const answer = describe(await client.ask(queryEnvelope(4, stream, byKey)))
              if (answer.startsWith('0x2300')) {
                refused++
                await sleep(20)
              } else {
                assert.doesNotMatch(answer, /^0x/)
                went++
              }
            }
          }
          await Promise.all(Array.from({ length: inFlight }, (_, stream) => ask(stream)))
          client.close()
        }
      }
      const clients = Promise.all([0, 1, 2, 3, 4, 5].map(move))
      const measure = async (ms: number): Promise<number> => {
        const [from, before] = [performance.now(), went]
        await sleep(ms)
        return ((went - before) * 1000) / (performance.now() - from)
      }
      await measure(1500)
      const rates = [await measure(measuredMs)]
      const askedBefore = answered
      await mesh.control.stop()
      rates.push(await measure(measuredMs))
      isOver = true
      await clients
      t.diagnostic(`${rates.map((rate) => Math.round(rate))} of ${perSecond} a second, ${refused} refused`)
      assert.ok(askedBefore > 3)
      assert.ok(refused > went / 4)
      // A busy machine makes it less, down to what all have of it while parts move. Nothing makes it more, but for what was in flight already when
      // the measuring began.
      const most = perSecond * 1.05 + (6 * inFlight * 1000) / measuredMs
      for (const rate of rates) assert.ok(rate <= most && rate >= perSecond * 0.03, String(rates))
      const reached = running.reduce((sum, { node }) => sum + node.texts().filter((text) => text === byKey).length, 0)
      assert.ok(reached >= went && reached <= went + 6 * inFlight, `${reached} ${went}`)
    }))
})
