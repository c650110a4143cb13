/**
 * The corpus against real Cassandra: every variant of every statement, sent by the identity that it is about. Three things must agree: what the
 * client hears, what the mesh's record says, and what Cassandra's own audit log has seen.
 */
import assert from 'node:assert/strict'
import { after, before, it, describe as suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from 'cassandra-driver'
import { analyse } from '../../../src/cql/statement/analyse.ts'
import { type AuditRecord, type MeshFixture, useMesh } from '../fixture.ts'
import { driverAt } from '../people.ts'
import { attacks, people } from './catalogue.ts'
import { dropKeyspaces, makeKeyspaces } from './schema.ts'
import { idOf, type Outcome, type Said, sendAll } from './sender.ts'
import { type Variant, variantsOf } from './variants.ts'

const seed = 4
const unauthorized = 0x2100
const waitMsMax = 15_000
/** The first statement of a record is cut at 3 KiB; marks of longer ones may be gone. */
const statementKeptMax = 2000

const run = Date.now().toString(36)
const variants = variantsOf(seed, run)

let mesh: MeshFixture
let admin: Client
let started: string
let outcomes = new Map<string, Outcome>()
/** How often each mark stands in Cassandra's log. */
let arrived = new Map<string, number>()
let records: AuditRecord[] = []

before(async () => {
  mesh = await useMesh()
  admin = driverAt(mesh, 'sidecar', mesh.identities.admin)
  await admin.connect()
  await makeKeyspaces(mesh, admin)
  // What the driver of these statements does goes into the same records; it is away before the corpus is sent.
  await sleep(1000)
  await admin.shutdown()
  started = new Date().toISOString()
  const begun = performance.now()
  outcomes = new Map((await sendAll(mesh, variants)).map((outcome) => [outcome.variant.mark, outcome]))
  const sentMs = performance.now() - begun
  await settle()
  process.stdout.write(`# ${variants.length} variants of ${attacks.length} attacks in ${Math.round(sentMs)} ms\n`)
})
after(() => dropKeyspaces(mesh))

/** Both records are complete: one has everything that was permitted, the other a line for each request. */
async function settle(): Promise<void> {
  const passing = variants.filter(({ attack }) => attack.wanted === 'PASS')
  const deadline = performance.now() + waitMsMax
  for (;;) {
    arrived = countMarks(await mesh.cassandraLines())
    records = await ownRecords()
    const complete = passing.every(({ mark }) => arrived.has(mark)) && records.length >= expectedRecords().length
    if (complete || performance.now() > deadline) return
    await sleep(500)
  }
}

/** Case plays no part: a mark is in a name that the variant may have written in capitals. */
function countMarks(lines: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const line of lines) {
    for (const [mark] of line.toLowerCase().matchAll(new RegExp(`m${run}x\\d+x`, 'g'))) {
      counts.set(mark, (counts.get(mark) ?? 0) + 1)
    }
  }
  return counts
}

async function ownRecords(): Promise<AuditRecord[]> {
  const ids = new Set<unknown>(people.map(idOf))
  return (await mesh.auditRecords('"workload"')).filter(
    ({ time, workload, operation }) =>
      ids.has(workload) && String(time) >= started && operation !== 'CONNECT' && operation !== 'DISCONNECT',
  )
}

/**
 * A PREPARE that no client sent: its gateway took an EXECUTE to a sidecar that did not have the statement. What a client prepares goes to its
 * session's home, so that is where most PREPAREs of a session are.
 */
function isRepeated({ request, session, proxy }: AuditRecord): boolean {
  if (request !== 'PREPARE') return false
  if (homes.size === 0) findHomes()
  return homes.get(session) !== proxy
}

const homes = new Map<unknown, unknown>()

function findHomes(): void {
  const prepares = new Map<string, number>()
  for (const { request, session, proxy } of records) {
    if (request !== 'PREPARE') continue
    const key = JSON.stringify([session, proxy])
    prepares.set(key, (prepares.get(key) ?? 0) + 1)
  }
  for (const [key] of [...prepares].sort(([, a], [, b]) => a - b)) {
    const [session, proxy] = JSON.parse(key) as [unknown, unknown]
    homes.set(session, proxy)
  }
}

/** What each answer must have left in the mesh's record. */
function expectedRecords(): string[] {
  const expected: string[] = []
  for (const { variant, said } of outcomes.values()) {
    for (const { request, code } of said) {
      const refused = code === unauthorized || ['INVALID', 'NOWHERE'].includes(variant.attack.wanted)
      expected.push(`${idOf(variant.attack.who)} ${request} ${refused ? 'deny' : 'allow'}`)
    }
  }
  return expected
}

