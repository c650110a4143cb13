import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { awsPrincipalOf, awsSubject } from './arn.ts'
import { isAwsRegion, stsHosts } from './hosts.ts'

describe('an ARN', () => {
  it('of a role, of its sessions and of its path is one', () => {
    const forms = {
      'arn:aws:iam::123456789012:role/etl': 'arn:aws:iam::123456789012:role/etl',
      'arn:aws:sts::123456789012:assumed-role/etl/i-0123456789abcdef0': 'arn:aws:iam::123456789012:role/etl',
      'arn:aws:sts::123456789012:assumed-role/etl/alice@example.com': 'arn:aws:iam::123456789012:role/etl',
      'arn:aws:iam::123456789012:role/team/data/etl': 'arn:aws:iam::123456789012:role/etl',
      'arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Ops_0a1b':
        'arn:aws:iam::123456789012:role/AWSReservedSSO_Ops_0a1b',
      'arn:aws:iam::123456789012:user/alice': 'arn:aws:iam::123456789012:user/alice',
      'arn:aws:iam::123456789012:user/people/alice': 'arn:aws:iam::123456789012:user/alice',
      'arn:aws-cn:sts::123456789012:assumed-role/etl/s': 'arn:aws-cn:iam::123456789012:role/etl',
      'arn:aws-us-gov:iam::123456789012:role/etl': 'arn:aws-us-gov:iam::123456789012:role/etl',
    }
    for (const [text, canonical] of Object.entries(forms)) assert.equal(awsPrincipalOf(text)?.arn, canonical, text)
  })

  it('of anything else is none', () => {
    const others = [
      ...[
        '',
        'arn',
        'arn:aws:iam::123456789012:root',
        'arn:aws:sts::123456789012:federated-user/alice',
        'arn:aws:iam::123456789012:group/a',
      ],
      ...[
        'arn:aws:sts::123456789012:user/moto',
        'arn:aws:sts::123456789012:role/etl',
        'arn:aws:iam::123456789012:assumed-role/etl/s',
      ],
      ...[
        'arn:aws:sts::123456789012:assumed-role/etl',
        'arn:aws:sts::123456789012:assumed-role/etl/',
        'arn:aws:sts::123456789012:assumed-role/a/etl/s',
      ],
      ...[
        'arn:aws:iam::123456789012:role/',
        'arn:aws:iam::123456789012:role//etl',
        'arn:aws:iam::123456789012:role',
        'arn:aws:iam::12345678901:role/etl',
      ],
      ...[
        'arn:aws:iam:eu-west-1:123456789012:role/etl',
        'arn:AWS:iam::123456789012:role/etl',
        'arn:aws-iso:iam::123456789012:role/etl',
      ],
      ...[
        ' arn:aws:iam::123456789012:role/etl',
        'arn:aws:iam::123456789012:role/etl\n',
        'arn:aws:iam::123456789012:role/e*',
        'arn:aws:iam::123456789012:role/ä',
      ],
      `arn:aws:iam::123456789012:role/${'a'.repeat(65)}`,
    ]
    for (const text of others) assert.equal(awsPrincipalOf(text), undefined, text)
  })

  it('is a SPIFFE id of the trust domain, another for each', () => {
    const arns = ['aws', 'aws-cn'].flatMap((partition) =>
      ['111111111111', '222222222222'].flatMap((account) =>
        ['role/etl', 'user/etl', 'role/a@b', 'role/a_x40b', 'role/a.b', 'role/..'].map(
          (what) => `arn:${partition}:iam::${account}:${what}`,
        ),
      ),
    )
    const ids = arns.map((arn) => awsSubject(awsPrincipalOf(arn)!, 'demo.local'))
    assert.equal(new Set(ids).size, arns.length)
    assert.deepEqual(ids.slice(0, 3), [
      'spiffe://demo.local/aws/111111111111/role/etl',
      'spiffe://demo.local/aws/111111111111/user/etl',
      'spiffe://demo.local/aws/111111111111/role/a_x40b',
    ])
    assert.ok(ids.includes(ids.find((id) => id.startsWith('spiffe://demo.local/aws-cn/222222222222/role/'))!))
  })
})

describe('the hosts of STS', () => {
  it('are those of one partition', () => {
    const all = (['aws', 'aws-cn', 'aws-us-gov'] as const).map((partition) => stsHosts(partition))
    const [aws, china, government] = all
    assert.equal(aws?.get('sts.amazonaws.com'), 'us-east-1')
    assert.equal(aws?.get('sts.eu-west-1.amazonaws.com'), 'eu-west-1')
    assert.equal(aws?.get('sts.eu-west-1.api.aws'), 'eu-west-1')
    assert.equal(china?.get('sts.cn-north-1.amazonaws.com.cn'), 'cn-north-1')
    assert.equal(government?.get('sts.us-gov-west-1.amazonaws.com'), 'us-gov-west-1')
    const hosts = all.flatMap((one) => [...one.keys()])
    assert.equal(new Set(hosts).size, hosts.length)
    for (const host of hosts)
      assert.match(
        host,
        /^sts(-fips)?\.([a-z0-9-]+\.)?(amazonaws\.com|api\.aws|amazonaws\.com\.cn|api\.amazonwebservices\.com\.cn)$/,
      )
    assert.deepEqual([...stsHosts('aws', ['eu-west-1']).values()], Array(4).fill('eu-west-1'))
  })

  it('are of regions that look like those of the partition', () => {
    for (const region of stsHosts('aws').values()) assert.ok(isAwsRegion('aws', region), region)
    for (const region of [
      'cn-north-1',
      'us-gov-west-1',
      'eu-west-1.example.com',
      'eu-west-1/',
      '',
      'EU-WEST-1',
      'example.com#',
      'a',
    ]) {
      assert.equal(isAwsRegion('aws', region), false, region)
    }
    assert.equal(isAwsRegion('aws-us-gov', 'us-gov-east-1'), true)
    assert.equal(isAwsRegion('aws-cn', 'cn-north-1'), true)
  })
})
