import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Tokens } from '../../people/profile.ts'
import { type BrowserSession, BrowserSessions, logInMsMax, sessionMsMax } from './sessions.ts'

const tokens: Tokens = {
  issuer: 'https://login.example.com',
  clientId: 'shop-web',
  kind: 'id',
  token: 'a.b.c',
  expiresAtMs: 10_000,
  obtainedAtMs: 0,
  subject: 'alice',
}
const session = (application = 'shop'): BrowserSession => ({ application, beganMs: 0, tokens, renewal: undefined })

describe('browsers', () => {
  it('have a session by a name of their own, for one application, until it ends', () => {
    const sessions = new BrowserSessions()
    const [one, other] = [sessions.begin(session()), sessions.begin(session())]
    assert.notEqual(one, other)
    assert.match(one, /^[\w-]{43}$/)
    assert.equal(sessions.find(one, 'shop', 1)?.tokens.token, 'a.b.c')
    assert.equal(sessions.find(one, 'wiki', 1), undefined)
    assert.equal(sessions.find(`${one}A`, 'shop', 1), undefined)
    assert.equal(sessions.find(one, 'shop', sessionMsMax), undefined)
    sessions.end(one)
    assert.equal(sessions.find(one, 'shop', 1), undefined)
    assert.ok(sessions.find(other, 'shop', 1))
  })

  it('come back from a log-in that they began themselves, once and in time', () => {
    const sessions = new BrowserSessions()
    const begin = (state: string): string =>
      sessions.await(state, { application: 'shop', verifier: 'v', nonce: 'n', returnTo: '/', untilMs: logInMsMax })
    const [first, second] = [begin('s1'), begin('s2')]
    assert.equal(sessions.take('s1', second, 'shop', 1), undefined)
    assert.equal(sessions.take('s3', first, 'shop', 1), undefined)
    assert.equal(sessions.take('s1', '', 'shop', 1), undefined)
    assert.equal(sessions.take('s1', first, 'shop', 1)?.verifier, 'v', 'who tried before took nothing')
    assert.equal(sessions.take('s1', first, 'shop', 1), undefined)
    assert.equal(sessions.take('s2', second, 'wiki', 1), undefined)
    assert.equal(sessions.take('s4', begin('s4'), 'shop', logInMsMax), undefined)
  })

  it('are forgotten where there are too many: those that were seen least recently', () => {
    const sessions = new BrowserSessions()
    const long = { ...tokens, token: 'x'.repeat(1024 * 1024) }
    const ids = Array.from({ length: 70 }, () => sessions.begin({ ...session(), tokens: long }))
    assert.equal(sessions.find(ids[0]!, 'shop', 1), undefined)
    assert.ok(sessions.find(ids.at(-1)!, 'shop', 1))
  })
})
