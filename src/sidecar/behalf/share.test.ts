/** What is a pair's own, and what it has with its workload, which could else have as many as it can name people. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import { behalfMethods, claimsOfBoth } from '../../identity/proofs/registry.ts'
import { workloadKeyOf } from '../../identity/proofs/workload.ts'
import { parseSpiffeId } from '../../identity/spiffe.ts'
import { type Claims, identityKey, type VerifiedIdentity, verifiedIdentity } from '../../identity/verified.ts'
import { PolicyEngine } from '../../policy/engine.ts'
import { Judge } from '../judged.ts'
import { stateOf } from './state.ts'

const spiffeId = parseSpiffeId('spiffe://td/svc/web')
const judge = new Judge(new PolicyEngine(), { view: { table: () => undefined } as never, epoch: 0 }, () => 0)

describe('a workload with a person behind it', () => {
  it('has statements of its own, and one share of the loop with the workload', () => {
    const workload = judge.identity({ spiffeId, key: 'w' })
    const alice = judge.behalf({ spiffeId, person: 'corp/alice', key: 'w+alice' }, workload)
    const bob = judge.behalf({ spiffeId, person: 'corp/bob', key: 'w+bob' }, workload)
    assert.equal(new Set([workload, alice, bob]).size, 3)
    assert.equal(judge.behalf({ spiffeId, person: 'corp/alice', key: 'w+alice' }, workload), alice)
    for (const pair of [alice, bob]) assert.equal(pair.share, workload.share)
    judge.read(alice, 'SELECT * FROM shop.items', '')
    assert.ok(judge.remembered(alice, 'SELECT * FROM shop.items', ''))
    for (const other of [workload, bob])
      assert.equal(judge.remembered(other, 'SELECT * FROM shop.items', ''), undefined)
    assert.notEqual(judge.identity({ spiffeId, key: 'x' }).share, workload.share)
  })
})

/** As proofs make them. */
function proved(methods: readonly string[], person: string | undefined, claims: Claims = {}): VerifiedIdentity {
  // She says the same of herself, and it is hers.
  const of = person === undefined ? { claims } : claimsOfBoth(claims, claims)
  const who = { subject: spiffeId, person, groups: [], role: undefined, methods, claimsOf: undefined, ...of }
  return verifiedIdentity({
    ...who,
    expiresAtMs: Number.POSITIVE_INFINITY,
    evidenceHash: '',
    token: undefined,
    gateway: undefined,
    key: identityKey(who, methods.join() === 'certificate'),
  })
}

describe('a workload whose sessions are on behalf of people', () => {
  const ways: readonly (readonly [string[], Claims])[] = [
    [['certificate'], {}],
    [['oidc'], {}],
    [['oidc'], { team: 'web' }],
  ]
  for (const [own, claims] of ways) {
    for (const behind of Object.values(behalfMethods)) {
      it(`has what one has that comes for itself: ${[...own, behind]} ${JSON.stringify(claims)}`, () => {
        const judges = new Judge(new PolicyEngine(), { view: { table: () => undefined } as never, epoch: 0 }, () => 0)
        const alone = proved(own, undefined, claims)
        const people = ['corp/alice', 'corp/bob'].map((person) => proved([...own, behind], person, claims))
        assert.deepEqual(people.map(workloadKeyOf), [alone.key, alone.key])
        const [alice, bob, workload] = [...people, alone].map((who) => stateOf(judges, who))
        assert.equal(new Set([alice, bob, workload]).size, 3)
        assert.deepEqual([alice!.share, bob!.share], [workload!.share, workload!.share])
        const statements = (state: typeof alice): number => {
          let admitted = 0
          for (let index = 0; index <= limits.preparesBurstMax; index++) {
            const judged = judges.read(state!, `SELECT c${index} FROM shop.items`, '')
            if (state!.prepared.admits(judged, 1)) admitted++
          }
          return admitted
        }
        assert.deepEqual([alice, bob, workload].map(statements), [limits.preparesBurstMax, 0, 0])
      })
    }
  }

  it('is remembered while one of these sessions is there', () => {
    const alice = stateOf(judge, proved(['certificate', behalfMethods.token], 'corp/alice'))
    judge.enter(alice)
    for (let index = 0; index < 11_000; index++) judge.identity({ spiffeId, key: `idle ${index}` })
    const bob = stateOf(judge, proved(['certificate', behalfMethods.token], 'corp/bob'))
    assert.equal(bob.share, alice.share)
    judge.leave(alice)
  })

  it('is somebody else where the person has shown who she is', () => {
    const alice = proved(['certificate', 'oidc'], 'corp/alice')
    assert.equal(workloadKeyOf(alice), alice.key)
    assert.notEqual(stateOf(judge, alice).share, stateOf(judge, proved(['certificate'], undefined)).share)
  })
})
