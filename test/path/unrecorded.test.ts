/**
 * While the record cannot be written nothing is told whose line would be in memory only: neither the answers of the turn that found out nor any
 * that comes later, at whatever door and of whatever kind. Each kind of answer is begun while all is well, and is over when nothing can be
 * written any more; and it is tried without that, too.
 */

import assert from 'node:assert/strict'
import { after, before, beforeEach, it, describe as suite } from 'node:test'
import type { Barrier, TransactionEvent } from '../../src/audit/event.ts'
import { BytesBudget } from '../../src/base/bytes-budget.ts'
import { executeEnvelope } from '../../src/cql/encode.fixture.ts'
import { errorEnvelope, prepareEnvelope, queryEnvelope, registerEnvelope } from '../../src/cql/encode.ts'
import { wholeEnvelope } from '../../src/cql/envelope.ts'
import { CqlErrorCode, headerOpcode, Opcode } from '../../src/cql/protocol.ts'
import { readPrepared } from '../../src/cql/responses.ts'
import { makeKey, signed } from '../../src/identity/jwt/tokens.fixture.ts'
import { listenerModes, proofs } from '../../src/identity/proofs/index.ts'
import { trustOf } from '../../src/identity/proofs/proof.ts'
import { pushedKinds } from '../../src/mesh/pushed.ts'
import { describe, type RawClient } from './client.ts'
import type { NodeRequest } from './fake-node.ts'
import { MemoryDoor } from './memory-door.ts'
import { shownBy } from './passport-of.ts'
import { txnToken, useTxnKeys, withPayload } from './txn-tokens.ts'
import { type RunningGateway, type RunningSidecar, until, usualPolicy, World } from './world.ts'

const issuer = 'https://id.example.com'
const policy = `${usualPolicy}---
apiVersion: ringfence.dev/v1alpha1
kind: IdentityProvider
metadata: { name: corp }
spec: { type: oidc, issuer: "${issuer}", audiences: [ringfence] }
---
apiVersion: ringfence.dev/v1alpha1
kind: AccessPolicy
metadata: { name: web }
spec: { subjects: [{ spiffeId: spiffe://demo.local/svc/web }], keyspaces: [shop], operations: [ALL] }
`
const key = makeKey('k1')
const stopped = /^0x1001 the audit record cannot be written/

let failed = false
const told: string[] = []
/** Requests that were begun and are not over. */
const open = new Set<number>()
let begunCount = 0
let logOuts = 0
const barrier: Barrier = {
  get failed() {
    return failed
  },
  endTurn: () => true,
  begun: (event: TransactionEvent) => {
    if ((event.recordNumber ?? 0) > 0) return
    event.recordNumber = ++begunCount
    open.add(begunCount)
  },
  ended: (event: TransactionEvent) => {
    const { kind, outcome } = event
    open.delete(event.recordNumber ?? 0)
    event.recordNumber = 0
    if (kind === 'log-out') logOuts++
    // Clients of before may go whenever they do.
    if (kind !== 'log-out') told.push(`${kind} ${outcome}`)
  },
  refused: ({ cause }) => void told.push(`refused ${cause}`),
}

let world: World
let sidecar: RunningSidecar
let gateway: RunningGateway

before(async () => {
  world = await World.make()
  sidecar = await world.sidecar({ policy, authentication: listenerModes.either!, more: { barrier } })
  gateway = await world.gateway([sidecar])
  const keySet = { provider: 'corp', issuer, keys: [key.jwk], fetchedAtMs: Date.now() }
  sidecar.feed.value(pushedKinds.keySets).set([keySet])
  useTxnKeys(sidecar)
})
after(() => world.close())
beforeEach(() => {
  failed = false
  told.length = 0
  sidecar.node.intercept = undefined
  sidecar.node.interceptOwn = undefined
})

/** The node gives the answer to what `wanted` says when nothing can be written any more, where `fails`. */
function answerLate(fails: boolean, wanted: (request: NodeRequest) => boolean, answer?: Buffer): void {
  const late = (request: NodeRequest): boolean => {
    if (!wanted(request)) return false
    failed = fails
    if (answer === undefined) request.answer()
    else request.reply(answer)
    return true
  }
  sidecar.node.intercept = late
  // Questions about the schema are put to it by the sidecar.
  sidecar.node.interceptOwn = late
}

const invalid = errorEnvelope(4, 0, CqlErrorCode.INVALID, 'no such thing')
const query = (text: string): Buffer => queryEnvelope(4, 7, text)
const ofSchema = 'SELECT table_name FROM system_schema.tables'
const closed = (reason: unknown): string => (reason instanceof Error ? reason.message : String(reason))

interface Kind {
  /** The answer in words, or `closed: …`. */
  readonly ask: (client: RawClient, fails: boolean) => Promise<Buffer>
  readonly well: RegExp
}

