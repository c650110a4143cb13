import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../../policy/load.ts'
import { access, cedar, document } from '../../policy/policy.fixture.ts'
import type { Principal } from '../../policy/principal.ts'
import { principalOf, trustDomainIn } from '../policy/who.ts'
import { chainOf } from './chain.ts'

const policy = loadPolicy(
  [
    document('IdentityProvider', 'corp', {
      type: 'oidc',
      issuer: 'https://login.example.com/realms/corp',
      audiences: ['ringfence'],
      claims: { groups: 'groups', forPolicy: ['acr'] },
    }),
    document('Role', 'reader', { rules: [{ keyspaces: ['shop'], tables: ['orders'], operations: ['READ'] }] }),
    document('RoleBinding', 'analysts', { role: 'reader', subjects: [{ group: 'corp/analysts' }] }),
    access('web', { subjects: [{ spiffeId: 'spiffe://td/svc/web' }], keyspaces: ['shop'], operations: ['SELECT'] }),
    access('pair', {
      subjects: [{ spiffeId: 'spiffe://td/svc/web', person: 'corp/*' }],
      keyspaces: ['shop'],
      tables: ['cards'],
      columns: ['last4'],
      operations: ['SELECT'],
      when: { claims: { acr: 'mfa' } },
    }),
    cedar('c', 'forbid (principal in Person::"corp/alice", action == Action::"DROP", resource);'),
  ].join('\n---\n'),
  'p.yaml',
)
const who = (one: Parameters<typeof principalOf>[0]): Principal => {
  const principal = principalOf(one, trustDomainIn(policy))
  assert.ok(!('message' in principal))
  return principal
}

describe('the chain from evidence to rules', () => {
  it('of a person names her provider, and the rules by what they name her', () => {
    const [link, ...others] = chainOf(policy, who({ person: 'corp/alice', groups: ['corp/analysts'] }))
    assert.equal(others.length, 0)
    assert.equal(link?.spiffeId, 'spiffe://td/user/corp/alice')
    assert.deepEqual(link.evidence, [
      'a certificate of the mesh with the id spiffe://td/user/corp/alice',
      'a token of the identity provider corp (oidc, issuer https://login.example.com/realms/corp)',
    ])
    assert.deepEqual(
      link.rules.map(({ rule, by, role, gives, isPair }) => [rule, by, role, gives, isPair]),
      [['analysts', 'group corp/analysts', 'reader', 'SELECT, USE, DESCRIBE on shop.orders', false]],
    )
    assert.deepEqual(link.cedar, ['CedarPolicy c'])
    assert.deepEqual(chainOf(policy, who({ person: 'corp/bob' }))[0]?.rules, [])
  })

  it('of a person behind a workload has both, and says what is for the pair', () => {
    const claims = { acr: 'mfa' }
    const links = chainOf(policy, who({ as: 'spiffe://td/svc/web', person: 'corp/alice', claims }))
    assert.deepEqual(
      links.map(({ kind, rules }) => [kind, ...rules.map(({ rule, isPair }) => `${rule}${isPair ? ' (pair)' : ''}`)]),
      [
        ['workload', 'web', 'pair (pair)'],
        ['person', 'pair (pair)'],
      ],
    )
    const pair = links[1]?.rules[0]
    assert.deepEqual(
      [pair?.by, pair?.gives],
      ['spiffeId spiffe://td/svc/web and person corp/*', 'SELECT on shop.cards (columns last4) when claims hold'],
    )
    const without = chainOf(policy, who({ as: 'spiffe://td/svc/web', person: 'corp/alice' }))
    assert.deepEqual(
      without.map(({ rules }) => rules.length),
      [1, 0],
    )
  })
})

describe('who asks, as people write it', () => {
  it('is a SPIFFE id, a person or a role, in the trust domain that the policy speaks of', () => {
    assert.equal(trustDomainIn(policy), 'td')
    assert.equal(trustDomainIn(undefined), 'unknown.invalid')
    const rule = (name: string, id: string): string =>
      `---\napiVersion: ringfence.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: ${name} }\nspec: { subjects: [{ spiffeId: ${id} }], keyspaces: [a], operations: [READ] }\n`
    const federation = `apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: partner }\nspec: { type: spiffe, trustDomain: partner.example, audiences: [m], jwks: 'https://partner.example/b' }\n`
    const both = rule('x', 'spiffe://partner.example/svc/a') + rule('y', 'spiffe://td/svc/a')
    assert.equal(trustDomainIn(loadPolicy(federation + both, 'p')), 'td')
    assert.equal(trustDomainIn(loadPolicy(both.slice(4), 'p')), 'unknown.invalid')
    assert.equal(who({ person: 'corp/a@b' }).spiffeId, 'spiffe://td/user/corp/a_x40b')
    const role = 'arn:aws:iam::123456789012:role/etl'
    assert.equal(who({ role }).spiffeId, 'spiffe://td/aws/123456789012/role/etl')
    // As a log-in by that role has it.
    assert.equal(
      who({ role: 'arn:aws:iam::123456789012:role/a@b' }).spiffeId,
      'spiffe://td/aws/123456789012/role/a_x40b',
    )
    assert.equal(who({ as: 'spiffe://td/svc/web', role }).spiffeId, 'spiffe://td/svc/web')
  })

  it('is a fault where it names nobody, with the part that is wrong', () => {
    const faults: readonly (readonly [Parameters<typeof principalOf>[0], string])[] = [
      [{}, 'as'],
      [{ groups: ['corp/a'] }, 'as'],
      [{ as: 'orders' }, 'as'],
      [{ person: 'alice' }, 'person'],
      [{ person: 'corp/' }, 'person'],
      [{ person: 'corp/alice', groups: ['analysts'] }, 'groups'],
      [{ role: 'etl' }, 'role'],
      [{ role: 'arn:aws:iam::123456789012:role/team/etl' }, 'role'],
      [{ role: 'arn:aws:sts::123456789012:assumed-role/etl/session' }, 'role'],
    ]
    for (const [one, key] of faults) {
      const fault = principalOf(one, 'td')
      assert.ok('message' in fault, JSON.stringify(one))
      assert.equal(fault.key, key)
    }
  })
})
