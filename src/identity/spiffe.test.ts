import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RingfenceError } from '../base/errors.ts'
import { matchesSpiffePattern, parseSpiffeId, parseSpiffePattern, personOf, trustDomainOf } from './spiffe.ts'

const isIdentityFault = (error: unknown): boolean => error instanceof RingfenceError && error.code === 'IDENTITY'

describe('parseSpiffeId', () => {
  it('takes what SPIFFE-ID.md §2 allows', () => {
    for (const text of [
      'spiffe://demo.local/svc/orders',
      'spiffe://a_b-c.9/x',
      'spiffe://d/ns/Default/sa/Web.v1_2-3',
      'spiffe://d/...',
      `spiffe://${'d'.repeat(255)}/x`,
      `spiffe://d/${'x'.repeat(2048 - 11)}`,
    ]) {
      assert.equal(parseSpiffeId(text), text)
    }
    assert.equal(trustDomainOf(parseSpiffeId('spiffe://demo.local/svc/orders')), 'demo.local')
  })

  it('refuses everything else', () => {
    for (const text of [
      '',
      'spiffe://',
      'spiffe:///svc',
      'spiffe://demo.local',
      'spiffe://demo.local/',
      'spiffe://demo.local/svc/',
      'spiffe://demo.local//svc',
      'spiffe://demo.local/svc/../admin',
      'spiffe://demo.local/./svc',
      'spiffe://demo.local/svc%2fadmin',
      'spiffe://demo.local/svc?x=1',
      'spiffe://demo.local/svc#x',
      'spiffe://demo.local:8443/svc',
      'spiffe://user@demo.local/svc',
      'spiffe://Demo.local/svc',
      'SPIFFE://demo.local/svc',
      'spiffe://démo.local/svc',
      'spiffe://demo.local/svc/é',
      'spiffe://demo.local/svc\u0000',
      'spiffe://demo.local/svc\n',
      'spiffe://demo.local/a b',
      'https://demo.local/svc',
      'spiffe:/demo.local/svc',
      `spiffe://${'d'.repeat(256)}/x`,
      `spiffe://d/${'x'.repeat(2048 - 10)}`,
    ]) {
      assert.throws(() => parseSpiffeId(text), isIdentityFault, text)
    }
  })

  it('finds the person behind /user/<provider>/<subject> and nowhere else', () => {
    assert.equal(personOf(parseSpiffeId('spiffe://d/user/okta/alice')), 'okta/alice')
    for (const text of ['spiffe://d/user/alice', 'spiffe://d/user/okta/alice/x', 'spiffe://d/svc/user/okta/alice']) {
      assert.equal(personOf(parseSpiffeId(text)), undefined)
    }
  })
})

describe('matchesSpiffePattern', () => {
  const matches = (pattern: string, id: string): boolean =>
    matchesSpiffePattern(parseSpiffePattern(pattern), parseSpiffeId(id))

  it('matches exactly, one segment for a star, any deeper path for a last star', () => {
    assert.ok(matches('spiffe://d/ns/a', 'spiffe://d/ns/a'))
    assert.ok(matches('spiffe://d/ns/*/sa/web', 'spiffe://d/ns/a/sa/web'))
    assert.ok(matches('spiffe://d/ns/a/*', 'spiffe://d/ns/a/b'))
    assert.ok(matches('spiffe://d/ns/a/*', 'spiffe://d/ns/a/b/c'))
    assert.ok(matches('spiffe://d/*', 'spiffe://d/x'))
  })

  it('never matches by prefix, by trust domain, or a path that is not deeper', () => {
    assert.ok(!matches('spiffe://d/ns/a', 'spiffe://d/ns/ab'))
    assert.ok(!matches('spiffe://d/ns/a', 'spiffe://d/ns/a/b'))
    assert.ok(!matches('spiffe://d/ns/a/*', 'spiffe://d/ns/a'))
    assert.ok(!matches('spiffe://d/ns/a/*', 'spiffe://d/ns/ab/c'))
    assert.ok(!matches('spiffe://d/ns/*/sa/web', 'spiffe://d/ns/a/b/sa/web'))
    assert.ok(!matches('spiffe://d/ns/*/sa/web', 'spiffe://d/ns/a/sa'))
    assert.ok(!matches('spiffe://d/*', 'spiffe://d2/x'))
  })

  it('refuses a star inside a segment, in the trust domain, and patterns that are no ids', () => {
    for (const pattern of [
      'spiffe://d/ns/a*',
      'spiffe://d/ns/*b',
      'spiffe://*/x',
      'spiffe://d/**',
      'spiffe://d',
      '*',
      'spiffe://d/a/../*',
    ]) {
      assert.throws(() => parseSpiffePattern(pattern), isIdentityFault, pattern)
    }
  })
})