/** Everything that is answered later than it was asked, and by whom. */
const kinds: Record<string, Kind> = {
  'the answer of the node': {
    ask: (client, fails) => {
      answerLate(fails, ({ text }) => text.includes('v FROM'))
      return client.ask(query('SELECT v FROM shop.items'))
    },
    well: /^echo/,
  },
  'an error of the node': {
    ask: (client, fails) => {
      answerLate(fails, ({ text }) => text.includes('w FROM'), invalid)
      return client.ask(query('SELECT w FROM shop.items'))
    },
    well: /^0x2200/,
  },
  'the answer to USE': {
    ask: (client, fails) => {
      answerLate(fails, ({ text }) => /^USE/.test(text))
      return client.ask(query('USE shop'))
    },
    well: /^result 3/,
  },
  'a USE that the node refuses': {
    ask: (client, fails) => {
      answerLate(fails, ({ text }) => /^USE/.test(text), invalid)
      return client.ask(query('USE play'))
    },
    well: /^0x2200/,
  },
  'a PREPARE': {
    ask: (client, fails) => {
      answerLate(fails, ({ opcode }) => opcode === Opcode.PREPARE)
      return client.ask(prepareEnvelope(4, 7, 'SELECT * FROM shop.items WHERE k = ?'))
    },
    well: /^result 4/,
  },
  'a statement that is prepared again': {
    ask: async (client, fails) => {
      const prepared = await client.ask(prepareEnvelope(4, 7, "SELECT * FROM shop.items WHERE k = 'again'"))
      const { id } = readPrepared(wholeEnvelope(prepared), 4)
      sidecar.node.prepared.clear()
      answerLate(fails, ({ opcode }) => opcode === Opcode.PREPARE)
      return client.ask(executeEnvelope(4, 7, id, undefined, []))
    },
    well: /^echo/,
  },
}
/** The same of who may not see all of the schema. */
let asked = 0
const ofSome: Record<string, Kind> = {
  'an answer about the schema': {
    ask: (client, fails) => {
      answerLate(fails, ({ opcode }) => opcode === Opcode.PREPARE)
      return client.ask(query(`${ofSchema} LIMIT ${100 + asked++}`))
    },
    well: /^echo/,
  },
  'a question about the schema that the node refuses': {
    ask: (client, fails) => {
      answerLate(fails, ({ opcode }) => opcode === Opcode.PREPARE, invalid)
      return client.ask(query(`${ofSchema} LIMIT ${100 + asked++}`))
    },
    well: /^0x2200/,
  },
  'a question about the schema that policy refuses meanwhile': {
    ask: (client, fails) => {
      answerLate(fails, ({ opcode }) => {
        if (opcode !== Opcode.PREPARE) return false
        sidecar.feed.apply(
          `${policy}---\napiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: no }\nspec: { effect: deny, subjects: [{ spiffeId: "spiffe://demo.local/*" }], keyspaces: [system_schema], operations: [READ, SCAN] }\n`,
        )
        return true
      })
      return client.ask(query(`${ofSchema} LIMIT ${100 + asked++}`))
    },
    well: /^0x2100/,
  },
  'a description that the node refuses': {
    ask: (client, fails) => {
      answerLate(fails, ({ text }) => /^DESCRIBE/.test(text), invalid)
      return client.ask(query(`DESCRIBE KEYSPACE shop`))
    },
    well: /^0x2200/,
  },
}

