/** A fault in what a supervisor or a worker does ends at most that one worker, in whose place another is started; its neighbour serves on. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { pino } from 'pino'
import { reportFaults } from '../base/contained.ts'
import { credentialsIn } from '../control/credentials.fixture.ts'
import { eventually } from '../control/mesh.fixture.ts'
import { FakeFeed } from '../mesh/feed.fixture.ts'
import { pushedKinds } from '../mesh/pushed.ts'
import type { Logger } from '../telemetry/log.ts'
import { superviseWorkers, type Workers } from './workers.ts'

const script = new URL('./workers-faults.fixture.ts', import.meta.url)

const fail = (): never => {
  throw new TypeError('a fault of our own')
}

describe('a fault around worker processes', () => {
  let folder: string
  let feed: FakeFeed
  let workers: Workers
  const places: string[] = []
  const reported = reportFaults((place) => places.push(place))
  const escaped: unknown[] = []
  const onEscape = (reason: unknown) => escaped.push(reason)
  process.on('uncaughtException', onEscape)
  process.on('unhandledRejection', onEscape)

  let isLogBroken = false
  const silent = pino({ level: 'silent' })
  const log: Logger = Object.create(silent, {
    error: {
      value: (...said: [object, string]) => {
        if (!isLogBroken) return silent.error(...said)
        isLogBroken = false
        return fail()
      },
    },
  })
  let isStartBroken = false
  const env: NodeJS.ProcessEnv = {
    get RINGFENCE_NOTHING() {
      if (!isStartBroken) return ''
      isStartBroken = false
      return fail()
    },
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rf-worker-faults-'))
    const credentials = await credentialsIn(folder, 'ringfence/gateway/g1')
    feed = new FakeFeed(credentials, { revision: 1, source: 'one' })
    workers = superviseWorkers({ count: 2, feed, script, log, env })
    await workers.ready
  })
  after(async () => {
    await workers.stop()
    reportFaults(reported)
    process.off('uncaughtException', onEscape)
    process.off('unhandledRejection', onEscape)
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => {
    places.length = 0
  })
  afterEach(() => assert.deepEqual(escaped, []))

  /** All that workers are told later still reaches both of them. */
  async function bothServe(): Promise<void> {
    feed.apply('afterwards')
    const { revision } = feed.value(pushedKinds.policy).current
    await eventually('both workers', () => {
      const { sessions, policyRevision } = feed.report?.() ?? {}
      return workers.pids.length === 2 && sessions === 2 && policyRevision === revision
    })
  }

  /** By where: the name of its place in the worker's own report. */
  const inWorker: Record<string, string> = {
    'an observer': 'an observer of a value',
    'the report of a value': 'a message of the supervisor',
    'the timer of reports': 'a report of a worker',
  }
  for (const [where, place] of Object.entries(inWorker)) {
    it(`ends nothing, and is counted: in a worker, ${where}`, async () => {
      const { pids } = workers
      const counted = feed.report?.().connections ?? 0
      feed.apply(where)
      await eventually('the fault', () => {
        const { connections, dataCenter } = feed.report?.() ?? {}
        return connections === counted + 1 && dataCenter === place
      })
      await bothServe()
      assert.deepEqual(workers.pids, pids)
      assert.deepEqual(places, [])
    })
  }

  it('ends nothing, and is counted: in the supervisor, what a worker says', async () => {
    const { pids } = workers
    feed.apply('what a worker says')
    await eventually('the fault', () => places.length > 0)
    assert.deepEqual(places, ['a message of a worker'])
    await bothServe()
    assert.deepEqual(workers.pids, pids)
  })

  /** By where: the name of its place; undefined where nothing contains it, or it is no fault of ours. */
  const atEnd: Record<string, { place: string | undefined; begin: (pid: number) => void }> = {
    'in a worker, where nothing contains it': { place: undefined, begin: () => feed.apply('nothing contains it') },
    'in the supervisor, at the end of a worker': {
      place: 'the end of a worker',
      begin: (pid) => {
        isLogBroken = true
        process.kill(pid, 'SIGKILL')
      },
    },
    'in the supervisor, at the restart of a worker': {
      place: 'the restart of a worker',
      begin: (pid) => {
        isStartBroken = true
        process.kill(pid, 'SIGKILL')
      },
    },
    'of the system, which starts no process': {
      place: undefined,
      begin: (pid) => {
        const { execPath } = process
        process.execPath = join(folder, 'absent')
        setTimeout(() => {
          process.execPath = execPath
        }, 500)
        process.kill(pid, 'SIGKILL')
      },
    },
  }
  for (const [where, { place, begin }] of Object.entries(atEnd)) {
    it(`ends one worker, and another takes its place: ${where}`, async () => {
      const [first, second] = workers.pids
      begin(first!)
      await eventually('another', () => workers.pids.length === 2 && !workers.pids.includes(first!))
      assert.ok(workers.pids.includes(second!))
      assert.deepEqual(places, place === undefined ? [] : [place])
      await bothServe()
    })
  }

  it('ends a worker that cannot start, and the supervisor says so', async () => {
    const one = superviseWorkers({ count: 1, feed, script, log: silent, env: { RINGFENCE_KNOWN: 'policy' } })
    try {
      await assert.rejects(one.ready, /before it was ready/)
    } finally {
      await one.stop()
    }
  })
})
