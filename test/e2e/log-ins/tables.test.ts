/** The tables of the log-ins without Cassandra: they are whole, and true of a gateway and a sidecar in front of a fake node. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it, describe as suite } from 'node:test'
import { listenerModes } from '../../../src/identity/proofs/index.ts'
import type { Revocation } from '../../../src/identity/revoked/revocation.ts'
import { callsOutside } from '../../../src/mesh/call-out.ts'
import { pushedKinds } from '../../../src/mesh/pushed.ts'
import { partOf, revocationKinds } from '../../../src/mesh/revocations.ts'
import { txnToken, useTxnKeys } from '../../path/txn-tokens.ts'
import { World } from '../../path/world.ts'
import { ownProgram } from '../drivers/own-program.ts'
import { endToEndPlan } from '../order.ts'
import { casesOf, drivers, withoutDriver } from './cases.ts'
import { Outside, people } from './outside.ts'
import { runCases, sources } from './programs.ts'
import { Proofs, proofNames, type Shown } from './proofs.ts'
import { recordFaults } from './record.ts'
import { type LogInMesh, refusalSuite } from './refusal-suite.ts'
import { refusalNames, refusalsOf } from './refusals.ts'
import { thrownOutSuite } from './thrown-out-suite.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringfence-log-ins-tables-'))
const tables = { permitted: 'items', forbidden: 'items' }

let world: World
let outside: Outside
let logIns: LogInMesh
let records: () => Record<string, unknown>[]

before(async () => {
  outside = await Outside.start()
  world = await World.make()
  const authentication = [...listenerModes.either!]
  const calls = () => callsOutside({}, outside.stsServer.world)
  const policy = outside.policy('shop', [tables.permitted])
  const sidecar = await world.sidecar({ policy, authentication, more: { outside: calls() } })
  const gateway = await world.gateway([sidecar], { authentication, outside: calls() })
  gateway.feed.apply(policy)
  const feeds = [sidecar.feed, gateway.feed]
  for (const feed of feeds) {
    feed.value(pushedKinds.keySets).set(outside.keySets)
    useTxnKeys({ feed })
  }
  records = () => sidecar.records()
  let revoked: Revocation[] = []
  let revocations = 0
  const tellRevoked = (): void => {
    for (const feed of feeds)
      for (const [part, kind] of revocationKinds.entries())
        feed.value(kind).set(revoked.filter(({ id }) => partOf(id) === part))
  }
  const { bundlePem } = world.ca
  const told: { readonly address?: string | undefined; readonly cause: string }[] = []
  logIns = {
    outside,
    proofs: new Proofs(outside, join(world.folder, 'ca'), async (workload) =>
      txnToken(`corp/${people.usual}`, { req_wl: workload }),
    ),
    doors: {
      nginx: { host: '127.0.0.1', port: gateway.port, bundlePem },
      sidecar: { host: '127.0.0.1', port: sidecar.port, bundlePem },
    },
    why: async (address) => {
      told.push(...feeds.flatMap((feed) => feed.report?.().refusals ?? []))
      return told.flatMap((one) => (one.address === address ? [one.cause] : []))
    },
    admit: async (who) => {
      for (const feed of feeds) feed.apply(outside.policy('shop', [tables.permitted], who))
    },
    permitted: 'SELECT * FROM shop.items',
    throwOut: async (one) => {
      revoked.push({ ...one, id: ++revocations })
      tellRevoked()
    },
    letIn: async ({ kind, value }) => {
      revoked = revoked.filter((one) => one.kind !== kind || one.value !== value)
      tellRevoked()
    },
  }
})
after(async () => {
  await world?.close()
  await outside?.stop()
  rmSync(folder, { recursive: true })
})

suite('the tables of log-ins', () => {
  it('have each refusal for each proof, or why there is none', () => {
    const table = refusalsOf(logIns.proofs, outside)
    assert.deepEqual(Object.keys(table), [...proofNames])
    for (const [proof, refusals] of Object.entries(table)) {
      assert.deepEqual(Object.keys(refusals), [...refusalNames], proof)
      for (const [name, one] of Object.entries(refusals))
        if ('impossible' in one) assert.equal(proof, 'SVID', `${proof} can be ${name}`)
    }
  })

  it('have every proof for every driver at both doors, good and expired', () => {
    assert.deepEqual(
      drivers.map(({ name }) => name),
      ['node', 'python', 'java', 'go', 'cqlsh'],
    )
    for (const driver of drivers) {
      for (const door of ['nginx', 'sidecar'] as const) {
        const cases = casesOf(driver, door, logIns.proofs, outside)
        const names = cases.flatMap(({ name, wanted }) => (wanted instanceof RegExp ? [] : [name]))
        assert.deepEqual(names.slice(0, proofNames.length), [...proofNames])
        const refused = cases.flatMap(({ name, wanted }) => (wanted instanceof RegExp ? [name] : []))
        const expired = proofNames.map((name) => `${name}, expired`)
        assert.deepEqual(new Set(refused.slice(0, 6)), new Set(['OIDC, for another audience', ...expired]))
      }
    }
  })

  it('have every fault that a driver can show for Node.js and Python at both doors', () => {
    const table = refusalsOf(logIns.proofs, outside)
    // Its chain is too long for a TLS handshake.
    const others = ['SVID: oversized']
    const wanted = Object.entries(table).flatMap(([proof, refusals]) =>
      refusalNames
        .filter((name) => !withoutDriver.includes(name) && !('impossible' in refusals[name]))
        .map((name) => `${proof}: ${name}`)
        .filter((name) => !others.includes(name)),
    )
    assert.ok(wanted.length > 30)
    for (const driver of drivers) {
      for (const door of ['nginx', 'sidecar'] as const) {
        const names = casesOf(driver, door, logIns.proofs, outside).map(({ name }) => name)
        const tried = names.filter((name) => wanted.includes(name))
        assert.deepEqual(tried, ['node', 'python'].includes(driver.name) ? wanted : [], `${driver.name} ${door}`)
      }
    }
  })

  it('are tried by a suite that runs before those that break the mesh', () => {
    const files = endToEndPlan().alone
    const at = files.indexOf(join('test', 'e2e', 'log-ins', 'log-ins.e2e.test.ts'))
    assert.ok(at >= 0 && at < files.findIndex((file) => file.includes('gateways')))
  })
})

thrownOutSuite(() => logIns)
refusalSuite(() => logIns)

suite('the program of a driver', () => {
  for (const driver of drivers.filter(({ name }) => name === 'node')) {
    it(`${driver.name} does its cases`, async (t) => {
      const made = await ownProgram(driver.name, sources, folder)
      if ('absent' in made) return t.skip(made.absent)
      const cases = casesOf(driver, 'nginx', logIns.proofs, outside)
      const shown = new Map<string, Shown>()
      for (const { name, make } of cases) shown.set(name, await make())
      const { host, port, bundlePem } = logIns.doors.nginx
      const caFile = join(folder, 'ca.pem')
      writeFileSync(caFile, bundlePem)
      const [permitted, forbidden] = ['SELECT * FROM shop.items', 'SELECT * FROM play.items']
      const target = { host, port, dataCenter: 'dc1', caFile, permitted, forbidden }
      const { said, errors } = await runCases(made.program, target, shown, join(folder, driver.name))
      for (const { name, wanted } of cases) {
        await t.test(name, (sub) => {
          const one = said.get(name)
          assert.ok(one !== undefined, errors)
          sub.diagnostic(JSON.stringify(one))
          if (wanted instanceof RegExp) {
            assert.ok(one.kind === 'refused', JSON.stringify(one))
            assert.match(one.words, wanted)
            return
          }
          assert.ok(one.kind === 'in', JSON.stringify(one))
          assert.match(one.denial, /^denied: .*has no SELECT permission on <table play\.items>/)
          const expected = { shown: shown.get(name)!, known: wanted, door: 'nginx', driver, tables } as const
          assert.deepEqual(recordFaults(records(), expected), [])
        })
      }
    })
  }
})
