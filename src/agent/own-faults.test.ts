/** A fault of ours in a loop of the agent is counted and reported as one, and the loop goes on; what the control plane does is none. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { after, beforeEach, describe, it } from 'node:test'
import { pino } from 'pino'
import { systemClock } from '../base/clock.ts'
import { reportFaults } from '../base/contained.ts'
import { RingfenceError } from '../base/errors.ts'
import { credentialsVersion } from '../mesh/credentials.ts'
import { Observed } from '../mesh/observable.ts'
import type { ProxyReport } from '../mesh/proxy-report.ts'
import { allPushedKinds, pushedKinds } from '../mesh/pushed.ts'
import { PushedValues } from '../mesh/pushed-values.ts'
import { askForAuthorities } from './authorities.ts'
import type { ControlSession } from './control-session.ts'
import type { IdentityFile } from './identity-file.ts'
import { byCertificate, renewForEver } from './renewal.ts'
import { Reporter } from './reporter.ts'
import { Watch } from './watch.ts'

const fault = new TypeError('a fault of our own')
const away = new RingfenceError('UNAVAILABLE', 'the control plane is away')
const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
const report: ProxyReport = {
  policyRevision: 0,
  connections: 0,
  sessions: 0,
  upstreamConnections: 0,
  listeners: [],
  traffic: [],
}

/** A session that is over after three rounds of a loop. */
function sessionOf(client: object): { session: ControlSession; rounds: () => number } {
  let rounds = 0
  const credentials = { notBeforeMs: 0, notAfterMs: 1, certificatePem: '', bundlePem: '' }
  const session = {
    options: { log: pino({ level: 'silent' }), random: () => 0, clock: systemClock },
    credentials: new Observed(credentials as never, credentialsVersion),
    client,
    get isStopped() {
      return rounds >= 3
    },
    pause: async () => {
      rounds++
    },
    pauseToRetry: async () => {
      rounds++
    },
    answersAgain: () => {},
    pauseToRenew: async () => {
      rounds++
      return false
    },
  }
  return { session: session as unknown as ControlSession, rounds: () => rounds }
}

/** Each loop, with something in it that throws `reason` each time. */
const loops: Record<
  string,
  (reason: unknown) => { session: ControlSession; run: () => Promise<void>; rounds: () => number }
> = {
  'a report': (reason) => {
    const made = sessionOf({ exchange: () => Promise.reject(reason) })
    const reporter = new Reporter(made.session)
    reporter.make = () => report
    return { ...made, run: () => reporter.run() }
  },
  'the watch stream': (reason) => {
    const stream = () => {
      const answer = Object.assign(new PassThrough(), { setTimeout: () => {} })
      answer.destroy(reason as Error)
      return Promise.resolve(answer)
    }
    const made = sessionOf({ stream })
    const watch = new Watch(made.session, new PushedValues(allPushedKinds), 'sidecar', () => {})
    return { ...made, run: () => watch.run() }
  },
  'the renewal of a certificate': (reason) => {
    const made = sessionOf({ post: () => Promise.reject(reason) })
    return { ...made, run: () => renewForEver(made.session, {} as IdentityFile, byCertificate) }
  },
  'the question for authorities': (reason) => {
    const made = sessionOf({ post: () => Promise.reject(reason) })
    return { ...made, run: () => askForAuthorities(made.session, {} as IdentityFile) }
  },
}

describe('a loop of the agent', () => {
  const places: string[] = []
  const before = reportFaults((place) => places.push(place))
  after(() => reportFaults(before))
  beforeEach(() => {
    places.length = 0
  })

  for (const [place, make] of Object.entries(loops)) {
    it(`counts a fault of ours and goes on: ${place}`, async () => {
      const { run, rounds } = make(fault)
      await run()
      assert.equal(rounds(), 3)
      assert.ok(places.length > 1 && places.every((one) => one === place), places.join())
    })

    it(`counts none that is the control plane's or the network's: ${place}`, async () => {
      for (const reason of [away, reset]) {
        const { run, rounds } = make(reason)
        await run()
        assert.equal(rounds(), 3)
      }
      assert.deepEqual(places, [])
    })
  }

  it('of reports counts a fault of who makes them, and the next is sent', async () => {
    let sent = 0
    const { session } = sessionOf({
      exchange: async () => {
        sent++
        return { status: 200, text: '' }
      },
    })
    const reporter = new Reporter(session)
    let isBroken = true
    reporter.make = () => {
      if (!isBroken) return report
      isBroken = false
      throw fault
    }
    await reporter.run()
    assert.deepEqual(places, ['a report'])
    assert.equal(sent, 1)
    isBroken = true
    reporter.acknowledge(new PushedValues(allPushedKinds).value(pushedKinds.policy))
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(places, ['a report', 'an acknowledgement'])
  })
})
