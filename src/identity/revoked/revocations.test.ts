import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../../base/errors.ts'
import { limits } from '../../base/limits.ts'
import { presignedPrefix } from '../aws/presigned.ts'
import { makeKey, signed } from '../jwt/tokens.fixture.ts'
import { parseRevoked, type Revocation, type RevokedKind, revokedKinds } from './revocation.ts'
import { type CallerFacts, Revocations } from './revocations.ts'

const sha = (digit: string): string => digit.repeat(64)
const alice: CallerFacts = {
  subject: 'spiffe://td/svc/web',
  person: 'corp/alice',
  gateway: 'spiffe://td/ringfence/gateway/g1',
  certificate: { serial: '4A01', key: sha('b'), authority: 'ab'.repeat(20) },
  token: { provider: 'corp', id: 'jti-1', hash: sha('c'), key: 'k1' },
}
let ids = 0
const one = (kind: RevokedKind, value: string, more: Partial<Revocation> = {}): Revocation => ({
  id: ++ids,
  kind,
  value,
  ...more,
})

/** What means Alice, and beside each its nearest neighbours, which do not. */
const cases: readonly (readonly [Revocation, readonly Revocation[]])[] = [
  [
    one('id', 'spiffe://td/svc/web'),
    [one('id', 'spiffe://td/svc/we'), one('id', 'spiffe://td/svc/web2'), one('id', 'spiffe://td/svc/web/a')],
  ],
  [
    one('id', 'spiffe://td/svc/*'),
    [one('id', 'spiffe://td/sv/*'), one('id', 'spiffe://other/svc/*'), one('id', 'spiffe://td/svc/web/*')],
  ],
  [one('id', 'spiffe://td/*/web'), [one('id', 'spiffe://td/*/we'), one('id', 'spiffe://td/*/*/web')]],
  [one('id', 'spiffe://td/user/corp/*'), [one('id', 'spiffe://td/user/cor/*'), one('id', 'spiffe://td/user/corp/*/x')]],
  [
    one('id', 'spiffe://td/ringfence/gateway/g1'),
    [one('id', 'spiffe://td/ringfence/gateway/g2'), one('id', 'spiffe://td/ringfence/sidecar/g1')],
  ],
  [
    one('person', 'corp/alice'),
    [one('person', 'corp/Alice'), one('person', 'corp/alic'), one('person', 'other/alice')],
  ],
  [
    one('one-certificate', '4A01'),
    [one('one-certificate', '4A02'), one('one-certificate', '04A01'), one('key', '4A01')],
  ],
  [one('key', sha('b')), [one('key', sha('c')), one('one-certificate', sha('b'))]],
  [
    one('one-token', 'jti-1'),
    [one('one-token', 'jti-2'), one('one-token', 'jti-1', { provider: 'other' }), one('person', 'jti-1')],
  ],
  [one('one-token', 'jti-1', { provider: 'corp' }), [one('one-token', 'jti-', { provider: 'corp' })]],
  [one('one-token', sha('c')), [one('one-token', sha('d')), one('one-certificate', sha('c'))]],
  [one('authority', 'ab'.repeat(20)), [one('authority', 'ac'.repeat(20)), one('key', 'ab'.repeat(20))]],
  [
    one('issuer-key', 'k1', { provider: 'corp' }),
    [
      one('issuer-key', 'k2', { provider: 'corp' }),
      one('issuer-key', 'k1', { provider: 'other' }),
      one('one-token', 'k1', { provider: 'corp' }),
    ],
  ],
]

