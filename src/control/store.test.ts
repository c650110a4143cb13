import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pushedKinds } from '../mesh/pushed.ts'
import { MemoryStore } from './memory-store.fixture.ts'
import { eventually, withMesh } from './mesh.fixture.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { AgentRow, Store } from './store.ts'

const names = { ipAddresses: ['10.0.0.1'], dnsNames: ['a.example'], listenerIdentities: ['spiffe://d/svc/a'] }
const agent = (spiffeId: string): AgentRow => ({ spiffeId, role: 'sidecar', name: `name of ${spiffeId}`, ...names })
const endpoint = { name: 'n', spiffeId: 'spiffe://d/b', address: '127.0.0.1', port: 1, rack: 'r' }

/** What every store must do: the claims hold at once, and for who opens it again. */
function complies(kind: string, open: (name: string) => Store): void {
  describe(`a store, ${kind}`, () => {
    let count = 0
    function eachOpened(test: (store: Store) => (again: Store) => void): void {
      const name = `${++count}`
      const store = open(name)
      const claims = test(store)
      claims(store)
      store.close()
      const again = open(name)
      claims(again)
      again.close()
    }

    it('spends a token once, and knows the others', () =>
      eachOpened((store) => {
        const token = { hash: 'h1', spiffeId: 'spiffe://d/a', role: 'gateway' as const, expiresAtMs: 5_000, ...names }
        store.addToken(token, 1_000)
        store.addToken({ ...token, hash: 'h2' }, 1_000)
        assert.equal(store.spendToken('h1', 2_000), true)
        return (again) => {
          assert.equal(again.spendToken('h1', 3_000), false)
          assert.equal(again.spendToken('none', 3_000), false)
          assert.deepEqual(again.token('h1'), { ...token, usedAtMs: 2_000 })
          assert.deepEqual(again.token('h2'), { ...token, hash: 'h2', usedAtMs: undefined })
          assert.equal(again.token('none'), undefined)
        }
      }))

    it('knows until when tokens of before a moment may still be used', () =>
      eachOpened((store) => {
        const token = { hash: 'o1', spiffeId: 'spiffe://d/a', role: 'gateway' as const, expiresAtMs: 5_000, ...names }
        store.addToken(token, 1_000)
        store.addToken({ ...token, hash: 'o2', expiresAtMs: 9_000 }, 1_000)
        store.addToken({ ...token, hash: 'o3', expiresAtMs: 8_000 }, 1_500)
        store.addToken({ ...token, hash: 'o4', expiresAtMs: 99_000 }, 2_000)
        store.spendToken('o2', 1_600)
        return (again) => {
          assert.equal(again.tokensOpenUntil(2_000, 1_700), 8_000, 'neither the used one nor that of the moment itself')
          assert.equal(again.tokensOpenUntil(1_200, 1_700), 5_000)
          assert.equal(again.tokensOpenUntil(1_200, 5_000), undefined, 'it has ended')
          assert.equal(again.tokensOpenUntil(1_000, 1_700), undefined)
        }
      }))

    it('keeps the last checkpoint of each log', () =>
      eachOpened((store) => {
        const log = { origin: 'a/1', key: 'k', size: 3, atMs: 1_000, checkpoint: 'text' }
        store.putWitnessed({ ...log, origin: 'a/2' })
        store.putWitnessed(log)
        store.putWitnessed({ ...log, size: 5 })
        store.putWitnessed({ ...log, origin: 'a/3' })
        store.forgetWitnessed('a/3')
        return (again) => {
          assert.deepEqual(again.witnessed('a/1'), { ...log, size: 5 })
          assert.equal(again.witnessed('a/3'), undefined)
          assert.deepEqual(again.witnessedLogs(), [
            { ...log, size: 5 },
            { ...log, origin: 'a/2' },
          ])
        }
      }))

    it('notes once what counts once, for whichever owner, until it ends and within its bounds', () =>
      eachOpened((store) => {
        const bounds = { entriesMax: 5, entriesPerOwnerMax: 3 }
        const spend = (to: Store, key: string, owner: string, nowMs = 1_000) =>
          to.spendOnce({ key, owner, endMs: 2_000 }, bounds, nowMs)
        for (const key of ['a', 'b', 'c']) assert.equal(spend(store, key, 'alice'), 'noted')
        assert.equal(spend(store, 'd', 'alice'), 'full', 'she has as many as one may have')
        for (const key of ['d', 'e']) assert.equal(spend(store, key, 'bob'), 'noted', 'who was not noted spent nothing')
        assert.equal(spend(store, 'f', 'carol'), 'full')
        return (again) => {
          for (const key of ['a', 'b', 'c', 'd', 'e'])
            for (const owner of ['alice', 'bob', 'carol']) assert.equal(spend(again, key, owner, 1_999), 'spent', key)
        }
      }))

    it('forgets what counted once when it has ended', () =>
      eachOpened((store) => {
        const bounds = { entriesMax: 1, entriesPerOwnerMax: 1 }
        let nowMs = 1_000
        assert.equal(store.spendOnce({ key: 'a', owner: 'o', endMs: nowMs + 10.5 }, bounds, nowMs + 0.25), 'noted')
        return (again) => {
          assert.equal(again.spendOnce({ key: 'a', owner: 'o', endMs: nowMs + 30 }, bounds, nowMs + 10), 'spent')
          nowMs += 11
          assert.equal(again.spendOnce({ key: 'a', owner: 'o', endMs: nowMs + 10.5 }, bounds, nowMs), 'noted')
        }
      }))

    it('keeps who used a pre-signed request first until it ends, and within its bound', () =>
      eachOpened((store) => {
        const use = (key: string, endMs: number, principal = 'etl') => ({ principal, key, address: '192.0.2.1', endMs })
        store.keepPresignedUses([use('a', 2_000), use('b', 4_000), use('a', 3_000, 'other')], 10, 1_000)
        store.keepPresignedUses([{ ...use('b', 5_000), address: '192.0.2.2' }], 10, 1_000)
        const all = [use('a', 2_000), use('a', 3_000, 'other'), { ...use('b', 5_000), address: '192.0.2.2' }]
        return (again) => {
          assert.deepEqual(again.presignedUses(1_999), all)
          assert.deepEqual(again.presignedUses(2_000), all.slice(1))
          again.keepPresignedUses([], 2, 1_000)
          assert.deepEqual(again.presignedUses(1_000), all.slice(1), 'what ends soonest goes')
          again.keepPresignedUses([], 10, 3_000)
          assert.deepEqual(again.presignedUses(0), all.slice(2), 'what has ended is forgotten')
          again.keepPresignedUses(all, 10, 1_000)
        }
      }))

    it('forgets the tokens for one id that are not used, and says how many were good', () =>
      eachOpened((store) => {
        const token = { hash: 'f1', spiffeId: 'spiffe://d/f', role: 'gateway' as const, expiresAtMs: 5_000, ...names }
        for (const [hash, spiffeId, expiresAtMs] of [
          ['f1', 'spiffe://d/f', 5_000],
          ['f2', 'spiffe://d/f', 9_000],
          ['f3', 'spiffe://d/f', 2_000],
          ['f4', 'spiffe://d/f', 9_000],
          ['f5', 'spiffe://d/f2', 9_000],
        ] as const)
          store.addToken({ ...token, hash, spiffeId, expiresAtMs }, 1_000)
        store.spendToken('f4', 1_500)
        assert.equal(store.removeTokens('spiffe://d/f', 2_000), 2)
        assert.equal(store.removeTokens('spiffe://d/none', 2_000), 0)
        return (again) => {
          const left = ['f1', 'f2', 'f3', 'f4', 'f5'].filter((hash) => again.token(hash) !== undefined)
          assert.deepEqual(left, ['f4', 'f5'])
        }
      }))

    it('has many revocations at once, in their order, and whom each suspends', () =>
      eachOpened((store) => {
        const one = { kind: 'id' as const, reason: 'r', by: 'b', createdAtMs: 1, untilMs: undefined }
        const first = store.addRevocation({ ...one, value: 'spiffe://d/x', suspends: 'spiffe://d/x' })
        const rows = store.addRevocations(['y', 'z'].map((name) => ({ ...one, value: `spiffe://d/${name}` })))
        assert.deepEqual(store.addRevocations([]), [])
        return (again) => {
          assert.ok(first.id < rows[0]!.id && rows[0]!.id < rows[1]!.id)
          assert.deepEqual(again.revocations(), [first, ...rows])
          assert.deepEqual(
            again.revocations().map(({ suspends }) => suspends),
            ['spiffe://d/x', undefined, undefined],
          )
        }
      }))

    it('knows until when mesh keys are burnt', () =>
      eachOpened((store) => {
        assert.equal(store.meshKeysBurntMs(), undefined)
        store.burnMeshKeys(1_000)
        store.burnMeshKeys(3_000)
        return (again) => assert.equal(again.meshKeysBurntMs(), 3_000)
      }))

    it('has one agent for each id, in their order, until it is removed', () =>
      eachOpened((store) => {
        for (const id of ['c', 'a', 'b', 'd']) store.putAgent(agent(id), 1)
        store.putAgent({ ...agent('b'), name: 'another' }, 2)
        store.removeAgent('d')
        store.removeAgent('none')
        return (again) => {
          assert.deepEqual(again.agents(), [agent('a'), { ...agent('b'), name: 'another' }, agent('c')])
          assert.deepEqual(again.agent('c'), agent('c'))
          assert.equal(again.agent('d'), undefined)
        }
      }))

    it('lists what was issued, newest first, the later of one moment before the earlier', () =>
      eachOpened((store) => {
        const issuance = { spiffeId: 'a', reason: 'renew', caller: 'a', notAfterMs: 9 } as const
        for (const [serial, issuedAtMs] of [
          ['1', 10],
          ['3', 30],
          ['2', 20],
          ['4', 30],
        ] as const)
          store.addIssuance({ ...issuance, serial, issuedAtMs })
        return (again) => {
          assert.deepEqual(
            again.issuances(3).map(({ serial }) => serial),
            ['4', '3', '2'],
          )
          assert.deepEqual(again.issuances(1), [{ ...issuance, serial: '4', issuedAtMs: 30 }])
        }
      }))

    it('knows what one identity was issued last, and what of it has not ended', () =>
      eachOpened((store) => {
        const enrolled = {
          spiffeId: 'a',
          reason: 'enrol',
          caller: 'token 1',
          serial: '1',
          issuedAtMs: 10,
          notAfterMs: 50,
        } as const
        const renewed = { ...enrolled, reason: 'renew', serial: '2', issuedAtMs: 20, notAfterMs: 90 } as const
        store.addIssuance(enrolled)
        store.addIssuance({ ...renewed, serial: '3', issuedAtMs: 30 })
        store.addIssuance(renewed)
        store.addIssuance({ ...renewed, reason: 'mint', serial: '4', issuedAtMs: 40 })
        store.addIssuance({ ...renewed, spiffeId: 'b', serial: '5', issuedAtMs: 40 })
        return (again) => {
          assert.deepEqual(again.lastIssuance('a', 'enrol'), enrolled)
          assert.equal(again.lastIssuance('a', 'renew')?.serial, '3')
          assert.equal(again.lastIssuance('b', 'enrol'), undefined)
          const open = (nowMs: number): string[] => again.openIssuances('a', nowMs).map(({ serial }) => serial)
          assert.deepEqual([open(49), open(50), open(90)], [['3', '2', '1'], ['3', '2'], []])
        }
      }))

    it('gives each policy a number of its own, also one that was there before, and never a lower one', () =>
      eachOpened((store) => {
        assert.deepEqual(store.policy(), { revision: 0, source: '' })
        assert.deepEqual(store.addPolicy('one', 'p.yaml', 1), { revision: 1, source: 'one' })
        assert.deepEqual(store.addPolicy('one', 'p.yaml', 1), { revision: 2, source: 'one' })
        assert.deepEqual(store.addPolicy('two', 'p.yaml', 1, 7), { revision: 7, source: 'two' })
        assert.deepEqual(store.addPolicy('three', 'p.yaml', 1, 3), { revision: 8, source: 'three' })
        return (again) => {
          assert.deepEqual(again.policy(), { revision: 8, source: 'three' })
          assert.deepEqual([again.policyOf(7), again.policyOf(2), again.policyOf(3)], ['two', 'one', undefined])
        }
      }))

    it('has an epoch that only rises, and gives revisions and ids of keys of it', () =>
      eachOpened((store) => {
        const key = { key: Buffer.alloc(32), use: 'pages', createdAtMs: 1, fromMs: 0 } as const
        assert.equal(store.epoch(), 0)
        store.addPolicy('one', 'p.yaml', 1)
        store.addMeshKey(key, 3)
        store.raiseEpoch(1_000)
        store.raiseEpoch(5)
        // What was given before stays of the epoch in which it was.
        assert.deepEqual(store.policy(), { revision: 1, source: 'one' })
        assert.deepEqual(store.addPolicy('two', 'p.yaml', 1), { revision: 2, source: 'two', epoch: 1_000 })
        store.addMeshKey(key, 3)
        store.addMeshKey(key, 3)
        return (again) => {
          assert.equal(again.epoch(), 1_000)
          assert.deepEqual(again.policy(), { revision: 2, source: 'two', epoch: 1_000 })
          assert.deepEqual(
            again.meshKeys().map(({ id }) => id),
            [1_002, 1_001, 1],
          )
        }
      }))

    it('knows where proxies were last', () =>
      eachOpened((store) => {
        store.putSidecar(endpoint)
        store.putSidecar({ ...endpoint, spiffeId: 'spiffe://d/a', port: 1 })
        store.putSidecar({ ...endpoint, spiffeId: 'spiffe://d/a', port: 2 })
        store.putSidecar({ ...endpoint, spiffeId: 'spiffe://d/c' })
        store.removeSidecar('spiffe://d/c')
        store.putGateway('g2', [endpoint])
        store.putGateway('g1', [endpoint, endpoint])
        store.putGateway('g3', [endpoint])
        store.removeGateway('g3')
        return (again) => {
          assert.deepEqual(again.sidecars(), [{ ...endpoint, spiffeId: 'spiffe://d/a', port: 2 }, endpoint])
          assert.deepEqual(
            [...again.gateways()],
            [
              ['g1', [endpoint, endpoint]],
              ['g2', [endpoint]],
            ],
          )
        }
      }))

    it('numbers mesh keys upwards, and forgets the oldest of a use only for the same use', () =>
      eachOpened((store) => {
        const key = (byte: number, use: 'pages' | 'masks') => ({
          key: Buffer.alloc(32, byte),
          use,
          createdAtMs: byte,
          fromMs: 0,
        })
        store.addMeshKey(key(1, 'masks'), 2)
        for (const byte of [2, 3, 4, 5]) store.addMeshKey(key(byte, 'pages'), 3)
        return (again) => {
          const keys = again.meshKeys()
          assert.deepEqual(
            keys.map(({ use, key: bytes }) => [use, bytes[0]]),
            [
              ['pages', 5],
              ['pages', 4],
              ['pages', 3],
              ['masks', 1],
            ],
          )
          assert.ok(keys.every(({ id }, i) => i === 0 || id < (keys[i - 1]?.id ?? 0)))
          const { id: _, ...newest } = keys[0] ?? assert.fail('no key')
          assert.deepEqual(newest, key(5, 'pages'))
        }
      }))
  })
}

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-stores-'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