suite('while the record cannot be written', () => {
  for (const door of ['at a sidecar', 'through a gateway']) {
    for (const [who, all] of [
      ['alice', kinds],
      ['bob', ofSome],
    ] as const) {
      for (const [name, { ask, well }] of Object.entries(all)) {
        it(`${name} does not leave, ${door}`, async () => {
          const port = door === 'at a sidecar' ? sidecar.port : gateway.port
          for (const fails of [false, true]) {
            sidecar.feed.apply(policy)
            failed = false
            const client = await world.client(port, who)
            told.length = 0
            const answer = await ask(client, fails).then(describe, closed)
            if (!fails) {
              assert.match(answer, well)
              assert.ok(told.some((one) => one.startsWith('request ')))
            } else assert.match(answer, /^0x1001 the audit record cannot be written|^closed/)
            await until('what was begun is over', () => open.size === 0)
            failed = false
            client.close()
          }
          sidecar.feed.apply(policy)
        })
      }
    }
  }

  it('what was begun is over where its client has left', async () => {
    for (const text of [`${ofSchema} LIMIT ${100 + asked++}`, 'DESCRIBE KEYSPACE shop']) {
      const held: NodeRequest[] = []
      const hold = (request: NodeRequest): boolean => {
        if (request.opcode !== Opcode.PREPARE && !/^DESCRIBE/.test(request.text)) return false
        held.push(request)
        return true
      }
      sidecar.node.intercept = hold
      sidecar.node.interceptOwn = hold
      const client = await world.client(sidecar.port, 'bob')
      const answer = client.ask(query(text)).then(describe, closed)
      await until('the node is asked', () => held.length > 0)
      const before = logOuts
      client.close()
      await until('the sidecar knows', () => logOuts > before)
      for (const request of held) request.answer()
      await answer
      await until('what was begun is over', () => open.size === 0)
      assert.ok(told.includes('request lost'), text)
    }
  })

  it('whatever is asked meanwhile is answered OVERLOADED, and not kept for the record', async () => {
    const clients = [await world.client(sidecar.port, 'web'), await world.client(gateway.port, 'web')]
    for (const client of clients) {
      failed = false
      const prepared = await client.ask(prepareEnvelope(4, 7, 'SELECT * FROM shop.items'))
      const { id } = readPrepared(wholeEnvelope(prepared), 4)
      failed = true
      told.length = 0
      sidecar.node.requests.length = 0
      const token = txnToken('corp/alice')
      const requests = {
        QUERY: query('SELECT * FROM shop.items'),
        'what is refused': query('SELECT * FROM secret.items'),
        'what is no CQL': query('SELEKT'),
        EXECUTE: executeEnvelope(4, 7, id, undefined, []),
        'an unknown id': executeEnvelope(4, 7, Buffer.alloc(16, 1), undefined, []),
        PREPARE: prepareEnvelope(4, 7, 'SELECT k FROM shop.items'),
        REGISTER: registerEnvelope(4, 7, ['SCHEMA_CHANGE']),
        'the topology': query('SELECT * FROM system.local'),
        'the schema': query(ofSchema),
        DESCRIBE: query('DESCRIBE TABLES'),
        USE: query('USE shop'),
        'on behalf of somebody': withPayload(query('SELECT * FROM shop.items'), [['txn-token', token]]),
        'a token that is none': withPayload(query('SELECT * FROM shop.items'), [['txn-token', 'none']]),
        'a name that may not be said': withPayload(query('SELECT * FROM shop.items'), [['ProxyExecute', 'corp/bob']]),
      }
      for (const [what, request] of Object.entries(requests))
        assert.match(describe(await client.ask(request)), stopped, what)
      assert.deepEqual(told, [])
      assert.deepEqual(sidecar.node.texts(), [])
    }
  })
})

suite('a log-in while the record cannot be written', () => {
  it('comes to nothing, with a certificate, at both doors', async () => {
    for (const port of [sidecar.port, gateway.port]) {
      failed = true
      told.length = 0
      const client = await world.connect(port, 'alice')
      assert.match(describe(await client.startup()), /the audit record cannot be written/)
      assert.deepEqual(told, [])
      failed = false
      const again = await world.client(port, 'alice')
      assert.deepEqual(told, ['log-in ok'])
      assert.match(describe(await again.ask(query('SELECT v FROM shop.items'))), /^echo/)
    }
  })

  it('comes to nothing where it fails before the node is connected', async () => {
    const credentials = await world.credentials('svc/alice')
    const { evidence } = shownBy(credentials)
    const trust = trustOf(credentials)
    const address = '192.0.2.1'
    const identity = await proofs.verify(evidence, {
      nowMs: Date.now(),
      trust,
      gateway: undefined,
      named: undefined,
      address,
    })
    const info = { identity, evidence: undefined, address, port: 1, dialledAddress: '', dialledPort: 0 }
    const client = new MemoryDoor(info, new BytesBudget())
    const opening = { client, name: 'memory', version: 4, keyspace: '', driver: undefined, gateway: undefined } as const
    const session = sidecar.sidecar.openSession(opening)
    assert.deepEqual(told, ['log-in ok'])
    failed = true
    await assert.rejects(session.open(), /the audit record cannot be written/)
    assert.throws(() => sidecar.sidecar.openSession(opening), /the audit record cannot be written/)
    failed = false
    await session.open()
    client.use(session)
    client.close('over')
  })

  it('that is refused hears nothing, and takes no room of the record', async () => {
    const now = Math.floor(Date.now() / 1000)
    const token = signed(key, { iss: issuer, aud: 'other', sub: 'alice', iat: now, exp: now + 300 })
    for (const fails of [false, true]) {
      const client = await world.connect(sidecar.port, undefined, {
        credentials: { bundlePem: (await world.credentials('svc/alice')).bundlePem },
      })
      assert.equal(headerOpcode(await client.startup(), 0), Opcode.AUTHENTICATE)
      failed = fails
      told.length = 0
      const answer = await client.logIn('', token).then(describe, closed)
      assert.match(answer, fails ? /^closed/ : /^0x0100/)
      assert.deepEqual(told, fails ? [] : ['refused audience'])
      client.close()
    }
  })
})
