import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { why } from '../refusal.fixture.ts'
import { awsClaimsName, webIdentityOf } from './web-identity.ts'

const claims = { aws_account: '123456789012', org_id: 'o-abc1234567', principal_tags: { team: 'data' } }
const payload = { sub: 'arn:aws:iam::123456789012:role/etl', [awsClaimsName]: claims }

describe('a token of GetWebIdentityToken', () => {
  it('names a role, with what AWS says of it', () => {
    const { principal, claims: said } = webIdentityOf(payload, {})
    assert.equal(principal.arn, 'arn:aws:iam::123456789012:role/etl')
    assert.deepEqual(said, claims)
    assert.equal(webIdentityOf({ ...payload, sub: 'arn:aws:iam::123456789012:user/alice' }, {}).principal.kind, 'user')
  })

  it('is of an account and organization that may log in here', () => {
    assert.equal(
      why(() => webIdentityOf(payload, { accounts: ['123456789012'], organizations: ['o-abc1234567'] })),
      'accepted',
    )
    assert.equal(
      why(() => webIdentityOf(payload, { accounts: ['210987654321'] })),
      'account',
    )
    assert.equal(
      why(() => webIdentityOf(payload, { organizations: ['o-other00000'] })),
      'account',
    )
    const without = { ...payload, [awsClaimsName]: { aws_account: '123456789012' } }
    assert.equal(
      why(() => webIdentityOf(without, { organizations: [''] })),
      'account',
    )
  })

  it('says one thing only', () => {
    const others: readonly (readonly [unknown, string])[] = [
      [{ ...payload, sub: 'arn:aws:iam::210987654321:role/etl' }, 'malformed'],
      [{ ...payload, [awsClaimsName]: undefined }, 'malformed'],
      [{ ...payload, [awsClaimsName]: [claims] }, 'malformed'],
      [{ ...payload, [awsClaimsName]: { ...claims, aws_account: 123456789012 } }, 'malformed'],
      [{ ...payload, sub: ['arn:aws:iam::123456789012:role/etl'] }, 'malformed'],
      [{ [awsClaimsName]: claims }, 'malformed'],
      [null, 'malformed'],
      [{ ...payload, sub: 'alice' }, 'claims'],
      [{ ...payload, sub: 'arn:aws:iam::123456789012:root' }, 'claims'],
      [{ ...payload, sub: 'arn:aws:sts::123456789012:federated-user/a' }, 'claims'],
    ]
    for (const [other, cause] of others)
      assert.equal(
        why(() => webIdentityOf(other, {})),
        cause,
        JSON.stringify(other),
      )
  })
})
