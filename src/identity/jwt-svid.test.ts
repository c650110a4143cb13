import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { jwtSvidAlgorithms, jwtSvidSubject } from './jwt-svid.ts'

describe('the subject of a JWT-SVID', () => {
  it('is an id of the trust domain whose keys signed it', () => {
    assert.equal(jwtSvidSubject('spiffe://demo.local/svc/orders', 'demo.local'), 'spiffe://demo.local/svc/orders')
    const others = [
      ...[
        'spiffe://demo.local.example/svc/orders',
        'spiffe://other/svc/orders',
        'spiffe://DEMO.local/svc/orders',
        'spiffe://demo.local',
        'spiffe://demo.local/',
      ],
      ...[
        'https://demo.local/svc/orders',
        'svc/orders',
        '',
        'spiffe://demo.local/svc/../orders',
        'spiffe://demo.local/svc//orders',
        'spiffe://demo.local/svc/orders/',
      ],
      ...[
        'spiffe://demo.local/svc/orders?a=b',
        'spiffe://demo.local/svc/orders#a',
        'spiffe://demo.local:443/svc/orders',
        'spiffe://a@demo.local/svc/orders',
        'spiffe://demo.local/svc/%6frders',
      ],
      ...[undefined, null, 7, ['spiffe://demo.local/svc/orders'], {}],
    ]
    for (const sub of others) assert.throws(() => jwtSvidSubject(sub, 'demo.local'), { code: 'IDENTITY' }, String(sub))
  })

  it('is signed by an algorithm of two keys', () => {
    assert.ok(jwtSvidAlgorithms.every((algorithm) => /^(RS|PS|ES)(256|384|512)$/.test(algorithm)))
    assert.equal(jwtSvidAlgorithms.length, 9)
  })
})
