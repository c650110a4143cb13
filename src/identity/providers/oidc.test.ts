import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { JsonObject } from '../jwt/json.ts'
import { LogInRefused } from '../refusal.ts'
import { personOf } from '../spiffe.ts'
import { claimAt } from './common.ts'
import { providerSchema } from './index.ts'
import { oidc } from './oidc.ts'
import type { Identified } from './provider.ts'

const least = { type: 'oidc', issuer: 'https://id.example', audiences: ['ringfence'] }

function identify(claims: JsonObject, spec: object = {}): Identified {
  const read = providerSchema.parse({ ...least, ...spec })
  const times = { issuedAtMs: 0, expiresAtMs: 1 }
  const token = { claims, subject: 'x', issuer: 'i', tokenId: undefined, ...times, hash: '', keyId: undefined }
  return oidc.identify({ name: 'corp', spec: read }, token, 'demo.local')
}
const causeOf = (claims: JsonObject, spec?: object): string => {
  try {
    identify(claims, spec)
    return 'none'
  } catch (reason) {
    return reason instanceof LogInRefused ? reason.why : String(reason)
  }
}

describe('who a token of OpenID Connect is about', () => {
  it('is a person by "sub", whose id nobody else has', () => {
    const subjects = [
      'alice',
      'a@b.c',
      'auth0|12',
      'a/b',
      '..',
      '.',
      'a_x40b',
      'a@b',
      'ä',
      'a b',
      'A',
      'a%40b',
      '_',
      '_x',
      'a_b',
    ]
    const found = subjects.map((sub) => identify({ sub }))
    assert.equal(new Set(found.map(({ subject }) => subject)).size, subjects.length)
    for (const [i, { subject, person }] of found.entries()) {
      assert.equal(person, `corp/${subjects[i]}`)
      assert.equal(personOf(subject), person, 'and the id itself says who it is')
    }
    assert.equal(found[1]?.subject, 'spiffe://demo.local/user/corp/a_x40b.c')
  })

  it('is a person by another claim, a workload below a prefix, or both', () => {
    assert.equal(identify({ sub: '1', email: 'a@b.c' }, { claims: { person: 'email' } }).person, 'corp/a@b.c')
    const claims = { workload: 'azp', workloadPrefix: 'svc/' }
    const workload = identify({ sub: '1', azp: 'orders' }, { claims })
    assert.deepEqual([workload.subject, workload.person], ['spiffe://demo.local/svc/orders', undefined])
    const both = identify({ sub: '1', azp: 'orders' }, { claims: { ...claims, person: 'sub' } })
    assert.deepEqual([both.subject, both.person], ['spiffe://demo.local/svc/orders', 'corp/1'])
    for (const azp of ['../ringfence/gateway/g', 'a/../b', '', 'a b', '/', '.'])
      assert.notEqual(causeOf({ azp }, { claims }), 'none', azp)
  })

  it('is never one whom another way in, or the mesh itself, gives: by no prefix, and by no name behind it', () => {
    const ids = [
      'ringfence/gateway/g',
      'user/corp/alice',
      'ns/shop/sa/a',
      'aws/1/role/r',
      'aws-cn/1/role/r',
      'aws-us-gov/1/role/r',
    ]
    let tried = 0
    for (const id of ids)
      for (let at = 1; at < id.length; at++) {
        const [workloadPrefix, azp] = [id.slice(0, at), id.slice(at)]
        const spec = { ...least, claims: { workload: 'azp', workloadPrefix } }
        if (!providerSchema.safeParse(spec).success) continue
        tried++
        assert.equal(causeOf({ azp }, spec), 'claims', `${workloadPrefix} ${azp}`)
      }
    assert.ok(tried > 40, `${tried}`)
    for (const prefix of ['aws', 'aws-cn/', 'aws-us-gov/x/', 'user/', 'ns'])
      assert.equal(
        oidc.faults?.({ ...least, claims: { workload: 'azp', workloadPrefix: prefix } } as never)?.length,
        1,
        prefix,
      )
    // Their neighbours.
    for (const [workloadPrefix, azp] of [
      ['u', 'sers/alice'],
      ['svc/', 'user'],
      ['aws-x/', 'role'],
      ['n', 's2'],
    ] as const)
      assert.equal(
        identify({ azp }, { claims: { workload: 'azp', workloadPrefix } }).subject,
        `spiffe://demo.local/${workloadPrefix}${azp}`,
      )
  })

  it('is nobody without the claim, or with one that is no name', () => {
    for (const sub of [
      undefined,
      '',
      7,
      null,
      ['a'],
      { a: 1 },
      'a\nb',
      'a\u0000',
      '\u202eb',
      'x'.repeat(256),
      '\ud800',
    ])
      assert.equal(causeOf(sub === undefined ? {} : { sub }), 'claims', JSON.stringify(sub))
  })

  it('is of groups, flat or nested, with a prefix or without, each once and sorted', () => {
    const groupsOf = (claims: JsonObject, spec: object): readonly string[] | undefined =>
      identify({ sub: 'a', ...claims }, { claims: spec }).groups
    assert.deepEqual(groupsOf({ groups: ['b', 'a', 'b'] }, { groups: 'groups' }), ['corp/a', 'corp/b'])
    assert.deepEqual(groupsOf({ groups: 'a' }, { groups: 'groups' }), ['corp/a'])
    assert.deepEqual(groupsOf({ realm_access: { roles: ['x'] } }, { groups: 'realm_access.roles' }), ['corp/x'])
    assert.deepEqual(groupsOf({ 'https://a.b/groups': ['x'] }, { groups: 'https://a.b/groups' }), ['corp/x'])
    assert.deepEqual(groupsOf({ groups: ['/rf-a', '/other', '/rf-'] }, { groups: 'groups', groupsPrefix: '/rf-' }), [
      'corp/a',
    ])
    assert.deepEqual(groupsOf({}, { groups: 'groups' }), [])
    assert.deepEqual(groupsOf({ groups: ['a'] }, {}), [])
  })

  it('is refused where groups are no groups, or are left out because they are many', () => {
    const spec = { claims: { groups: 'groups' } }
    for (const groups of [7, { a: 1 }, ['a', 7], ['a\nb'], [['a']]])
      assert.equal(causeOf({ sub: 'a', groups }, spec), 'claims')
    assert.equal(causeOf({ sub: 'a', _claim_names: { groups: 'src1' } }, spec), 'claims')
    assert.equal(causeOf({ sub: 'a', hasgroups: true }, spec), 'claims')
    assert.equal(causeOf({ sub: 'a', _claim_names: { other: 'src1' } }, spec), 'none')
  })

  it('is refused without one of the groups that may log in', () => {
    const spec = { claims: { groups: 'groups' }, allowedGroups: ['analysts', 'oncall'] }
    assert.equal(causeOf({ sub: 'a', groups: ['oncall', 'x'] }, spec), 'none')
    for (const groups of [[], ['x'], ['Analysts'], ['analysts2']])
      assert.equal(causeOf({ sub: 'a', groups }, spec), 'group')
    assert.equal(causeOf({ sub: 'a' }, spec), 'group')
  })

  it('gives policy the claims that it names, and no other', () => {
    const claims = { sub: 'a', acr: 'gold', amr: ['mfa'], jti: '1', deep: { department: 'x' } }
    assert.deepEqual(identify(claims, { claims: { forPolicy: ['acr', 'amr', 'deep.department', 'missing'] } }).claims, {
      acr: 'gold',
      amr: ['mfa'],
      'deep.department': 'x',
    })
  })

  it('names who may stand beside the token where the user name is bound', () => {
    assert.equal(identify({ sub: 'a' }).userNames, undefined)
    assert.deepEqual(identify({ sub: 'a' }, { userName: 'claimed' }).userNames, ['a'])
  })
})

describe('claimAt', () => {
  it('finds a claim by the names on the way to it, one with dots in it first', () => {
    const claims = { a: { b: 1, 'b.c': 2 }, 'a.b': 3, 'x.y': { z: 4 }, list: [1] }
    assert.equal(claimAt(claims, 'a.b'), 3)
    assert.equal(claimAt(claims, 'a.b.c'), 2)
    assert.equal(claimAt(claims, 'x.y.z'), 4)
    for (const path of ['a.x', 'list.0', 'constructor', '__proto__', 'a.b.d', '', '.', 'toString.name'])
      assert.equal(claimAt(claims, path), undefined, path)
  })
})