complies('SQLite', (name) => new SqliteStore(join(folder, `${name}.db`)))
const memories = new Map<string, MemoryStore>()
complies('in memory', (name) => {
  const store = memories.get(name) ?? new MemoryStore()
  memories.set(name, store)
  return store
})

describe('another store under the control plane', () => {
  it('is all that it needs: enrolment, renewal, policy and keys, through a restart', () => {
    const store = new MemoryStore()
    return withMesh({ openStore: () => store }, async (mesh) => {
      const id = 'spiffe://demo.local/ringfence/sidecar/n1'
      const agent = await mesh.agent('n1', await mesh.token(id, 'sidecar'))
      await mesh.admin.applyPolicy('one', 'p.yaml', false)
      await eventually('the policy', () => agent.value(pushedKinds.policy).current.source === 'one')
      const keys = agent.value(pushedKinds.keys).current
      assert.equal(keys.length, 2)
      await mesh.control.stop()
      await mesh.restart()
      assert.deepEqual(await mesh.admin.policy(), { revision: 1, source: 'one' })
      const second = await mesh.agent('n2', await mesh.token(`${id}-2`, 'sidecar'))
      assert.deepEqual(second.value(pushedKinds.keys).current, keys)
      assert.deepEqual(
        (await mesh.admin.issuances(10)).issuances.map(({ spiffeId }) => spiffeId),
        [`${id}-2`, id],
      )
      assert.equal((await mesh.admin.status()).proxies.length, 2)
    })
  })
})
