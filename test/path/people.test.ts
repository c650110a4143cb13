/** A person logs in with `ringfence login` at a real provider, and what is kept of it is nobody else's. */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeKey } from '../../src/identity/jwt/tokens.fixture.ts'
import { redirectOf } from '../../src/people/log-in-by-browser.ts'
import { currentTokens, renewalAtMs } from '../../src/people/log-in-kept.ts'
import { ProfileFolder } from '../../src/people/profile.ts'
import { issuerUrl } from '../../src/people/provider.ts'
import { Browser, clientId, PeopleProvider } from './people-provider.ts'
import { type Ended, endPrograms, Program } from './program.ts'

let provider: PeopleProvider
const base = mkdtempSync(join(tmpdir(), 'ringfence-people-'))
let turn = 0

before(async () => {
  provider = await PeopleProvider.start(makeKey('k1', 'ES256'), { groups: { alice: ['analysts'] } })
})
after(() => {
  endPrograms()
  provider.stop()
  rmSync(base, { recursive: true })
})

/** A home of its own, with nothing in it. */
function home(): { dir: string; env: NodeJS.ProcessEnv; folder: ProfileFolder } {
  const dir = join(base, String(++turn), 'ringfence')
  return { dir, env: { RINGFENCE_CONFIG_DIR: dir, NO_COLOR: '1' }, folder: new ProfileFolder(dir, 'default') }
}

const settings = (): string[] => ['--issuer', provider.issuer, '--client-id', clientId]

async function byBrowser(env: NodeJS.ProcessEnv, who = 'alice', args: readonly string[] = settings()): Promise<Ended> {
  const program = new Program(['login', '--browser', '--no-open', ...args], env)
  const [address] = await program.says(/http:\/\/127\.0\.0\.1:\d+\/\S+/)
  const page = await new Browser(who).open(address)
  assert.match(page.text, /You are logged in/, page.text)
  return await program.ended
}

const told: Ended[] = []
const kept = (ended: Ended): Ended => {
  told.push(ended)
  return ended
}

