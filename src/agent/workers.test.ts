import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pino } from 'pino'
import { credentialsIn } from '../control/credentials.fixture.ts'
import { eventually } from '../control/mesh.fixture.ts'
import type { Credentials } from '../mesh/credentials.ts'
import { FakeFeed } from '../mesh/feed.fixture.ts'
import { superviseWorkers } from './workers.ts'

const log = pino({ level: 'silent' })

describe('superviseWorkers', () => {
  let folder: string
  let credentials: Credentials
  let renewed: Credentials

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-workers-'))
    credentials = await credentialsIn(folder, 'ringfence/gateway/g1')
    renewed = await credentialsIn(folder, 'ringfence/gateway/g1')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('feeds its workers, sums their reports, and puts a new one in the place of one that dies', async () => {
    const feed = new FakeFeed(credentials, { revision: 1, source: 'one' })
    const script = new URL('./workers.fixture.ts', import.meta.url)
    const workers = superviseWorkers({ count: 2, feed, script, log })
    try {
      await workers.ready
      const first = feed.report?.()
      assert.equal(first?.connections, 2)
      assert.equal(first?.policyRevision, 1)
      // No worker can serve yet.
      assert.equal(first?.advertise, undefined)
      assert.deepEqual(
        first?.listeners.map(({ address }) => address),
        ['1:1'],
      )
      const [row] = first?.traffic ?? []
      assert.deepEqual([row?.workload, row?.rule, row?.count], [credentials.spiffeId, 'one', 2])
      assert.deepEqual(
        first?.refusals?.map(({ claimed, count }) => [claimed, count]),
        [['corp/alice', 2]],
      )
      const second = feed.report?.()
      assert.deepEqual(second?.traffic, [])
      assert.equal(second?.refusals, undefined)

      feed.apply('two')
      feed.renew(renewed)
      feed.rotate(2)
      feed.place([{ name: 'n', spiffeId: 'x', address: '127.0.0.1', port: 1 }])
      feed.tell([{ name: 'g', spiffeId: 'y', address: '10.0.0.1', port: 9042 }])
      await eventually('the news', () => {
        const report = feed.report?.()
        return (
          report?.policyRevision === 2 &&
          report.listeners[0]?.address === '2:2,1:1' &&
          report.sessions === 2 &&
          report.advertise?.[0]?.address === '10.0.0.1' &&
          report.dataCenter === 'dc1' &&
          report.upstreamConnections === 2
        )
      })

      const pids = [...workers.pids]
      const answers = await workers.ask('how many')
      assert.deepEqual(
        answers.map(([pid, answer]) => [pid, answer]),
        pids.map((pid) => [pid, `how many? ${pid}`]),
      )

      const [victim] = workers.pids
      assert.ok(victim)
      process.kill(victim, 'SIGKILL')
      await eventually(
        'a new worker',
        () => workers.pids.length === 2 && !workers.pids.includes(victim) && feed.report?.().connections === 2,
      )
      assert.equal(workers.restarts, 1)
      // It starts with what is in force now, not with what was at the beginning.
      assert.equal(feed.report?.().policyRevision, 2)
      assert.equal(feed.report?.().listeners[0]?.address, '2:2,1:1')
    } finally {
      await workers.stop()
    }
    assert.deepEqual(workers.pids, [])
  })

  it('says when workers die before they are ready', async () => {
    const feed = new FakeFeed(credentials, { revision: 1, source: 'one' })
    const workers = superviseWorkers({
      count: 1,
      feed,
      script: join(folder, 'absent.ts'),
      log,
      env: { NODE_OPTIONS: '--no-warnings' },
    })
    await assert.rejects(workers.ready, /before it was ready/)
    await workers.stop()
  })
})
