import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { access, document, engineOf, refusal, verdict } from './policy.fixture.ts'
import type { Principal } from './principal.ts'
import { matchesName, matchesRole, type Subject } from './subjects.ts'

const provider = (name: string, type: string): string =>
  document('IdentityProvider', name, {
    type,
    issuer: `https://${name}.example.com`,
    audiences: ['ringfence'],
    claims: { forPolicy: ['acr', 'amr'] },
  })
const corp = provider('corp', 'oidc')
const cloud = provider('cloud', 'aws')
const arn = 'arn:aws:iam::123456789012:role'

const alice: Principal = {
  spiffeId: parseSpiffeId('spiffe://td/user/corp/alice'),
  person: 'corp/alice',
  groups: ['corp/analysts', 'corp/eu/oncall'],
}
const etl: Principal = { spiffeId: parseSpiffeId('spiffe://td/aws/123456789012/role/etl'), role: `${arn}/etl` }

const rule = (subject: Subject, more: object = {}): string =>
  access('p', { subjects: [subject], keyspaces: ['ks'], operations: ['SELECT'], ...more })

describe('a subject', () => {
  const table: readonly (readonly [subject: Subject, who: Principal, is: boolean])[] = [
    [{ person: 'corp/alice' }, alice, true],
    [{ person: 'corp/*' }, alice, true],
    [{ person: 'corp/bob' }, alice, false],
    [{ person: 'corp/ali' }, alice, false],
    [{ person: 'corp/alice' }, etl, false],
    [{ person: 'corp/alice' }, { spiffeId: alice.spiffeId }, true],
    [{ group: 'corp/analysts' }, alice, true],
    [{ group: 'corp/analyst' }, alice, false],
    [{ group: 'corp/eu/*' }, alice, true],
    [{ group: 'corp/eu' }, alice, false],
    [{ group: 'corp/*' }, { ...alice, groups: [] }, false],
    [{ group: 'corp/*' }, { ...alice, groups: ['corporate/x'] }, false],
    [{ role: `${arn}/etl` }, etl, true],
    [{ role: `${arn}/*` }, etl, true],
    [{ role: `${arn}/et` }, etl, false],
    [{ role: 'arn:aws:iam::123456789013:role/*' }, etl, false],
    [{ role: 'arn:aws-cn:iam::123456789012:role/*' }, etl, false],
    [{ role: `${arn}/etl` }, alice, false],
    // All that is named must be so.
    [{ person: 'corp/alice', group: 'corp/analysts' }, alice, true],
    [{ person: 'corp/alice', group: 'corp/admins' }, alice, false],
    [{ person: 'corp/bob', group: 'corp/analysts' }, alice, false],
    [{ spiffeId: 'spiffe://td/user/corp/*', group: 'corp/analysts' }, alice, true],
    [{ spiffeId: 'spiffe://td/svc/*', group: 'corp/analysts' }, alice, false],
    [{ spiffeId: 'spiffe://td/aws/*', role: `${arn}/etl` }, etl, true],
    [{ spiffeId: 'spiffe://td/aws/*', role: `${arn}/other` }, etl, false],
  ]
  for (const [subject, who, is] of table) {
    it(`${JSON.stringify(subject)} is ${is ? '' : 'not '}${who.person ?? who.spiffeId} ${who.groups ?? ''}`, () => {
      const read = 'SELECT a FROM ks.t WHERE id = 1'
      assert.equal(verdict(engineOf(rule(subject), corp, cloud), read, { as: who }), is ? '+p' : '-default-deny')
      const all = access('all', { subjects: [{ spiffeId: 'spiffe://td/*' }], keyspaces: ['ks'], operations: ['READ'] })
      const deny = engineOf(all, rule(subject, { effect: 'deny' }), corp, cloud)
      assert.equal(verdict(deny, read, { as: who }), is ? '-p' : '+all')
      // With another beside it, Cedar's text has another shape.
      const nobody: Subject = { spiffeId: 'spiffe://td/nobody', group: 'corp/nobody' }
      const several = engineOf(rule({}, { subjects: [nobody, { person: 'corp/nobody' }, subject] }), corp, cloud)
      assert.equal(verdict(several, read, { as: who }), is ? '+p' : '-default-deny')
    })
  }

  it('goes by whole segments, the first of which is literal', () => {
    const names: readonly (readonly [pattern: string, name: string, is: boolean])[] = [
      ['corp/*', 'corp/a/b', true],
      ['corp/*', 'corp', false],
      ['corp/*', 'corp/', false],
      ['corp/*', 'corporate/a', false],
      ['corp/*', 'Corp/a', false],
      ['corp/*/b', 'corp/a/b', true],
      ['corp/*/b', 'corp/a/c/b', false],
      ['corp/*/b', 'corp/b', false],
      ['corp/a', 'corp/a/', false],
      ['corp/a', 'corp/./a', false],
      ['corp/a/*', 'corp/a/../b', true],
      ['corp/a/*', 'corp/ab', false],
      ['*', 'corp/a', false],
      ['*/a', 'corp/a', false],
    ]
    for (const [pattern, name, is] of names) assert.equal(matchesName(pattern, name), is, `${pattern} ${name}`)
    assert.equal(matchesRole(`${arn}/*`, `${arn}/`), false)
    assert.equal(matchesRole(`${arn}/*`, `${arn}/a/b`), false)
    assert.equal(matchesRole(`${arn}/*`, `${arn}s/a`), false)
  })

  it('is a fault where it could never be anybody, at its place', () => {
    const at = (subject: object, words: RegExp, ...others: string[]): void => {
      const told = refusal(rule(subject as Subject), ...(others.length === 0 ? [corp, cloud] : others))
      assert.match(told, words)
      assert.match(told, /^p\.yaml:1:\d+: /)
    }
    at({ person: 'crop/alice' }, /unknown identity provider "crop", did you mean "corp"/)
    at({ group: 'crop/analysts' }, /unknown identity provider "crop", did you mean "corp"/)
    at({ person: 'alice' }, /names no person of an identity provider; write corp\/alice/)
    at({ group: 'corp/' }, /names no group of an identity provider/)
    at({ person: 'corp/al*' }, /"\*" stands for one whole segment.*write corp\/\*/)
    at({ person: '*/alice' }, /"\*" is no name of an identity provider, which is always literal/)
    at({ person: 'co*/alice' }, /always literal/)
    at({ person: 'corp/a\u0000' }, /characters that no name has/)
    at({ person: 'spiffe://td/user/corp/alice' }, /is a SPIFFE id; write it as spiffeId/)
    at({ role: `${arn}/team/etl` }, /known without its path; write arn:aws:iam::123456789012:role\/etl/)
    at({ role: 'arn:aws:sts::123456789012:assumed-role/etl/session' }, /write arn:aws:iam::123456789012:role\/etl/)
    at({ role: `${arn}/et*` }, /is not the ARN of a role/)
    at({ role: 'arn:aws:iam::*:role/etl' }, /is not the ARN of a role/)
    at({ role: `${arn}/etl` }, /roles come from a document of kind IdentityProvider of type aws/, corp)
    at({ group: 'corp/analysts' }, /groups come from a document of kind IdentityProvider/, rule({ person: 'corp/a' }))
    at({ persons: 'corp/alice' }, /unknown key "persons", did you mean "person"/)
    at({}, /the subject names nobody; add one of spiffeId, person, group, role/)
    // A person may have a certificate and no provider.
    assert.equal(refusal(rule({ person: 'corp/alice' })), '')
    assert.equal(refusal(rule({ person: 'corp/alice' }), corp), '')
  })

  it('says nothing of providers while one of the documents cannot be read', () => {
    const broken = corp.replace('"type":"oidc"', '"typo":"oidc"')
    assert.doesNotMatch(
      refusal(rule({ group: 'corp/analysts' }, { when: { claims: { acr: 'x' } } }), broken),
      /unknown (claim|identity provider)/,
    )
  })
})