describe('whom a revocation means', () => {
  for (const [meant, neighbours] of cases) {
    it(`${meant.kind} ${meant.value.slice(0, 40)} ${meant.provider ?? ''}: who it names, and no neighbour`, () => {
      assert.equal(Revocations.of([meant]).find(alice, 0), meant)
      assert.equal(Revocations.of(neighbours).find(alice, 0), undefined)
      assert.equal(Revocations.of([...neighbours, meant]).find(alice, 0)?.id, meant.id)
    })
  }

  it('is nobody who has nothing of it', () => {
    const all = Revocations.of(cases.map(([meant]) => meant))
    const carol: CallerFacts = {
      subject: 'spiffe://td/job/nightly',
      certificate: { serial: '4A77', key: sha('f'), authority: 'cd'.repeat(20) },
    }
    assert.equal(all.find(carol, 0), undefined)
    assert.equal(all.find({ ...carol, token: { id: 'jti-9', hash: sha('9') } }, 0), undefined)
    // Names that every object has.
    for (const name of ['constructor', '__proto__', 'toString'])
      assert.equal(
        all.find({ subject: name, person: name, token: { id: name, provider: name, key: name } }, 0),
        undefined,
      )
  })

  it('is also who shows a certificate that does not say who signed it, where an authority is meant', () => {
    const silent = { subject: 'spiffe://td/svc/x', certificate: { serial: '4B', key: sha('2') } }
    const authority = one('authority', 'ab'.repeat(20), { untilMs: 5 })
    assert.equal(Revocations.of([authority]).find(silent, 0), authority)
    assert.equal(Revocations.of([authority]).find(silent, 5), undefined, 'it has ended')
    assert.equal(Revocations.of([one('key', sha('3'))]).find(silent, 0), undefined)
    assert.equal(Revocations.of([authority]).find({ subject: silent.subject }, 0), undefined, 'who shows none')
  })

  it('leaves parts of the mesh alone unless a pattern writes their first segment', () => {
    const parts = ['ringfence/sidecar/n1', 'ringfence/gateway/g1', 'ringfence/control-plane/default', 'cassandra/node1']
    for (const path of parts) {
      const caller = { subject: `spiffe://td/${path}` }
      for (const pattern of ['spiffe://td/*', 'spiffe://td/*/*', 'spiffe://td/*/*/*'])
        assert.equal(Revocations.of([one('id', pattern)]).find(caller, 0), undefined, `${pattern} ${path}`)
      const [first] = path.split('/')
      assert.ok(Revocations.of([one('id', `spiffe://td/${first}/*`)]).find(caller, 0))
    }
    assert.ok(Revocations.of([one('id', 'spiffe://td/*')]).find({ subject: 'spiffe://td/svc/a' }, 0))
  })

  it('ends with its time, to the millisecond', () => {
    for (const kind of ['exact', 'pattern'] as const) {
      const value = kind === 'exact' ? alice.subject : 'spiffe://td/svc/*'
      const revocations = Revocations.of([one('id', value, { untilMs: 1_000 })])
      assert.ok(revocations.find(alice, 999), kind)
      assert.equal(revocations.find(alice, 1_000), undefined, kind)
    }
  })
})

describe('the parts of the revocations', () => {
  it('are replaced one by one, and say what was added', () => {
    const revocations = new Revocations()
    const [a, b, c] = [one('person', 'corp/a'), one('person', 'corp/b'), one('id', 'spiffe://td/svc/*')]
    assert.deepEqual(revocations.setPart(1, [a]), [a])
    assert.deepEqual(revocations.setPart(2, [b, c]), [b, c])
    assert.deepEqual(revocations.setPart(1, [{ ...a }]), [], 'the same again')
    assert.equal(revocations.size, 3)
    assert.deepEqual(revocations.setPart(2, [b]), [])
    assert.equal(revocations.find({ subject: 'spiffe://td/svc/x' }, 0), undefined)
    assert.ok(revocations.find({ subject: '', person: 'corp/b' }, 0))
    // A control plane that was restored gives the number to another.
    const other = { ...b, value: 'corp/z' }
    assert.deepEqual(revocations.setPart(2, [other]), [other])
    assert.equal(revocations.find({ subject: '', person: 'corp/b' }, 0), undefined)
    assert.ok(revocations.find({ subject: '', person: 'corp/z' }, 0))
  })

  it('keep one in force that takes the place of another, in whatever order the parts come', () => {
    for (const order of ['new first', 'old first']) {
      const revocations = new Revocations()
      const [before, after] = [one('person', 'corp/a', { untilMs: 5 }), one('person', 'corp/a')]
      revocations.setPart(1, [before])
      if (order === 'new first') {
        revocations.setPart(2, [after])
        revocations.setPart(1, [])
      } else {
        revocations.setPart(1, [])
        revocations.setPart(2, [after])
      }
      assert.equal(revocations.find({ subject: '', person: 'corp/a' }, 10)?.id, after.id, order)
    }
  })
})