describe('ringfence login', () => {
  it('by the browser: with PKCE, back to a port on loopback', async () => {
    const { env, folder } = home()
    const ended = kept(await byBrowser(env))
    assert.equal(ended.code, 0, ended.err)
    assert.match(ended.out, /logged in as alice for \d+m/)
    const asked = provider.asked.find((path) => path.startsWith('/auth?')) ?? ''
    assert.match(asked, /code_challenge_method=S256/)
    assert.match(asked, /nonce=/)
    const tokens = folder.tokens()
    assert.equal(tokens?.subject, 'alice')
    assert.equal(tokens?.kind, 'access')
    assert.ok(tokens.refreshToken)
    for (const [path, mode] of [
      [folder.path, 0o700],
      [folder.tokensPath, 0o600],
    ] as const)
      assert.equal(statSync(path).mode & 0o777, mode, path)
  })

  it('by a device: with a code that is typed elsewhere', async () => {
    const { env } = home()
    const program = new Program(['login', '--device', '-o', 'json', ...settings()], env)
    const [, address] = await program.says(/or open (\S+)/)
    const page = await new Browser('bob').open(address!)
    assert.match(page.text, /Success|Continue on your device/i)
    const ended = kept(await program.ended)
    assert.equal(ended.code, 0, ended.err)
    assert.equal((JSON.parse(ended.out) as { name: string }).name, 'bob')
    const who = kept(await Program.run(['whoami', '-o', 'json'], env))
    const { subject, renewable, issuer } = JSON.parse(who.out) as Record<string, unknown>
    assert.deepEqual([subject, renewable, issuer], ['bob', true, provider.issuer])
  })

  it('shows the ID token where that is what the provider is asked for', async () => {
    const { env, folder } = home()
    const ended = kept(await byBrowser(env, 'alice', [...settings(), '--token', 'id']))
    assert.equal(ended.code, 0, ended.err)
    assert.equal(folder.tokens()?.kind, 'id')
  })

  it('remembers what was given, and says what is missing', async () => {
    const { env } = home()
    const first = kept(await Program.run(['login'], env))
    assert.equal(first.code, 64)
    assert.match(first.err, /hint: ringfence login --issuer/)
    await byBrowser(env)
    assert.equal((await byBrowser(env, 'bob', [])).code, 0)
    assert.match((await Program.run(['whoami'], env)).out, /PERSON +bob/)
    const other = await Program.run(['whoami', '--profile', 'other'], env)
    assert.equal(other.code, 1)
    assert.match(other.err, /there are profiles default\n {2}hint: ringfence login --profile other/)
  })

  it('is ended by the browser that began it, and by no other that knows its address', async () => {
    const { env } = home()
    const program = new Program(['login', '--browser', '--no-open', ...settings()], env)
    const [address] = await program.says(/http:\/\/127\.0\.0\.1:\d+\/\S+/)
    const opened = await fetch(address, { redirect: 'manual' })
    assert.equal(opened.status, 302)
    const stranger = await new Browser('mallory').open(address)
    assert.equal(stranger.status, 403)
    // A code of whomever, without the cookie of the first.
    const { origin } = new URL(address)
    const state = new URL(opened.headers.get('location')!).searchParams.get('state')
    assert.equal((await fetch(`${origin}/callback?code=x&state=${state}`)).status, 403)
    assert.equal((await fetch(`${origin}/`)).status, 404)
    // The first goes on, and the provider's refusal is told in words.
    const cookie = opened.headers.getSetCookie()[0]!.split(';')[0]!
    const back = await fetch(`${origin}/callback?error=access_denied&state=${state}&iss=${provider.issuer}`, {
      headers: { cookie },
    })
    assert.match(await back.text(), /failed; the terminal says why/)
    const ended = kept(await program.ended)
    assert.equal(ended.code, 1)
    assert.match(ended.err, /refuses \(access_denied\)\n {2}hint: /)
  })

  it('says in words that the provider is away, is none, or does not know the client', async () => {
    const { env } = home()
    provider.away()
    const away = kept(await Program.run(['login', '--device', ...settings()], env))
    provider.back()
    assert.equal(away.code, 1)
    assert.match(away.err, /the identity provider http:\S+ does not answer: /)
    const unknown = kept(await Program.run(['login', '--device', '--issuer', provider.issuer, '--client-id', 'x'], env))
    assert.match(unknown.err, /refuses \(invalid_client\)[^\n]*\n {2}hint: is --client-id right/)
    for (const issuer of [
      'http://login.example.com',
      'login.example.com',
      'file:///etc',
      'https://a@b',
      'http://localhost',
    ])
      assert.throws(() => issuerUrl(issuer), { code: 'USAGE' }, issuer)
    for (const issuer of ['https://login.example.com/realms/corp', 'http://127.0.0.1:9', 'http://[::1]:9'])
      assert.ok(issuerUrl(issuer), issuer)
    for (const redirect of ['http://192.0.2.1/callback', 'https://127.0.0.1/', 'http://127.0.0.1/?x', 'x'])
      assert.throws(() => redirectOf(redirect), { code: 'USAGE' }, redirect)
    for (const redirect of [undefined, 'http://localhost:8400/callback', 'http://[::1]/x'])
      assert.ok(redirectOf(redirect))
  })
})

