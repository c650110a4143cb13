/** A caller with a person behind it: who it is then, and under what everything of it is filed. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../spiffe.ts'
import { identityKey, type VerifiedIdentity, verifiedIdentity, type WhoOne } from '../verified.ts'
import { type Behind, onBehalfOf } from './registry.ts'

const who: WhoOne = {
  subject: parseSpiffeId('spiffe://demo.local/svc/web'),
  person: undefined,
  groups: [],
  role: undefined,
  methods: ['certificate'],
  claims: {},
}
function caller(change: Partial<WhoOne> = {}, expiresAtMs = 5000): VerifiedIdentity {
  const one = { ...who, ...change }
  return verifiedIdentity({
    ...one,
    expiresAtMs,
    evidenceHash: 'e',
    token: undefined,
    gateway: undefined,
    key: identityKey(one, one.methods[0] === 'certificate'),
  })
}
const alice: Behind = {
  person: 'corp/alice',
  groups: ['corp/staff'],
  claims: { acr: 'mfa' },
  method: 'txn-token',
  expiresAtMs: 1000,
  hash: 'h',
}

describe('a caller with a person behind it', () => {
  it('is the workload, with the person, groups and claims of what was shown, until the first of both ends', () => {
    const { subject, person, groups, claims, methods, expiresAtMs, evidenceHash } = onBehalfOf(caller(), alice)
    assert.deepEqual([subject, person, groups, claims], [who.subject, 'corp/alice', ['corp/staff'], { acr: 'mfa' }])
    assert.deepEqual([methods, expiresAtMs, evidenceHash], [['certificate', 'txn-token'], 1000, 'h'])
    assert.equal(onBehalfOf(caller({}, 500), alice).expiresAtMs, 500)
  })

  it('has a key of its own for each difference, and never one of a caller that came so itself', () => {
    const callers = [
      caller(),
      caller({ methods: ['listener'] }),
      caller({ subject: parseSpiffeId('spiffe://demo.local/svc/other') }),
      caller({ methods: ['kubernetes'], claims: { pod: 'a' } }),
      caller({ methods: ['kubernetes'], claims: { pod: 'b' } }),
      caller({ role: 'arn:aws:iam::123456789012:role/etl' }),
    ]
    const people: Behind[] = [
      alice,
      { ...alice, person: 'corp/bob' },
      { ...alice, groups: [] },
      { ...alice, groups: ['corp/other'] },
      { ...alice, claims: {} },
      { ...alice, claims: { acr: 'pwd' } },
      { ...alice, method: 'impersonation' },
    ]
    const keys = callers.flatMap((one) => [one.key, ...people.map((person) => onBehalfOf(one, person).key)])
    for (const methods of [['certificate', 'txn-token'], ['certificate', 'oidc'], ['certificate']])
      keys.push(
        identityKey({ ...who, person: 'corp/alice', groups: ['corp/staff'], methods, claims: { acr: 'mfa' } }, false),
      )
    assert.equal(new Set(keys).size, keys.length)
    // What is another in each token is not of it.
    assert.equal(onBehalfOf(caller(), { ...alice, expiresAtMs: 9, hash: 'x' }).key, onBehalfOf(caller(), alice).key)
  })

  it('says of each which claims are its own, and nobody else has its key', () => {
    const pod = caller({ methods: ['kubernetes'], claims: { pod: 'a' } })
    const one = onBehalfOf(pod, alice)
    assert.deepEqual(one.claims, { pod: 'a', acr: 'mfa' })
    assert.deepEqual(one.claimsOf, { workload: { pod: 'a' }, person: { acr: 'mfa' } })
    const turned = onBehalfOf(caller({ methods: ['kubernetes'], claims: { acr: 'mfa' } }), {
      ...alice,
      claims: { pod: 'a' },
    })
    assert.deepEqual(turned.claims, { acr: 'mfa', pod: 'a' })
    assert.notEqual(turned.key, one.key)
    assert.deepEqual(onBehalfOf(caller(), alice).claimsOf, { workload: {}, person: { acr: 'mfa' } })
    assert.equal(caller().claimsOf, undefined)
  })

  it('keeps apart what both say, and nobody else has its key', () => {
    const values = ['mfa', 'pwd', ['mfa'], ['mfa', 'pwd'], ['pwd', 'mfa']]
    const keys: string[] = []
    for (const ofWorkload of values) {
      for (const ofPerson of values) {
        const workload = { acr: ofWorkload, pod: 'a' }
        const one = onBehalfOf(caller({ methods: ['kubernetes'], claims: workload }), {
          ...alice,
          claims: { acr: ofPerson },
        })
        assert.deepEqual(one.claimsOf, { workload, person: { acr: ofPerson } })
        assert.deepEqual(one.claims, { acr: [ofWorkload, ofPerson].flat(), pod: 'a' })
        // The same as a whole session on her behalf.
        const session: WhoOne = { ...who, methods: one.methods, person: 'corp/alice', claims: one.claims }
        keys.push(one.key, identityKey({ ...session, claimsOf: one.claimsOf }, false))
      }
    }
    assert.equal(new Set(keys).size, keys.length)
  })

  it('is another for whom each claim is of, for a whole session too', () => {
    const claims = { acr: 'mfa', team: 'data' }
    const session: WhoOne = { ...who, person: 'corp/alice', methods: ['oidc', 'txn-token'], claims }
    const of = [
      { workload: { acr: 'mfa' }, person: { team: 'data' } },
      { workload: { team: 'data' }, person: { acr: 'mfa' } },
      { workload: claims, person: {} },
      { workload: {}, person: claims },
    ]
    assert.equal(new Set(of.map((claimsOf) => identityKey({ ...session, claimsOf }, false))).size, of.length)
  })

  it('is none where a person came', () => {
    assert.throws(() => onBehalfOf(caller({ person: 'corp/bob' }), alice), /a person already/)
    assert.throws(() => onBehalfOf(onBehalfOf(caller(), alice), alice), /a person already/)
  })
})