function wrongAnswer({ attack, form, values }: Variant, said: readonly Said[]): string | undefined {
  const last = said.at(-1)!
  const words = said.map(({ request, words }) => `${request}: ${words}`).join('; ')
  const prepared = form === 'prepare' && (attack.wanted === 'PASS' || attack.judged === 'execution')
  if (said.length !== (prepared ? 2 : 1)) return words
  switch (attack.wanted) {
    case 'PASS':
      return last.code === -1 ? undefined : words
    case 'INVALID':
      return last.code === 0x2000 || last.code === 0x2200 ? undefined : words
    case 'NOWHERE':
      return last.code === 0x2200 ? undefined : words
    case 'DENY': {
      const named = attack.rule === undefined || last.words.includes(`(rule ${attack.rule},`)
      const repeats = values.some(
        (value) => value !== null && value.length > 8 && last.words.includes(value.toString()),
      )
      return last.code === unauthorized && named && !repeats ? undefined : words
    }
  }
}

function ofAttack(attack: Variant['attack']): Outcome[] {
  return variants
    .filter((variant) => variant.attack === attack)
    .map((variant) => {
      const outcome = outcomes.get(variant.mark)
      assert.ok(outcome !== undefined, `not sent: ${variant.text}`)
      return outcome
    })
}

const occurrences = (text: string, mark: string): number => text.toLowerCase().split(mark).length - 1

for (const attack of attacks) {
  suite(`${attack.row} ${attack.name} (${attack.who}, ${attack.wanted})`, () => {
    it('is answered as wanted, in each variant', () => {
      const wrong = ofAttack(attack).flatMap(({ variant, said }) => {
        const words = wrongAnswer(variant, said)
        return words === undefined
          ? []
          : [`${variant.form}, ${variant.style}: ${JSON.stringify(variant.text)}: ${words}`]
      })
      assert.deepEqual(wrong, [])
    })

    it(attack.wanted === 'PASS' ? 'arrives at the node' : 'never arrives at the node', () => {
      const wrong = ofAttack(attack).filter(({ variant }) => {
        const seen = arrived.get(variant.mark) ?? 0
        if (attack.wanted === 'PASS') return seen === 0
        // To prepare it is permitted; a second time would be the execution.
        const permitted = attack.judged === 'execution' && variant.form === 'prepare'
        return seen > (permitted ? occurrences(variant.text, variant.mark) : 0)
      })
      assert.deepEqual(
        wrong.map(({ variant }) => variant.text),
        [],
      )
    })
  })
}

suite('the mesh’s own record of the corpus', () => {
  it('has exactly one line for each request, with its verdict', () => {
    const expected = expectedRecords()
    // Each connection of one who may write has prepared the permitted part of its batches.
    for (const person of people) {
      if (person !== 'reader') expected.push(...Array<string>(2).fill(`${idOf(person)} PREPARE allow`))
      // The last question of each connection, one at each door, about system.local: what a gateway answers is on record too.
      expected.push(...Array<string>(2).fill(`${idOf(person)} QUERY allow`))
    }
    const found = records
      .filter((record) => !isRepeated(record))
      .map(({ workload, request, operation, verdict }) => `${workload} ${request ?? operation} ${verdict}`)
    assert.deepEqual(counted(found), counted(expected))
  })

  it('has one line for each sidecar that a gateway gave a statement to, and these permitted as the first was', () => {
    const repeated = records.filter(isRepeated)
    assert.ok(repeated.every(({ verdict, gateway }) => verdict === 'allow' && gateway !== undefined))
    // Texts that differ in their literals only are one statement in the record.
    const keyOf = ({ session, statement, proxy }: AuditRecord): string => JSON.stringify([session, statement, proxy])
    const own = counted(records.filter((record) => record.request === 'PREPARE' && !isRepeated(record)).map(keyOf))
    const tooMany = Object.entries(counted(repeated.map(keyOf))).filter(([key, count]) => {
      const [session, statement] = JSON.parse(key) as [string, string]
      return count > (own[JSON.stringify([session, statement, homes.get(session)])] ?? 0)
    })
    assert.deepEqual(tooMany, [])
  })

  it('names what was refused and what was permitted', () => {
    const byMark = new Map<string, AuditRecord[]>()
    for (const record of records) {
      for (const [mark] of JSON.stringify(record)
        .toLowerCase()
        .matchAll(new RegExp(`m${run}x\\d+x`, 'g'))) {
        byMark.set(mark, [...(byMark.get(mark) ?? []), record])
      }
    }
    const wrong: string[] = []
    for (const { attack, mark, text, plain } of variants) {
      if (attack.wanted === 'INVALID') continue
      const { redacted, accesses } = analyse(plain)
      const kept = redacted.includes(mark)
      // A refusal names its table, wherever that stood in a text that was too long to be kept.
      const named = kept || JSON.stringify(accesses).includes(mark)
      const own = byMark.get(mark) ?? []
      if (!named && own.length > 0) wrong.push(`a literal is in the record: ${text}`)
      if (!kept || text.length > statementKeptMax) continue
      const last = own.at(-1)?.verdict
      if (last !== (attack.wanted === 'PASS' ? 'allow' : 'deny')) wrong.push(`${String(last)}: ${text}`)
    }
    assert.deepEqual(wrong, [])
  })

  it('holds no password', async () => {
    assert.deepEqual(await mesh.auditRecords('e2e-password'), [])
  })
})

function counted(words: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const word of [...words].sort()) counts.set(word, (counts.get(word) ?? 0) + 1)
  return Object.fromEntries(counts)
}