describe('100,000 revocations', () => {
  it('are looked through in a part of what a TLS handshake takes, with as many patterns as there may be', () => {
    const kinds: readonly RevokedKind[] = ['id', 'one-certificate', 'key', 'person', 'one-token', 'issuer-key']
    const entries = Array.from({ length: limits.revocationsMax - limits.revocationPatternsMax }, (_, at) =>
      one(kinds[at % kinds.length]!, `value-${at}`, at % kinds.length === 5 ? { provider: 'corp' } : {}),
    )
    const patterns = Array.from({ length: limits.revocationPatternsMax }, (_, at) => one('id', `spiffe://td/p${at}/*`))
    const revocations = new Revocations()
    const parts = Array.from({ length: 64 }, (): Revocation[] => [])
    for (const entry of [...entries, ...patterns]) parts[entry.id % 64]!.push(entry)
    for (const [part, some] of parts.entries()) revocations.setPart(part, some)
    assert.equal(revocations.size, limits.revocationsMax)
    const neighbour = { ...alice, person: 'corp/bob' }
    assert.equal(revocations.find(neighbour, 0), undefined)
    assert.ok(revocations.find({ ...neighbour, person: 'value-3' }, 0))
    let least = Number.POSITIVE_INFINITY
    for (let batch = 0; batch < 30; batch++) {
      const began = performance.now()
      for (let at = 0; at < 100; at++) revocations.find(neighbour, 0)
      least = Math.min(least, performance.now() - began)
    }
    // Some 20 on a machine that has nothing else to do.
    assert.ok(least * 10 < 500, `${(least * 10).toFixed(2)} µs`)
  })
})

