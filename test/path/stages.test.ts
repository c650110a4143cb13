/**
 * What is added from outside: a consumer of what happens, a barrier, a stage of a request and one of its answer. Each is a few lines, and lives
 * as the real ones do. And the door: whatever a stage does, nothing leaves for the node without a permit in force.
 */

import assert from 'node:assert/strict'
import { after, afterEach, before, it, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Barrier, Consumer, TransactionEvent } from '../../src/audit/event.ts'
import { faultsContained, reportFaults } from '../../src/base/contained.ts'
import { batchEnvelope, executeEnvelope } from '../../src/cql/encode.fixture.ts'
import {
  prepareEnvelope,
  queryEnvelope,
  registerEnvelope,
  rowsEnvelope,
  startupEnvelope,
} from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { native } from '../../src/cql/types.ts'
import type { Permit } from '../../src/policy/engine.ts'
import { ownPermit } from '../../src/policy/own-permit.ts'
import { deny } from '../../src/sidecar/ending.ts'
import type { Request } from '../../src/sidecar/request.ts'
import { authorise } from '../../src/sidecar/stages/authorise.ts'
import { record } from '../../src/sidecar/stages/give.ts'
import { refuse } from '../../src/sidecar/stages/refuse.ts'
import { type RequestStage, Step } from '../../src/sidecar/stages/stage.ts'
import { describe, type RawClient } from './client.ts'
import { type RunningSidecar, until, usualPolicy, World } from './world.ts'

const select = 'SELECT v FROM shop.items WHERE k = ?'
const protocolVersion = 4

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

/** `stage` behind the one that it follows. */
function behind<T>(stages: readonly T[], follows: T, stage: T): T[] {
  return stages.flatMap((each) => (each === follows ? [each, stage] : [each]))
}

suite('a consumer from outside', () => {
  const told: string[] = []
  const reported = new Set<string>()
  const reportedBefore = reportFaults((place) => reported.add(place))
  after(() => void reportFaults(reportedBefore))
  const consumer: Consumer = {
    begun: ({ session, statement, decision }) => {
      told.push(`begun ${session.who.workload.slice(-5)} ${statement?.facts.verb} ${decision?.kind}`)
    },
    ended: ({ kind, statement, decision, rule, outcome, code, rows }) => {
      told.push(`${kind} ${statement?.facts.verb} ${decision?.kind ?? rule} ${outcome} ${code} ${rows}`)
    },
  }
  const broken: Consumer = {
    ended: () => {
      throw new Error('a consumer of somebody else')
    },
  }
  // Its type allows that: what gives nothing may be `async`.
  const brokenLater: Consumer = {
    begun: async () => {
      await sleep(1)
      throw new Error('a consumer of somebody else, later')
    },
  }
  let running: RunningSidecar
  let alice: RawClient

  before(async () => {
    running = await world.sidecar({ name: 'consumer', more: { consumers: [broken, brokenLater, consumer] } })
    alice = await world.client(running.port, 'alice', { version: protocolVersion })
  })
  afterEach(() => void told.splice(0))

  it('is told of each request before it leaves and when it is over, and of the log-in', async () => {
    const prepared = await alice.ask(prepareEnvelope(protocolVersion, 1, select))
    const { id } = readPrepared(wholeEnvelope(prepared), protocolVersion)
    await alice.ask(executeEnvelope(protocolVersion, 2, id, undefined, [Buffer.from('x')]))
    await alice.ask(
      batchEnvelope(protocolVersion, 3, 0, [{ text: 'INSERT INTO shop.items (k) VALUES (1)', values: [] }]),
    )
    assert.deepEqual(told, [
      'log-in undefined session ok -1 -1',
      'begun alice SELECT permit',
      'request SELECT permit ok -1 -1',
      'begun alice SELECT permit',
      'request SELECT permit ok -1 1',
      'begun alice BATCH permit',
      'request BATCH permit ok -1 -1',
    ])
  })

  it('is told of what never leaves: refused, not understood, answered here', async () => {
    await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM elsewhere.items'))
    await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT FROM WHERE'))
    await alice.ask(executeEnvelope(protocolVersion, 1, Buffer.alloc(16), undefined, []))
    await alice.ask(registerEnvelope(protocolVersion, 1, ['SCHEMA_CHANGE']))
    assert.deepEqual(told, [
      'request SELECT denial error 8448 -1',
      'request undefined not-understood error 8192 -1',
      'request undefined unknown-prepared-id error 9472 -1',
      'register undefined session ok -1 -1',
    ])
  })

  it('is told of the end; and one that throws, now or later, costs nobody else anything', async () => {
    const counted = faultsContained()
    const bob = await world.client(running.port, 'bob', { version: protocolVersion })
    bob.socket.destroy()
    await until('the session is over', () => told.some((one) => one.startsWith('log-out')))
    assert.equal(
      describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items'))).startsWith('echo'),
      true,
    )
    await until('both faults are counted', () => faultsContained() >= counted + 3)
    assert.ok(reported.has('a consumer of transactions'))
    assert.ok(running.records().length > 0)
  })
})

