import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../../base/limits.ts'
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
const begin = (sessions: BrowserSessions, address = '192.0.2.7'): { state: string; browser: string } =>
  sessions.await(address, { application: 'shop', verifier: 'v', nonce: 'n', returnTo: '/', endMs: logInMsMax }, 0)
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
    const [first, second, late] = [begin(sessions), begin(sessions), begin(sessions)]
    assert.match(first.state, /^[\w-]{59}$/)
    assert.notEqual(first.state, second.state)
    assert.equal(sessions.take(first.state, second.browser, 'shop', 1), undefined)
    assert.equal(sessions.take(`${first.state}A`, first.browser, 'shop', 1), undefined)
    assert.equal(sessions.take('', first.browser, 'shop', 1), undefined)
    assert.equal(sessions.take(first.state, '', 'shop', 1), undefined)
    assert.equal(sessions.take(first.state, first.browser, 'shop', 1)?.verifier, 'v', 'who tried before took nothing')
    assert.equal(sessions.take(first.state, first.browser, 'shop', 1), undefined)
    assert.equal(sessions.take(second.state, second.browser, 'wiki', 1), undefined)
    assert.equal(sessions.take(late.state, late.browser, 'shop', logInMsMax), undefined)
  })

  it('that begin log-ins without end forget their own, by address, and nobody else’s', () => {
    const sessions = new BrowserSessions()
    const quiet = Array.from({ length: 50 }, (_, i) => begin(sessions, `192.0.2.${i}`))
    const early = begin(sessions, '2001:db8::1')
    // Of one /64: other addresses of one's own are no other one.
    for (let i = 0; i < limits.httpLogInsMax; i++) begin(sessions, `2001:db8::${i.toString(16)}`)
    for (const { state, browser } of quiet) assert.ok(sessions.take(state, browser, 'shop', 1))
    assert.equal(sessions.take(early.state, early.browser, 'shop', 1), undefined)
  })

  it('are forgotten where there are too many: those that were seen least recently', () => {
    const sessions = new BrowserSessions()
    const long = { ...tokens, token: 'x'.repeat(1024 * 1024) }
    const ids = Array.from({ length: 70 }, () => sessions.begin({ ...session(), tokens: long }))
    assert.equal(sessions.find(ids[0]!, 'shop', 1), undefined)
    assert.ok(sessions.find(ids.at(-1)!, 'shop', 1))
  })
})