describe('what may be revoked', () => {
  const parse = (kind: RevokedKind, text: string, provider?: string) => parseRevoked(kind, text, 'td', provider)

  it('is brought to the one form that is compared', () => {
    assert.deepEqual(parse('id', 'spiffe://td/svc/a'), { kind: 'id', value: 'spiffe://td/svc/a' })
    assert.deepEqual(parse('id', 'spiffe://td/user/corp/a_x40b.c'), { kind: 'person', value: 'corp/a@b.c' })
    assert.deepEqual(parse('one-certificate', '4a:01'), { kind: 'one-certificate', value: '4A01' })
    // As DER has it, with a zero in front where the number would be negative; one that begins with less than 16 keeps its digit.
    for (const text of ['4A01', '004a01', '00:4A:01', '00:00:4a:01'])
      assert.deepEqual(parse('one-certificate', text), { kind: 'one-certificate', value: '4A01' }, text)
    for (const [text, value] of [
      ['00:9a:00', '9A00'],
      ['0A:00', '0A00'],
      ['000A', '0A'],
      ['0a', '0A'],
      ['01', '01'],
      [`00${'f'.repeat(40)}`, 'F'.repeat(40)],
    ] as const)
      assert.deepEqual(parse('one-certificate', text), { kind: 'one-certificate', value }, text)
    assert.deepEqual(parse('key', sha('A')), { kind: 'key', value: sha('a') })
    assert.deepEqual(parse('one-token', sha('C')), { kind: 'one-token', value: sha('c') })
    // Nothing else of a token is changed: an id counts to the letter.
    for (const value of [
      'J',
      'ABC',
      'F'.repeat(63),
      'F'.repeat(65),
      'G'.repeat(64),
      'eyJ',
      'eyJhbGciOiJFUzI1NiJ9',
      'a.b.c',
    ])
      assert.deepEqual(parse('one-token', value), { kind: 'one-token', value })
    assert.deepEqual(parse('one-token', 'x/y'), { kind: 'one-token', value: 'x/y' })
    assert.deepEqual(parse('one-token', 'x', 'corp'), { kind: 'one-token', value: 'x', provider: 'corp' })
    assert.deepEqual(parse('authority', 'ab'.repeat(20)), { kind: 'authority', value: 'ab'.repeat(20) })
    assert.deepEqual(parse('issuer-key', 'k/1', 'corp'), { kind: 'issuer-key', value: 'k/1', provider: 'corp' })
  })

  it('is refused where it can be nobody’s, with what is valid', () => {
    const faults: readonly (readonly [RevokedKind, string, RegExp, string?])[] = [
      ['id', 'svc/a', /not a SPIFFE id/],
      ['id', 'spiffe://td/svc/a*', /not a pattern/],
      ['id', 'spiffe://*/svc/a', /not a pattern/],
      ['id', 'spiffe://td/ringfence/control-plane/default', /cannot be revoked/],
      ['one-certificate', 'xyz', /serial number/],
      ['one-certificate', '4A0', /serial number/],
      ['one-certificate', '00', /serial number/],
      ['one-certificate', '0000', /serial number/],
      ['one-certificate', sha('a'), /not sure by its SHA-256/],
      ['one-certificate', sha('A').replace(/..(?=.)/g, '$&:'), /not sure by its SHA-256/],
      ['key', '4A01', /SHA-256 of its SubjectPublicKeyInfo/],
      ['authority', 'ab', /identifier of its key/],
      ['authority', 'AB'.repeat(20), /identifier of its key/],
      ['person', 'alice', /corp\/alice/],
      ['person', 'corp/', /corp\/alice/],
      ['one-token', 'a\nb', /jti/],
      ['issuer-key', 'k1', /corp\/<kid>/],
      ['person', 'corp/alice', /provider/, 'corp'],
      ['one-token', 'x'.repeat(3_000), /revokedValueCharsMax/],
    ]
    for (const [kind, text, words, provider] of faults) {
      assert.throws(
        () => parse(kind, text, provider),
        (reason: RingfenceError) =>
          reason instanceof RingfenceError && reason.code === 'USAGE' && words.test(reason.message),
        `${kind} ${text.slice(0, 40)}`,
      )
    }
  })

  it('is refused where it is a token itself, of any kind, and the error has nothing of it', () => {
    const jws = signed(makeKey('k'), { sub: 'alice', jti: 'j' })
    const [header, claims, mac] = jws.split('.')
    const secrets = [
      jws,
      ` ${jws}\u00a0`,
      `Bearer ${jws}`,
      `${header}.${claims}.`,
      `${Buffer.from('{ "alg": "ES256" }').toString('base64url')}.${claims}.${mac}`,
      // Encrypted, with and without a wrapped key.
      `${header}.${claims}.${mac}.${claims}.${mac}`,
      `${header}..${mac}.${claims}.${mac}`,
      // To join by.
      `${'s-_9'.repeat(11).slice(0, 43)}.${sha('a')}`,
      `${presignedPrefix}aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8_`,
      'https://sts.amazonaws.com/?Action=GetCallerIdentity&X-Amz-Credential=a&X-Amz-Signature=00ff',
    ]
    for (const kind of revokedKinds)
      for (const secret of secrets)
        for (const text of [secret, `corp/${secret}`, `spiffe://td/${secret}`])
          assert.throws(
            () => parse(kind, text, kind === 'issuer-key' ? 'corp' : undefined),
            (reason: RingfenceError) => {
              const said = `${reason.message} ${reason.hint}`
              return reason.code === 'USAGE' && !said.includes(secret.slice(-20)) && !said.includes(mac!)
            },
            `${kind} ${text.slice(0, 40)}`,
          )
    // Names that only begin in such a way.
    for (const name of ['heyJude.prod.eu', 'eyJohnson-and-sons.prod.eu', 'ewing-database.eu-west.a'])
      for (const [kind, text] of [
        ['id', `spiffe://td/svc/${name}`],
        ['person', `corp/${name}`],
      ] as const)
        assert.deepEqual(parse(kind, text), { kind, value: text })
  })

  it('is the SHA-256 of a token in whatever letters, also where that is its id', () => {
    const mixed = 'aB'.repeat(32)
    for (const written of [mixed, mixed.toLowerCase(), mixed.toUpperCase()]) {
      const of = Revocations.of([{ ...one('one-token', ''), ...parse('one-token', written) }])
      const shown = (token: CallerFacts['token']) => of.find({ subject: 'spiffe://td/svc/a', token }, 0)
      assert.ok(shown({ hash: mixed.toLowerCase() }), written)
      for (const id of [mixed, mixed.toLowerCase(), mixed.toUpperCase()]) assert.ok(shown({ id }), `${written} ${id}`)
      assert.equal(shown({ id: mixed.slice(1), hash: sha('a') }), undefined)
    }
  })
})
