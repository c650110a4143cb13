import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
import { type Shown, shownBy } from './headers.ts'

const kinds = (...raw: string[]): string => {
  const shown: Shown = shownBy(['Host', 'x', ...raw, 'Accept', '*/*'])
  return shown.kind === 'refused' ? String(shown.status) : shown.kind
}

describe('what a request shows', () => {
  it('is one bearer token, or one session, or nothing', () => {
    assert.equal(kinds(), 'nothing')
    assert.equal(kinds('Cookie', 'a=b; c=d'), 'nothing')
    assert.equal(kinds('Cookie', '__Host-ringfence='), 'nothing')
    assert.deepEqual(shownBy(['Authorization', 'Bearer a.b.c']), { kind: 'bearer', token: 'a.b.c' })
    assert.deepEqual(shownBy(['authorization', 'bearer  a.b.c']), { kind: 'bearer', token: 'a.b.c' })
    assert.deepEqual(shownBy(['Cookie', 'a=b; __Host-ringfence=xyz; c=d']), { kind: 'session', id: 'xyz' })
    // The token of a request that has both was put there for it.
    assert.equal(kinds('Cookie', '__Host-ringfence=xyz', 'Authorization', 'Bearer a.b.c'), 'bearer')
    const byNginx = ['X-Ringfence-Application', 'shop', 'X-Ringfence-Return', '/', 'X-Ringfence-Client', '192.0.2.7']
    assert.equal(kinds(...byNginx), 'nothing')
  })

  it('is refused where it could be read in two ways', () => {
    for (const raw of [
      ['Authorization', 'Bearer a', 'authorization', 'Bearer a'],
      ['Cookie', '__Host-ringfence=x; __Host-ringfence=x'],
      ['Cookie', '__Host-ringfence=x', 'Cookie', '__Host-ringfence=y'],
      ['Txn-Token', 'x'],
      ['txn_token', 'x'],
      ['TXN-TOKEN', ''],
      ['X-Ringfence-Person', 'corp/alice'],
      ['x_ringfence_application', 'shop'],
      ['X-Ringfence-Application', 'shop', 'X-Ringfence-Application', 'shop'],
      ['X-Ringfence-Client', '192.0.2.7', 'x-ringfence-client', '192.0.2.7'],
      ['X_Ringfence_Client', '192.0.2.7'],
      ['X-Ringfence-Client-Address', '192.0.2.7'],
    ])
      assert.equal(kinds(...raw), '403', raw.join())
  })

  it('is none where it is no bearer token', () => {
    for (const value of [
      '',
      'Bearer',
      'Bearer ',
      'Basic YTpi',
      'Bearer a b',
      'Bearer a,b',
      `Bearer ${'x'.repeat(limits.authMessageBytesMax + 1)}`,
    ])
      assert.equal(kinds('Authorization', value), '401', value.slice(0, 20))
  })
})