describe('when: {claims}', () => {
  const read = 'SELECT a FROM ks.t WHERE id = 1'
  const engine = (claims: object, more: object = {}) =>
    engineOf(rule({ person: 'corp/*' }, { when: { claims }, ...more }), corp)
  const table: readonly (readonly [wanted: object, claims: Principal['claims'], holds: boolean])[] = [
    [{ acr: 'mfa' }, { acr: 'mfa' }, true],
    [{ acr: 'mfa' }, { acr: 'pwd' }, false],
    [{ acr: 'mfa' }, {}, false],
    [{ acr: 'mfa' }, undefined, false],
    [{ acr: 'mfa' }, { acr: null }, false],
    [{ acr: 'mfa' }, { acr: { mfa: 'mfa' } }, false],
    [{ acr: 'mfa' }, { acr: ['pwd', 'mfa'] }, true],
    [{ acr: 'mfa' }, { acr: [['mfa']] }, false],
    [{ amr: ['mfa', 'hwk'] }, { amr: ['hwk'] }, true],
    [{ amr: ['mfa', 'hwk'] }, { amr: ['pwd'] }, false],
    [{ amr: ['mfa'] }, { amr: 'mfa' }, true],
    [{ amr: ['mfa'] }, { amr: [] }, false],
    [{ acr: 2 }, { acr: 2 }, true],
    [{ acr: '2' }, { acr: 2 }, true],
    [{ acr: true }, { acr: true }, true],
    [{ acr: true }, { acr: false }, false],
    [{ acr: 'mfa', amr: 'hwk' }, { acr: 'mfa', amr: 'hwk' }, true],
    [{ acr: 'mfa', amr: 'hwk' }, { acr: 'mfa' }, false],
  ]
  it('holds where each claim that is asked for has one of the values', () => {
    for (const [wanted, claims, holds] of table) {
      const said = `${JSON.stringify(wanted)} of ${JSON.stringify(claims)}`
      assert.equal(verdict(engine(wanted), read, { as: { ...alice, claims } }), holds ? '+p' : '-default-deny', said)
      const all = access('all', { subjects: [{ person: 'corp/*' }], keyspaces: ['ks'], operations: ['READ'] })
      const denied = engineOf(all, rule({ person: 'corp/*' }, { effect: 'deny', when: { claims: wanted } }), corp)
      assert.equal(verdict(denied, read, { as: { ...alice, claims } }), holds ? '-p' : '+all', said)
    }
  })

  it('is one answer for each set of claims, whoever asked before', () => {
    const one = engine({ acr: 'mfa' })
    for (let round = 0; round < 2; round++) {
      assert.equal(verdict(one, read, { as: { ...alice, claims: { acr: 'mfa' } } }), '+p')
      assert.equal(verdict(one, read, { as: { ...alice, claims: { acr: 'pwd' } } }), '-default-deny')
    }
  })

  it('asks for nothing of each request, and hides what a deny hides', () => {
    assert.equal(engine({ acr: 'mfa' }).isContextual({ ...alice, claims: { acr: 'mfa' } }), false)
    const all = access('all', { subjects: [{ person: 'corp/*' }], keyspaces: ['ks'], operations: ['ALL'] })
    const weak = rule({ person: 'corp/*' }, { effect: 'deny', operations: ['ALL'], when: { claims: { acr: 'pwd' } } })
    const denying = engineOf(all, weak, corp)
    assert.equal(denying.visibility({ ...alice, claims: { acr: 'pwd' } }).table('ks', 't'), false)
    assert.equal(denying.visibility({ ...alice, claims: { acr: 'mfa' } }).table('ks', 't'), true)
  })

  it('is a fault where no provider gives the claim to policy', () => {
    const told = refusal(rule({ person: 'corp/*' }, { when: { claims: { acrr: 'mfa' } } }), corp)
    assert.match(told, /^p\.yaml:1:\d+: .*unknown claim "acrr", did you mean "acr".*claims\.forPolicy/)
    assert.match(refusal(rule({ person: 'corp/*' }, { when: { claims: { acr: 'mfa' } } })), /unknown claim "acr"/)
    assert.match(refusal(rule({ person: 'corp/*' }, { when: { claims: {} } }), corp), /"claims" is empty/)
    assert.match(refusal(rule({ person: 'corp/*' }, { when: { claims: { acr: [] } } }), corp), /never do anything/)
  })
})
