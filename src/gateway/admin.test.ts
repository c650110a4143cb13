/** What a gateway's admin port adds up while workers are busy, end and are started anew: nothing that was counted falls, and nothing counts twice. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { credentialsIn } from '../control/credentials.fixture.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { FakeFeed } from '../mesh/feed.fixture.ts'
import { counter, type Family, gauge } from '../telemetry/metrics/family.ts'
import { gatewayPages } from './admin.ts'

/** Of a worker; it has counted so many hits and has as many connections open. */
interface FakeWorker {
  hits: number
  /** It lives, and is too busy to answer. */
  busy?: boolean
}

describe('the metrics of a gateway', () => {
  let folder: string
  let credentials: Credentials
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-gateway-admin-'))
    credentials = await credentialsIn(folder, 'ringfence/gateway/g1')
  })
  after(() => rmSync(folder, { recursive: true }))

  /** Workers by the ids of their processes, and what is seen of them: hits, connections, how many answer. */
  function gateway(alive: Map<number, FakeWorker>) {
    const asked = { times: 0 }
    /** Done when they were asked, before the answers are looked at. */
    const meanwhile: (() => void)[] = []
    const workers = {
      restarts: 0,
      get pids() {
        return [...alive.keys()]
      },
      async ask() {
        asked.times++
        const answers = [...alive].map(([pid, { hits, busy = false }]) => {
          const families: Family[] = [counter('hits', 'Hits.', hits), gauge('open', 'Connections.', hits)]
          return [pid, busy ? undefined : families] as const
        })
        await Promise.resolve()
        for (const happens of meanwhile.splice(0)) happens()
        return answers
      },
    }
    const feed = new FakeFeed(credentials, { revision: 1, source: '' })
    const agent = { role: 'gateway' as const, name: 'g1', credentials: feed.credentials, value: feed.value.bind(feed) }
    const config = { control: { url: 'https://control:8443' } }
    const proxy = { agent, version: '1', configFile: 'gateway.yaml', config }
    const pages = gatewayPages({ proxy, workers, count: alive.size, profiling: false, drain() {} })
    const page = pages.find(({ path }) => path === '/metrics')
    const seen = async (): Promise<number[]> => {
      const answer = await page?.answer({
        accept: undefined,
        query: new URLSearchParams(),
        bySocket: false,
        gone: AbortSignal.any([]),
      })
      let text = ''
      for await (const piece of answer?.body ?? []) text += piece
      const lines = text.split('\n')
      return ['hits_total', 'open', 'ringfence_workers'].map((name) =>
        Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1] ?? 0),
      )
    }
    return { alive, seen, asked, meanwhile }
  }

  const two = (): Map<number, FakeWorker> =>
    new Map([
      [1, { hits: 5 }],
      [2, { hits: 7 }],
    ])

  it('keep what a worker had counted that is too busy to answer, once, and go on with it when it answers', async () => {
    const { alive, seen } = gateway(two())
    assert.deepEqual(await seen(), [12, 12, 2])
    alive.set(2, { hits: 8, busy: true })
    assert.deepEqual(await seen(), [12, 5, 1])
    assert.deepEqual(await seen(), [12, 5, 1])
    alive.set(2, { hits: 9 })
    for (let n = 0; n < 3; n++) assert.deepEqual(await seen(), [14, 14, 2])
  })

  it('keep what a worker had counted that ended, and add what the next one counts', async () => {
    const { alive, seen } = gateway(two())
    assert.deepEqual(await seen(), [12, 12, 2])
    alive.delete(2)
    assert.deepEqual(await seen(), [12, 5, 1])
    alive.set(3, { hits: 1 })
    for (let n = 0; n < 3; n++) assert.deepEqual(await seen(), [13, 6, 2])
  })

  it('count once what was busy first and ended then', async () => {
    const { alive, seen } = gateway(two())
    await seen()
    alive.set(2, { hits: 8, busy: true })
    await seen()
    alive.delete(2)
    for (let n = 0; n < 3; n++) assert.deepEqual(await seen(), [12, 5, 1])
  })

  it('count once what ended just after it answered', async () => {
    const { alive, seen, meanwhile } = gateway(two())
    meanwhile.push(() => alive.delete(2))
    for (let n = 0; n < 3; n++) assert.equal((await seen())[0], 12)
  })

  it('have nothing of a worker that never answered, until it does', async () => {
    const { alive, seen } = gateway(new Map([...two(), [3, { hits: 100, busy: true }]]))
    assert.deepEqual(await seen(), [12, 12, 2])
    alive.set(3, { hits: 101 })
    assert.deepEqual(await seen(), [113, 113, 3])
  })

  it('are gathered once for two that ask at once', async () => {
    const { alive, seen, asked, meanwhile } = gateway(two())
    await seen()
    meanwhile.push(() => alive.delete(2))
    const both = await Promise.all([seen(), seen()])
    assert.deepEqual(both[0], both[1])
    assert.equal(asked.times, 2)
    assert.deepEqual(await seen(), [12, 5, 1])
  })
})