describe('what is kept of a log-in', () => {
  it('is refused with the remedy where others may read it or change it, and logout removes it all the same', async () => {
    const { dir, env, folder } = home()
    await byBrowser(env)
    const profileFile = join(folder.path, 'profile.json')
    const read = () => [folder.profile(), folder.tokens()]
    for (const [path, good, bad] of [
      [folder.tokensPath, 0o600, 0o640],
      [folder.tokensPath, 0o600, 0o604],
      [folder.tokensPath, 0o600, 0o620],
      [profileFile, 0o600, 0o602],
      [folder.path, 0o700, 0o750],
      [folder.path, 0o700, 0o701],
      [dir, 0o700, 0o770],
    ] as const) {
      chmodSync(path, bad)
      assert.throws(read, /others may use \S+ \(mode \d+\), so what is in it is not used/, `${path} ${bad.toString(8)}`)
      chmodSync(path, good)
      assert.ok(
        read().every((one) => one !== undefined),
        'its neighbour',
      )
    }
    chmodSync(folder.tokensPath, 0o644)
    const refused = kept(await Program.run(['whoami'], env))
    assert.equal(refused.code, 3)
    assert.match(refused.err, /others may use \S+tokens\.json \(mode 644\).*\n {2}hint: chmod 600 \S+; /)
    // A link leads where somebody else chooses.
    const text = readFileSync(folder.tokensPath, 'utf8')
    rmSync(folder.tokensPath)
    writeFileSync(join(base, 'elsewhere'), text, { mode: 0o600 })
    symlinkSync(join(base, 'elsewhere'), folder.tokensPath)
    assert.throws(read, { hint: 'it must be a file, not a link to one' })
    assert.equal((await Program.run(['logout'], env)).code, 0)
    assert.ok(!existsSync(folder.tokensPath))
  })

  it('is not quoted where it is damaged', async () => {
    const { env, folder } = home()
    await byBrowser(env)
    writeFileSync(folder.tokensPath, `{"token": "${folder.tokens()?.token}`, { mode: 0o600 })
    const damaged = kept(await Program.run(['whoami'], env))
    assert.equal(damaged.code, 3)
    assert.match(damaged.err, /is not what ringfence login writes/)
  })

  it('goes with logout, at the provider too', async () => {
    const { env, folder } = home()
    await byBrowser(env)
    const tokens = folder.tokens()!
    const out = kept(await Program.run(['logout'], env))
    assert.equal(out.code, 0)
    assert.match(out.out, /logged out of profile default/)
    assert.ok(provider.asked.includes('/token/revocation'))
    // Who has stolen it has nothing.
    folder.writeTokens({ ...tokens, expiresAtMs: Date.now() })
    await assert.rejects(currentTokens(folder, Date.now()), { name: 'RingfenceError', hint: 'ringfence login' })
    assert.equal((await Program.run(['logout', '--forget'], env)).code, 0)
    assert.ok(!existsSync(folder.path))
    assert.match((await Program.run(['logout'], env)).out, /nobody was logged in/)
  })
})

describe('a log-in that is used', () => {
  it('is renewed by one process at a time, for a refresh token is good for one use', async () => {
    const { env, folder } = home()
    await byBrowser(env)
    const first = folder.tokens()!
    const dueMs = renewalAtMs(first)
    assert.ok(dueMs < first.expiresAtMs && dueMs > first.obtainedAtMs)
    assert.equal((await currentTokens(folder, dueMs - 1)).token, first.token)
    const all = await Promise.all(
      Array.from({ length: 4 }, () =>
        currentTokens(new ProfileFolder(join(folder.path, '../..'), 'default'), dueMs + 1),
      ),
    )
    assert.equal(new Set(all.map(({ token }) => token)).size, 1)
    assert.notEqual(all[0]!.token, first.token)
    assert.notEqual(all[0]!.refreshToken, first.refreshToken)
  })

  it('goes on with the token that it has while the provider is away, and ends with it', async () => {
    const { env, folder } = home()
    await byBrowser(env)
    const { token, expiresAtMs } = folder.tokens()!
    provider.away()
    try {
      assert.equal((await currentTokens(folder, expiresAtMs - 1000)).token, token)
      await assert.rejects(currentTokens(folder, expiresAtMs + 1), /does not answer/)
    } finally {
      provider.back()
    }
    assert.notEqual((await currentTokens(folder, expiresAtMs + 1)).token, token)
  })

  it('ends where the provider gave nothing to renew it with', async () => {
    provider.options.refreshTokens = false
    const { env, folder } = home()
    const ended = kept(await byBrowser(env))
    provider.options.refreshTokens = true
    assert.match(ended.out, /gave nothing to renew it with/)
    const { expiresAtMs } = folder.tokens()!
    assert.ok(await currentTokens(folder, expiresAtMs - 1))
    await assert.rejects(currentTokens(folder, expiresAtMs), /the log-in of profile default ended at /)
  })
})

describe('what was printed', () => {
  it('has no token in it, and fits 80 columns', () => {
    assert.ok(provider.given.size > 10 && told.length > 9)
    for (const { out, err } of told)
      for (const token of provider.given) assert.ok(!out.includes(token) && !err.includes(token), out + err)
    for (const { out } of told) for (const line of out.split('\n')) assert.ok(line.length <= 80, line)
  })
})
