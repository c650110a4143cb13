/** What a sample workload's driver is given as the password: a fresh token at each connection, renewed while there is time. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { Tokens } from '../../src/people/profile.ts'
import { byToken, type TokenSource } from './credentials.ts'
import { PersonTokens } from './person.ts'

const folder = mkdtempSync(join(tmpdir(), 'rf-demo-credentials-'))
process.env.DEMO_CA = join(folder, 'ca.pem')
writeFileSync(process.env.DEMO_CA, 'roots')
after(() => rmSync(folder, { recursive: true }))

const lifeMs = 300_000

function passwordOf(source: TokenSource): Promise<string> {
  const authenticator = byToken(source).authProvider!.newAuthenticator('127.0.0.1:9342', 'PasswordAuthenticator')
  return new Promise((resolve, reject) => {
    authenticator.initialResponse((error: unknown, response?: Buffer) =>
      response === undefined ? reject(error) : resolve(response.toString()),
    )
  })
}

describe('the password of a driver', () => {
  it('is another token at each connection, and an error where there is none', async () => {
    let made = 0
    const source = { lifeMs, token: async () => `t${++made}` }
    assert.deepEqual([await passwordOf(source), await passwordOf(source)], ['\0token\0t1', '\0token\0t2'])
    const none = { lifeMs, token: () => Promise.reject(new Error('the cloud gives no token')) }
    await assert.rejects(passwordOf(none), /gives no token/)
  })
})

describe('a person’s log-in', () => {
  /** A provider that counts, whose clock is `now`. */
  function provider(refreshToken: string | undefined, refreshes: () => boolean = () => true) {
    const asked = { logIns: 0, refreshes: 0 }
    const now = { ms: 0 }
    const tokens = (token: string): Tokens => ({
      issuer: 'https://corp.example.com',
      clientId: 'ringfence-cli',
      kind: 'access',
      subject: 'alice',
      token,
      obtainedAtMs: now.ms,
      expiresAtMs: now.ms + lifeMs,
      ...(refreshToken === undefined ? {} : { refreshToken }),
    })
    const begun = PersonTokens.begin(
      {
        logIn: async () => tokens(`log-in ${++asked.logIns}`),
        refresh: async () => {
          if (!refreshes()) throw new Error('the provider knows no such log-in')
          return tokens(`refresh ${++asked.refreshes}`)
        },
      },
      () => now.ms,
    )
    return { asked, now, begun }
  }

  it('is renewed when half of its life is over, once for all connections', async () => {
    const { asked, now, begun } = provider('r')
    const source = await begun
    now.ms = lifeMs / 2 - 1
    assert.equal(await source.token(), 'log-in 1')
    now.ms = lifeMs / 2 + 1
    assert.deepEqual(await Promise.all([source.token(), source.token()]), ['refresh 1', 'refresh 1'])
    assert.deepEqual(asked, { logIns: 1, refreshes: 1 })
  })

  it('is begun anew where it cannot be renewed', async () => {
    for (const { asked, now, begun } of [provider(undefined), provider('r', () => false)]) {
      const source = await begun
      now.ms = lifeMs
      assert.equal(await source.token(), 'log-in 2')
      assert.deepEqual(asked, { logIns: 2, refreshes: 0 })
    }
  })
})
