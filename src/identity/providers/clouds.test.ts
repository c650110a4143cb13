import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadPolicy } from '../../policy/load.ts'

/** What is wrong with a policy of these providers; `''` where nothing is. */
function faultOf(...specs: readonly string[]): string {
  const text = specs
    .map(
      (spec, index) =>
        `apiVersion: ringfence.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: p${index} }\nspec: ${spec}\n`,
    )
    .join('---\n')
  try {
    loadPolicy(text, 'policy.yaml')
  } catch (reason) {
    return reason instanceof Error ? reason.message : String(reason)
  }
  return ''
}

const aws = (more = ''): string => `{ type: aws, issuer: "https://a.tokens.sts.global.api.aws", audiences: [r]${more} }`
const sts = (more = ''): string => `{ type: aws-sts, serverId: mesh, accounts: ["123456789012"]${more} }`
const kubernetes = (more = ''): string =>
  `{ type: kubernetes, issuer: "https://cluster.example.com", audiences: [r]${more} }`
const spiffe = (more = '', jwks = 'https://spire.example.com'): string =>
  `{ type: spiffe, trustDomain: partner.example, audiences: [r], jwks: "${jwks}"${more} }`

describe('providers of workloads', () => {
  it('are taken, each beside the others', () => {
    assert.equal(faultOf(aws(), sts(), kubernetes(), spiffe()), '')
    assert.equal(
      faultOf(aws(', accounts: ["123456789012"], organizations: [o-abc1234567], claims: { forPolicy: [org_id] }')),
      '',
    )
    assert.equal(faultOf(sts(), sts(', partition: aws-cn, regions: [cn-north-1], allowPrivate: true, leeway: 0s')), '')
    assert.equal(faultOf(kubernetes(', tokenReview: true, namespaces: [shop]')), '')
    assert.equal(faultOf(kubernetes(', jwks: "https://10.96.0.1/openid/v1/jwks", allowPrivate: true')), '')
    assert.equal(faultOf(spiffe(', algorithms: [PS512, ES384]')), '')
  })

  it('that say what can’t be are refused where it stands', () => {
    const faults: readonly (readonly [string, RegExp])[] = [
      [faultOf(aws(', accounts: ["12345"]')), /^policy\.yaml:4:\d+: .*12 digits/],
      [faultOf(aws(', accounts: []')), /empty/],
      [faultOf(aws(', organizations: [abc]')), /organization such as o-abc1234567/],
      [faultOf(aws(', algorithms: [HS256]')), /algorithms/],
      [faultOf(aws(', claims: { person: sub }')), /person/],
      [faultOf('{ type: aws, issuer: "http://a.example.com", audiences: [r] }'), /^policy\.yaml:4:\d+: .*https/],
      [faultOf(aws(', jwks: "http://169.254.169.254/"')), /^policy\.yaml:4:\d+: .*https/],
      [faultOf('{ type: aws-sts, serverId: mesh }'), /accounts/],
      [faultOf('{ type: aws-sts, accounts: ["123456789012"] }'), /serverId/],
      [faultOf('{ type: aws-sts, serverId: "a b", accounts: ["123456789012"] }'), /serverId/],
      [faultOf('{ type: aws-sts, serverId: "", accounts: ["123456789012"] }'), /serverId/],
      [faultOf('{ type: aws-sts, serverId: mesh, accounts: [123456789012] }'), /accounts/],
      [faultOf(sts(', partition: aws-iso')), /partition/],
      [faultOf(sts(', regions: [example.com]')), /not a region of the partition aws/],
      [faultOf(sts(', regions: [cn-north-1]')), /not a region of the partition aws/],
      [faultOf(sts(', audiences: [r]')), /audiences/],
      [faultOf(sts(', leeway: 5m')), /at most 60s/],
      [faultOf(sts(), sts()), /aws STS|issuer is that of/],
      [faultOf(kubernetes(), kubernetes()), /issuer is that of the IdentityProvider p0/],
      [
        faultOf(kubernetes(', tokenReview: true, jwks: "https://a.example.com"')),
        /"jwks" and "tokenReview" exclude each other/,
      ],
      [faultOf('{ type: kubernetes, issuer: kubernetes/serviceaccount, audiences: [r] }'), /not a URL/],
      [faultOf(spiffe('', 'http://spire.example.com')), /^policy\.yaml:4:\d+: .*https/],
      [faultOf(spiffe(), spiffe()), /is that of the IdentityProvider p0/],
      [faultOf(spiffe(', algorithms: [EdDSA]')), /algorithms/],
      [
        faultOf(
          '{ type: spiffe, trustDomain: "spiffe://partner.example", audiences: [r], jwks: "https://a.example.com" }',
        ),
        /trustDomain/,
      ],
      [
        faultOf('{ type: spiffe, trustDomain: Partner.example, audiences: [r], jwks: "https://a.example.com" }'),
        /trustDomain/,
      ],
      [faultOf('{ type: spiffe, trustDomain: partner.example, audiences: [r] }'), /jwks/],
      [faultOf('{ type: spiffe, trustDomain: partner.example, jwks: "https://a.example.com" }'), /audiences/],
    ]
    for (const [fault, words] of faults) assert.match(fault, words)
  })
})