suite('a barrier from outside', () => {
  it('stops requests and answers while it cannot write', async () => {
    let failed = false
    let failedInTurn = false
    const written: TransactionEvent['outcome'][] = []
    const barrier: Barrier = {
      get failed() {
        return failed
      },
      endTurn: () => !failedInTurn,
      ended: ({ outcome }) => void written.push(outcome),
    }
    const running = await world.sidecar({ name: 'barrier', more: { barrier } })
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    assert.match(describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items'))), /^echo/)
    assert.deepEqual(written, ['ok', 'ok'])
    running.node.requests.length = 0
    failed = true
    assert.match(
      describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items'))),
      /0x1001 .*cannot be written/,
    )
    assert.equal(running.node.requests.length, 0)
    failed = false
    failedInTurn = true
    await assert.rejects(alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items')))
  })
})

suite('a barrier that would write later, and says so to nobody', () => {
  it('lets nothing through: what gives a promise is `commit`', async () => {
    let isLate = false
    const barrier: Barrier = {
      failed: false,
      endTurn: () => true,
      begun: () => (isLate ? (Promise.reject(new Error('not written')) as never) : undefined),
    }
    const running = await world.sidecar({ name: 'late-barrier', more: { barrier } })
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    running.node.requests.length = 0
    isLate = true
    const answer = describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items')))
    assert.match(answer, /^0x0000 internal error/)
    assert.equal(running.node.requests.length, 0)
  })
})

suite('a barrier that commits groups', () => {
  const selectAll = 'SELECT v FROM shop.items'
  const told: string[] = []
  let commits: ((isWritten: boolean) => void)[] = []
  let isQuick = true
  const barrier: Barrier = {
    failed: false,
    endTurn: () => true,
    begun: () => void told.push('begun'),
    ended: ({ kind }) => void (kind === 'request' && told.push('ended')),
    commit: () => (isQuick ? Promise.resolve(true) : new Promise((resolve) => commits.push(resolve))),
  }
  let running: RunningSidecar
  const commit = async (isWritten: boolean): Promise<void> => {
    await until('a group waits', () => commits.length > 0)
    for (const done of commits) done(isWritten)
    commits = []
  }

  before(async () => {
    running = await world.sidecar({ name: 'commits', more: { barrier } })
  })
  afterEach(() => {
    isQuick = true
    for (const done of commits.splice(0)) done(true)
  })

  for (const version of [4, 5] as const) {
    it(`lets a request leave when its beginning is written, and an answer when its end is (v${version})`, async () => {
      const alice = await world.client(running.port, 'alice', { version })
      told.length = 0
      running.node.requests.length = 0
      isQuick = false
      let isAnswered = false
      const asked = alice.ask(queryEnvelope(version, 1, selectAll)).finally(() => {
        isAnswered = true
      })
      await until('it was told of', () => told.length > 0 && commits.length > 0)
      await sleep(30)
      assert.deepEqual(told, ['begun'])
      assert.equal(running.node.texts().includes(selectAll), false)
      await commit(true)
      await until('the node has it', () => running.node.texts().includes(selectAll))
      await until('the answer was told of', () => told.length === 2 && commits.length > 0)
      await sleep(30)
      assert.equal(isAnswered, false)
      await commit(true)
      assert.match(describe(await asked), /^echo/)
    })
  }

  it('ends the connection where a group was not written', async () => {
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    const lost = assert.rejects(alice.ask(queryEnvelope(protocolVersion, 1, selectAll)))
    isQuick = false
    await commit(false)
    await lost
    isQuick = true
    const again = await world.client(running.port, 'alice', { version: protocolVersion })
    assert.match(describe(await again.ask(queryEnvelope(protocolVersion, 1, selectAll))), /^echo/)
  })
})

suite('a stage from outside', () => {
  it('limits requests, and one looks at answers', async () => {
    let left = 2
    const limit: RequestStage = (request, session) => {
      if (left-- > 0) return Step.NEXT
      deny(request, session, session.shared.judge.refusal(session.identity, 'test-limit', 'two are enough'))
      return Step.DONE
    }
    const rows: number[] = []
    const running = await world.sidecar({
      name: 'stage',
      more: {
        stages: ({ request, answer }) => ({
          request: behind(request, authorise, limit),
          answer: behind(answer, record, (given) => {
            rows.push(given.rows)
            return Step.NEXT
          }),
        }),
      },
    })
    const alice = await world.client(running.port, 'alice', { version: protocolVersion })
    const ask = async () => describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items')))
    assert.match(await ask(), /^echo/)
    assert.match(await ask(), /^echo/)
    assert.match(await ask(), /^0x2100 .*two are enough/)
    assert.deepEqual(rows, [1, 1])
    assert.equal(running.records().at(-1)?.rule, 'test-limit')
  })
})

/** Each goes a way of its own behind the stages that every request passes (`request-stages.ts`). */
const ways: Readonly<Record<string, string>> = {
  'what goes to the node as it came': 'SELECT v FROM shop.items',
  USE: 'USE shop',
  'DESCRIBE by one who may not see all': 'DESCRIBE KEYSPACE shop',
  'a question about the schema by such a one': 'SELECT keyspace_name FROM system_schema.keyspaces',
}

suite('a request that is answered by another way', () => {
  const told: string[] = []
  const passed: string[] = []
  let running: RunningSidecar

  before(async () => {
    const node = await world.node()
    node.intercept = (request) => {
      if (!request.text.startsWith('DESCRIBE')) return false
      const columns = ['keyspace_name', 'type', 'name'].map((name) => ({ name, type: native('text') }))
      const rows = [['shop', 'keyspace', 'shop'].map((cell) => Buffer.from(cell))]
      request.reply(rowsEnvelope(4, 0, { keyspace: 'system', table: 'describe', columns }, rows))
      return true
    }
    running = await world.sidecar({
      name: 'ways',
      node,
      more: {
        consumers: [
          {
            begun: ({ statement, decision }) => void told.push(`begun ${statement?.facts.verb} ${decision?.kind}`),
            ended: ({ kind, statement, decision, outcome }) => {
              if (kind === 'request') told.push(`ended ${statement?.facts.verb} ${decision?.kind} ${outcome}`)
            },
          },
        ],
        stages: ({ request, answer }) => ({
          request: behind(request, refuse, ({ text }) => {
            passed.push(text)
            return Step.NEXT
          }),
          answer,
        }),
      },
    })
  })

  for (const [name, text] of Object.entries(ways)) {
    it(`passes the stages of every request, and is told of before the node is asked and when it is over: ${name}`, async () => {
      const bob = await world.client(running.port, 'bob', { version: protocolVersion })
      await until('the log-in is on record', () => running.records().length > 0)
      told.length = passed.length = 0
      const before = running.records().length
      const answer = await bob.ask(queryEnvelope(protocolVersion, 1, text))
      assert.equal(headerOpcode(answer, 0), Opcode.RESULT, describe(answer))
      const verb = text.startsWith('DESCRIBE') ? 'DESCRIBE KEYSPACE' : text.split(' ')[0]
      assert.deepEqual(passed, [text])
      assert.deepEqual(told, [`begun ${verb} permit`, `ended ${verb} permit ok`])
      const records = () => running.records().slice(before)
      await until('it is on record', () => records().length > 0)
      const [line] = records()
      assert.deepEqual(
        [records().length, line?.operation, line?.verdict, line?.outcome],
        [1, verb, 'allow', 'ok'],
        JSON.stringify(records()),
      )
      bob.socket.destroy()
      await until('the session is over', () => running.records().length === before + 2)
    })
  }
})

/** Each done by a stage to the request behind its decision. */
const attempts: Readonly<Record<string, (request: Request, last: Permit) => void>> = {
  'a spread of a permit': (request) => {
    request.permit = { ...request.permit! } as never
  },
  'one that looks like it': (request) => {
    const { rule, revision } = request.permit!
    request.permit = { kind: 'permit', rule, revision } as never
  },
  'an object that inherits from one': (request) => {
    request.permit = Object.create(request.permit!)
  },
  'another one of its class': (request) => {
    request.permit = Reflect.construct(request.permit!.constructor, [0, Number.POSITIVE_INFINITY, request.permit!])
  },
  'no permit': (request) => {
    request.permit = undefined
  },
  'one of a policy before': (request, last) => {
    request.permit = last
  },
  'an own permit': (request) => {
    request.permit = ownPermit('STARTUP') as never
  },
  'an own permit of a request that shows another envelope than it sends': (request) => {
    request.permit = ownPermit('STARTUP') as never
    request.view = () => startupEnvelope(protocolVersion, 0, new Map())
  },
  'an envelope behind the one that was permitted': (request) => {
    request.rewrite(Buffer.concat([request.view(), queryEnvelope(protocolVersion, 1, 'DROP TABLE shop.items')]))
  },
}

suite('what is sent without a permit', () => {
  for (const [name, change] of Object.entries(attempts)) {
    it(`does not leave: ${name}`, async () => {
      let changing = false
      let last: Permit | undefined
      const stage: RequestStage = (request) => {
        last ??= request.permit
        if (changing && request.permit !== undefined) change(request, last!)
        return Step.NEXT
      }
      const running = await world.sidecar({
        name: 'tampered',
        more: { stages: (all) => ({ ...all, request: behind(all.request, authorise, stage) }) },
      })
      const client = () => world.client(running.port, 'alice', { version: protocolVersion })
      const ask = async (alice: RawClient) =>
        describe(await alice.ask(queryEnvelope(protocolVersion, 1, 'SELECT v FROM shop.items')))
      assert.match(await ask(await client()), /^echo/)
      running.feed.apply(usualPolicy)
      running.node.requests.length = 0
      changing = true
      assert.match(await ask(await client()), /^0x0000 internal error/)
      assert.equal(running.node.requests.filter(({ text }) => text.includes('shop.items')).length, 0)
      // The session ends, and no other.
      changing = false
      assert.match(await ask(await client()), /^echo/)
    })
  }
})
