import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { refusalOf } from '../refusal.fixture.ts'
import { stsHosts } from './hosts.ts'
import { passwordOf, queryWith, serverId, signedMs, urlWith } from './presigned.fixture.ts'
import {
  isPresigned,
  knownBy,
  type Presigned,
  type PresignedCheck,
  presignedPrefix,
  readPresigned,
} from './presigned.ts'

const usual: PresignedCheck = { serverId, hosts: stsHosts('aws'), nowMs: signedMs + 1000, leewayMs: 30_000 }

function read(url: string, check: Partial<PresignedCheck> = {}): Presigned {
  return readPresigned(passwordOf(url), { ...usual, ...check })
}

function why(run: () => unknown): string {
  const refusal = refusalOf(run)
  if (refusal === undefined) return 'accepted'
  assert.equal(refusal.code, 'IDENTITY')
  for (const secret of ['IQoJ', 'ASIAQ', '0f0f']) assert.ok(!`${refusal.message} ${refusal.words}`.includes(secret))
  return refusal.why
}

describe('a pre-signed GetCallerIdentity', () => {
  it('is made anew of its parts', () => {
    const { request, endMs } = read(urlWith())
    assert.deepEqual(request, {
      host: 'sts.eu-central-1.amazonaws.com',
      path: `/?${queryWith({ 'X-Amz-Signature': undefined, 'X-Amz-SignedHeaders': undefined })}&X-Amz-SignedHeaders=host%3Bx-ringfence-server&X-Amz-Signature=${'0f'.repeat(32)}`,
      headers: {
        host: 'sts.eu-central-1.amazonaws.com',
        'x-ringfence-server': serverId,
        accept: 'application/json',
      },
    })
    assert.equal(endMs, signedMs + 15 * 60_000)
  })

  it('is one request however it is written, and another for another server id', () => {
    const [, query = ''] = urlWith().split('?')
    const turned = `https://sts.eu-central-1.amazonaws.com/?${query.split('&').reverse().join('&')}`
    const escaped = urlWith().replace('GetCallerIdentity', '%47et%43allerIdentity').replaceAll('%3B', '%3b')
    for (const url of [turned, escaped]) assert.deepEqual(read(url), read(urlWith()))
    assert.notEqual(read(urlWith(), { serverId: 'other' }).key, read(urlWith()).key)
    assert.notEqual(read(urlWith({ 'X-Amz-Expires': '60' })).key, read(urlWith()).key)
  })

  it('is known by its signature, in whatever order and with whatever escapes it is written', () => {
    const [start, query = ''] = urlWith().split('?')
    const pairs = query.split('&')
    for (let turn = 0; turn < pairs.length; turn++) {
      const turned = `${start}?${[...pairs.slice(turn), ...pairs.slice(0, turn)].join('&')}`
      for (const url of [
        turned,
        turned.replace('X-Amz-Signature=0f', 'X-Amz-Signature=%30%66'),
        turned.replaceAll('%2F', '%2f'),
      ]) {
        assert.equal(
          why(() => read(url)),
          'accepted',
        )
        assert.equal(knownBy(passwordOf(url)), '0f'.repeat(32))
      }
    }
    assert.equal(knownBy(passwordOf(urlWith({ 'X-Amz-Signature': 'ab'.repeat(32) }))), 'ab'.repeat(32))
    // What is refused is known by all of it, unless it has one signature.
    const refused = [
      urlWith({ 'X-Amz-Signature': undefined }),
      urlWith({ 'X-Amz-Signature': '0F'.repeat(32) }),
      `${urlWith()}&X-Amz-Signature=${'ab'.repeat(32)}`,
      `http${urlWith().slice(5)}`,
      `${urlWith()}#x`,
    ]
    for (const url of refused) assert.equal(knownBy(passwordOf(url)), passwordOf(url), url)
    const long = passwordOf(urlWith({ 'X-Amz-Security-Token': 'a'.repeat(4096) }))
    assert.equal(knownBy(long), long)
  })

  it('is taken of a long-lived key, of each host of the partition, and of a region that is configured', () => {
    assert.equal(
      why(() => read(urlWith({ 'X-Amz-Security-Token': undefined }))),
      'accepted',
    )
    for (const [host, region] of stsHosts('aws')) {
      const credential = `AKIAEXAMPLEEXAMPLE00/20261129/${region}/sts/aws4_request`
      assert.equal(
        why(() => read(urlWith({ 'X-Amz-Credential': credential }, host))),
        'accepted',
        host,
      )
    }
    const credential = 'AKIAEXAMPLEEXAMPLE00/20261129/eu-future-1/sts/aws4_request'
    const url = urlWith({ 'X-Amz-Credential': credential }, 'sts.eu-future-1.amazonaws.com')
    assert.equal(
      why(() => read(url)),
      'malformed',
    )
    assert.equal(
      why(() => read(url, { hosts: stsHosts('aws', ['eu-future-1']) })),
      'accepted',
    )
  })

  it('lives 15 minutes from its date, whatever it says of its end', () => {
    for (const expires of ['1', '60', '900', '604800']) {
      const url = urlWith({ 'X-Amz-Expires': expires })
      assert.equal(read(url).endMs, signedMs + 900_000)
      assert.equal(
        why(() => read(url, { nowMs: signedMs + 899_999 })),
        'accepted',
      )
      assert.equal(
        why(() => read(url, { nowMs: signedMs + 900_000 })),
        'expired',
      )
      assert.equal(
        why(() => read(url, { nowMs: signedMs - 30_000 })),
        'accepted',
      )
      assert.equal(
        why(() => read(url, { nowMs: signedMs - 30_001 })),
        'not-yet-valid',
      )
    }
  })

  it('is at most 4,096 bytes long', () => {
    const token = (length: number): string => urlWith({ 'X-Amz-Security-Token': 'a'.repeat(length) })
    const rest = passwordOf(token(1)).length
    const fits = Math.floor(((4096 - rest) * 3) / 4)
    assert.equal(
      why(() => read(token(fits))),
      'accepted',
    )
    assert.equal(
      why(() => read(token(fits + 4))),
      'too-long',
    )
    assert.equal(
      why(() => readPresigned(presignedPrefix + 'a'.repeat(64 * 1024), usual)),
      'too-long',
    )
  })

  it('names STS by a host of the list, and by nothing else', () => {
    const query = queryWith()
    const elsewhere = [
      ...[
        'sts.eu-central-1.amazonaws.com.example.com',
        'sts.eu-central-1.amazonaws.com.',
        'STS.eu-central-1.amazonaws.com',
      ],
      ...[
        'example.com',
        'localhost',
        '127.0.0.1',
        '169.254.169.254',
        '[::1]',
        '2852039166',
        '0x7f.1',
        'xn--sts-9la.amazonaws.com',
      ],
      ...[
        'sts.eu-central-1.amazonaws.com:443',
        'sts.eu-central-1.amazonaws.com:8443',
        'sts.nowhere-central-1.amazonaws.com',
      ],
      ...[
        'a@sts.eu-central-1.amazonaws.com',
        'sts.eu-central-1.amazonaws.com@example.com',
        'a:b@sts.eu-central-1.amazonaws.com',
      ],
      ...[
        'example.com#.sts.eu-central-1.amazonaws.com',
        'example.com\\.sts.eu-central-1.amazonaws.com',
        'iam.amazonaws.com',
      ],
      ...['sts.cn-north-1.amazonaws.com.cn', 'sts.us-gov-west-1.amazonaws.com', 's3.eu-central-1.amazonaws.com', ''],
      ...[
        'sts.eu-central-1.amazonaws.com\t',
        'sts.eu-central-1.amazonaws.com\n',
        'ｓts.eu-central-1.amazonaws.com',
        'sts.eu-central-1.amazonaws%2ecom',
      ],
    ]
    for (const host of elsewhere)
      assert.equal(
        why(() => read(`https://${host}/?${query}`)),
        'malformed',
        host,
      )
    const forms = [
      `http://sts.eu-central-1.amazonaws.com/?${query}`,
      `HTTPS://sts.eu-central-1.amazonaws.com/?${query}`,
      `//sts.eu-central-1.amazonaws.com/?${query}`,
      `file:///etc/passwd?${query}`,
      `https:/sts.eu-central-1.amazonaws.com/?${query}`,
      `https:\\\\sts.eu-central-1.amazonaws.com/?${query}`,
      ...['//', '/a', '/..', '/./', '', '/%2f', '/;a'].map(
        (path) => `https://sts.eu-central-1.amazonaws.com${path}?${query}`,
      ),
      ` ${urlWith()}`,
      `${urlWith()} `,
      `${urlWith()}#fragment`,
      `${urlWith()}?Action=GetCallerIdentity`,
      `${urlWith()}\r\nHost: example.com`,
      'https://sts.eu-central-1.amazonaws.com/?',
      'https://sts.eu-central-1.amazonaws.com/',
      '',
    ]
    for (const url of forms)
      assert.equal(
        why(() => read(url)),
        'malformed',
        url,
      )
  })

  it('has each parameter once, and none that is not on the list', () => {
    const more = (text: string): string => `${urlWith()}&${text}`
    const urls = [
      ...['Action=GetCallerIdentity', 'X-Amz-Date=20261129T120000Z', 'X-Amz-Signature=ff', 'Action='].map(more),
      ...['action=AssumeRole', 'x-amz-date=20261129T120000Z', 'X-AMZ-EXPIRES=1', '%41ction=GetCallerIdentity'].map(
        more,
      ),
      ...[
        'RoleArn=a',
        'Policy=a',
        'DurationSeconds=900',
        'X-Amz-User-Agent=a',
        'X-Amz-Content-Sha256=a',
        'ContentType=JSON',
      ].map(more),
      ...[
        '',
        'a',
        '=',
        '=a',
        'a=',
        'constructor=a',
        '__proto__=a',
        'X-Amz-Expires=1=2',
        'X-Amz-Expires',
        'a;b=c',
        'a+b=c',
      ].map(more),
      ...['%', '%4', '%zz=1', 'a=%0d%0a', 'a=%00', 'ä=1'].map(more),
      `https://sts.eu-central-1.amazonaws.com/?&${queryWith()}`,
      urlWith().replace('&', '&&'),
    ]
    for (const url of urls)
      assert.equal(
        why(() => read(url)),
        'malformed',
        url,
      )
  })

  it('has each parameter as it must be', () => {
    const credential = (parts: string): string => `ASIAQEXAMPLEEXAMPLE0/${parts}`
    const wrong: Readonly<Record<string, readonly (string | undefined)[]>> = {
      Action: [
        undefined,
        '',
        'AssumeRole',
        'getcalleridentity',
        'GetCallerIdentity ',
        'GetSessionToken',
        'GetCallerIdentity&Action=AssumeRole',
      ],
      Version: [undefined, '', '2011-06-16'],
      'X-Amz-Algorithm': [undefined, '', 'AWS4-ECDSA-P256-SHA256', 'AWS3', 'aws4-hmac-sha256'],
      'X-Amz-Credential': [
        undefined,
        '',
        ...[
          '20261129/eu-central-1/s3/aws4_request',
          '20261129/us-east-1/sts/aws4_request',
          '20261129/eu-central-1/sts/aws4',
        ].map(credential),
        ...[
          '20261128/eu-central-1/sts/aws4_request',
          '20261129/eu-central-1/sts/aws4_request/a',
          '20261129//sts/aws4_request',
        ].map(credential),
        'ab/20261129/eu-central-1/sts/aws4_request',
        '../../20261129/eu-central-1/sts/aws4_request',
      ],
      'X-Amz-Date': [
        undefined,
        '',
        '20261129',
        '20261129T120000',
        '2026-11-29T12:00:00Z',
        '20261329T120000Z',
        '20261129T250000Z',
        '20261129T120060Z',
        '20261129T120000Z ',
      ],
      'X-Amz-Expires': [undefined, '', '-1', '1e3', 'a', '9007199254740993', '0x10', ' 1'],
      'X-Amz-Security-Token': ['', 'a b', 'ä', 'a\r\nx: y', 'a"'],
      'X-Amz-SignedHeaders': [
        undefined,
        '',
        'host',
        'x-ringfence-server',
        'x-ringfence-server;host',
        'host;x-ringfence-server;x-more',
        'Host;X-Ringfence-Server',
        'host;x-k8s-aws-id',
        'content-type;host;x-ringfence-server',
      ],
      'X-Amz-Signature': [undefined, '', '0f'.repeat(31), '0f'.repeat(33), '0F'.repeat(32), 'zz'.repeat(32)],
    }
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values)
        assert.equal(
          why(() => read(urlWith({ [name]: value }))),
          'malformed',
          `${name} ${value}`,
        )
    }
    const february = {
      'X-Amz-Date': '20260230T120000Z',
      'X-Amz-Credential': credential('20260230/eu-central-1/sts/aws4_request'),
    }
    assert.equal(
      why(() => read(urlWith(february))),
      'malformed',
    )
  })

  it('is base64url in the one way in which it can be written', () => {
    const good = passwordOf(urlWith())
    assert.equal(isPresigned(good), true)
    const body = good.slice(presignedPrefix.length)
    const padded = [
      ...[
        `${body}=`,
        `${body}==`,
        ` ${body}`,
        `${body}\n`,
        `${body}.`,
        body.slice(0, -1),
        '',
        `${body.slice(0, 8)}*${body.slice(8)}`,
      ],
    ]
    for (const text of padded)
      assert.equal(
        why(() => readPresigned(presignedPrefix + text, usual)),
        'malformed',
        text,
      )
    for (const text of [body, `k8s-aws-v1.${body}`, `AWS-STS-V1.${body}`]) {
      assert.equal(isPresigned(text), false)
      assert.equal(
        why(() => readPresigned(text, usual)),
        'malformed',
      )
    }
  })
})
