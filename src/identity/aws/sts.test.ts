import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { OutsideAnswer } from '../outside/answer.ts'
import { whyLater as why } from '../refusal.fixture.ts'
import { callerOf } from './caller-identity.ts'
import { passwordOf, serverId, signedMs, urlWith } from './presigned.fixture.ts'
import type { StsRequest } from './presigned.ts'
import { type PresignedUse, Replays } from './replays.ts'
import { answerOf, callerAnswer, errorAnswer } from './sts.fixture.ts'
import { type StsCheck, StsLogIns, type StsProvider } from './sts.ts'

const provider: StsProvider = {
  serverId,
  partition: 'aws',
  regions: undefined,
  accounts: ['123456789012'],
  allowPrivate: false,
  leewayMs: 30_000,
}
const usual: StsCheck = { nowMs: signedMs, trustDomain: 'demo.local', address: '192.0.2.1' }
const password = passwordOf(urlWith())

/** STS that answers one thing, and what it was asked. */
function sts(answer: OutsideAnswer | (() => Promise<OutsideAnswer>) = callerAnswer()): {
  logIns: StsLogIns
  asked: StsRequest[]
} {
  const asked: StsRequest[] = []
  const logIns = new StsLogIns(
    async (request) => {
      asked.push(request)
      return typeof answer === 'function' ? await answer() : answer
    },
    undefined,
    { entriesMax: 100 },
  )
  return { logIns, asked }
}

describe('what STS answers', () => {
  it('names a role or user', () => {
    assert.equal(callerOf(callerAnswer()).arn, 'arn:aws:iam::123456789012:role/etl')
    assert.equal(callerOf(callerAnswer('arn:aws:iam::123456789012:user/alice')).kind, 'user')
  })

  it('is JSON of just that shape, and nothing else', async () => {
    const good = callerAnswer().body.toString()
    const xml =
      '<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:role/etl</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>'
    const others: readonly OutsideAnswer[] = [
      answerOf(200, xml, 'text/xml'),
      answerOf(200, xml),
      answerOf(200, good, 'text/xml'),
      answerOf(200, good, 'text/plain; application/json'),
      answerOf(200, good, ''),
      answerOf(200, ''),
      answerOf(200, '[]'),
      answerOf(200, 'null'),
      answerOf(200, `${good}${good}`),
      answerOf(200, good.replace('"Account":"123456789012"', '"Account":123456789012')),
      answerOf(200, good.replace('"Account"', '"account"')),
      answerOf(200, good.replace('"Arn":"', '"Arn":["').replace('abcdef0","UserId"', 'abcdef0"],"UserId"')),
      answerOf(200, good.replace('{"Account"', '{"More":1,"Account"')),
      callerAnswer(undefined, '210987654321'),
      { ...answerOf(200, good), body: Buffer.concat([Buffer.from(good.slice(0, -1)), Buffer.from([0xff, 0x7d])]) },
    ]
    for (const answer of others)
      assert.equal(await why(() => callerOf(answer)), 'verifier-away', answer.body.toString())
    assert.equal(await why(() => callerOf(answerOf(200, good, 'application/json; charset=utf-8'))), 'accepted')
  })

  it('tells who can’t be known now from who is refused', async () => {
    const causes: readonly (readonly [OutsideAnswer, string])[] = [
      [errorAnswer(403, 'SignatureDoesNotMatch'), 'signature'],
      [errorAnswer(403, 'InvalidClientTokenId'), 'signature'],
      [errorAnswer(403, 'AccessDenied'), 'signature'],
      [errorAnswer(400, 'IncompleteSignature'), 'signature'],
      [answerOf(403, '<html>', 'text/html'), 'signature'],
      [errorAnswer(403, 'ExpiredToken'), 'expired'],
      [errorAnswer(400, 'RequestExpired'), 'expired'],
      [errorAnswer(400, 'Throttling'), 'verifier-away'],
      [errorAnswer(400, 'ThrottlingException'), 'verifier-away'],
      [errorAnswer(403, 'RequestLimitExceeded'), 'verifier-away'],
      [errorAnswer(429, 'TooManyRequestsException'), 'verifier-away'],
      [errorAnswer(503, 'ServiceUnavailable'), 'verifier-away'],
      [errorAnswer(500, 'InternalFailure'), 'verifier-away'],
      // A redirect is not followed, and says nothing of who signed.
      [answerOf(301, ''), 'verifier-away'],
      [answerOf(307, callerAnswer().body.toString()), 'verifier-away'],
      [answerOf(204, ''), 'verifier-away'],
      // Neither a role nor a user.
      [callerAnswer('arn:aws:iam::123456789012:root'), 'claims'],
      [callerAnswer('arn:aws:sts::123456789012:federated-user/alice'), 'claims'],
    ]
    for (const [answer, cause] of causes)
      assert.equal(await why(() => callerOf(answer)), cause, `${answer.status} ${answer.body}`)
  })
})

describe('a log-in by a pre-signed request', () => {
  it('makes a SPIFFE id of the role, and ends with the request', async () => {
    const { logIns } = sts()
    assert.deepEqual(await logIns.verify(password, provider, usual), {
      subject: 'spiffe://demo.local/aws/123456789012/role/etl',
      principal: {
        partition: 'aws',
        account: '123456789012',
        kind: 'role',
        name: 'etl',
        arn: 'arn:aws:iam::123456789012:role/etl',
      },
      expiresAtMs: signedMs + 900_000,
    })
  })

  it('asks STS once for a pool of connections, at the same time or later, and never for what is malformed', async () => {
    const { logIns, asked } = sts()
    await Promise.all(Array.from({ length: 50 }, () => logIns.verify(password, provider, usual)))
    await logIns.verify(password, provider, { ...usual, nowMs: signedMs + 899_999 })
    assert.equal(asked.length, 1)
    assert.equal(await why(() => logIns.verify(password, provider, { ...usual, nowMs: signedMs + 900_000 })), 'expired')
    assert.equal(await why(() => logIns.verify(passwordOf('https://example.com/'), provider, usual)), 'malformed')
    assert.equal(asked.length, 1)
  })

  it('is of an account and a partition that may log in here', async () => {
    for (const [arn, account, cause] of [
      ['arn:aws:iam::123456789012:role/etl', '123456789012', 'accepted'],
      ['arn:aws:iam::210987654321:role/etl', '210987654321', 'account'],
      ['arn:aws-cn:iam::123456789012:role/etl', '123456789012', 'account'],
    ] as const) {
      assert.equal(await why(() => sts(callerAnswer(arn, account)).logIns.verify(password, provider, usual)), cause)
    }
  })

  it('is for the address that used it first, until it ends', async () => {
    const { logIns } = sts()
    assert.equal(await why(() => logIns.verify(password, provider, usual)), 'accepted')
    assert.equal(await why(() => logIns.verify(password, provider, { ...usual, address: '192.0.2.2' })), 'replayed')
    assert.equal(await why(() => logIns.verify(password, provider, usual)), 'accepted')
    // Two at the same time: one of them.
    const both = sts()
    const causes = await Promise.all(
      ['192.0.2.1', '192.0.2.2'].map((address) =>
        why(() => both.logIns.verify(password, provider, { ...usual, address })),
      ),
    )
    assert.deepEqual(causes.sort(), ['accepted', 'replayed'])
  })

  it('that was refused or not answered is asked again', async () => {
    const answers = [errorAnswer(503, 'ServiceUnavailable'), errorAnswer(403, 'SignatureDoesNotMatch'), callerAnswer()]
    const { logIns, asked } = sts(async () => answers.shift()!)
    const causes = []
    for (let i = 0; i < 3; i++) causes.push(await why(() => logIns.verify(password, provider, usual)))
    assert.deepEqual(causes, ['verifier-away', 'signature', 'accepted'])
    assert.equal(asked.length, 3)
  })

  it('does not wait without a bound', async () => {
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const { logIns, asked } = sts(async () => {
      await gate
      return callerAnswer()
    })
    // From as many addresses, for one has half of the places at most.
    const many = Array.from({ length: 2000 }, (_, i) => {
      const check = { ...usual, address: `10.0.${i >> 8}.${i & 255}` }
      return why(() => logIns.verify(passwordOf(urlWith({ 'X-Amz-Expires': `${i + 1}` })), provider, check))
    })
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(asked.length, 64)
    release()
    const causes = await Promise.all(many)
    assert.equal(causes.filter((cause) => cause === 'accepted').length, 64 + 1024)
    assert.equal(causes.filter((cause) => cause === 'verifier-away').length, 2000 - 64 - 1024)
    assert.equal(await why(() => logIns.verify(password, provider, usual)), 'accepted')
  })
})

const use = (principal: string, key: string, address: string, endMs: number): PresignedUse => ({
  principal,
  key,
  address,
  endMs,
})

describe('in the whole mesh', () => {
  /** Processes that ask one control plane, which may be away or late. */
  function mesh() {
    const seen = new Replays(100)
    const state = { asked: 0, is: 'there' as 'there' | 'away' | 'late' }
    const process = (): StsLogIns => {
      const ask = async (used: PresignedUse): Promise<boolean> => {
        state.asked++
        if (state.is === 'away') throw new Error('away')
        if (state.is === 'late') await new Promise(() => {})
        return seen.use(used, signedMs)
      }
      return new StsLogIns(async () => callerAnswer(), ask, { entriesMax: 100, firstUseMsMax: 50 })
    }
    return { state, one: process(), other: process(), third: process() }
  }
  const owner = usual
  const thief = { ...usual, address: '192.0.2.2' }
  const by = (logIns: StsLogIns, check: StsCheck) => why(() => logIns.verify(password, provider, check))

  it('a request is for the address that used it first, whichever process that was', async () => {
    const { one, other, third } = mesh()
    assert.equal(await by(one, owner), 'accepted')
    assert.equal(await by(other, thief), 'replayed')
    // The thief took nothing from its owner there.
    assert.equal(await by(other, owner), 'accepted')
    assert.equal(await by(other, thief), 'replayed')
    const atOnce = await Promise.all([by(third, thief), by(third, owner)])
    assert.equal(atOnce[0], 'replayed')
    assert.equal(await by(third, owner), 'accepted')
  })

  it('it is asked once for a pool of connections of a process', async () => {
    const { state, one } = mesh()
    await Promise.all(Array.from({ length: 50 }, () => one.verify(password, provider, owner)))
    await one.verify(password, provider, owner)
    assert.equal(state.asked, 1)
  })

  for (const is of ['away', 'late'] as const) {
    it(`each process counts for itself while the control plane is ${is}, and asks again when it is there`, async () => {
      const { state, one, other } = mesh()
      state.is = is
      assert.equal(await by(one, owner), 'accepted')
      assert.equal(await by(one, thief), 'replayed')
      assert.equal(await by(other, thief), 'accepted')
      if (is === 'late') return
      state.is = 'there'
      assert.equal(await by(one, owner), 'accepted')
      assert.equal(await by(other, thief), 'replayed')
      assert.equal(await by(other, owner), 'accepted')
      // What was settled needs nobody.
      state.is = 'away'
      assert.equal(await by(one, owner), 'accepted')
    })
  }
})

describe('what is remembered of who used a request', () => {
  it('is bounded, and who fills it forgets its own', () => {
    const replays = new Replays(10)
    assert.equal(replays.use(use('alice', 'a', '192.0.2.1', 100), 0), true)
    for (let i = 0; i < 1000; i++) assert.equal(replays.use(use('mallory', `m${i}`, '192.0.2.9', 100), 0), true)
    assert.equal(replays.size, 10)
    assert.equal(replays.use(use('alice', 'a', '192.0.2.9', 100), 0), false)
    assert.equal(replays.use(use('mallory', 'm999', '192.0.2.1', 100), 0), false)
  })

  it('ends with the request', () => {
    const replays = new Replays(10)
    for (let i = 0; i < 10; i++) replays.use(use(`p${i}`, 'a', '192.0.2.1', 100), 0)
    assert.equal(replays.use(use('p0', 'a', '192.0.2.2', 200), 100), true)
    assert.equal(replays.size, 10)
    assert.equal(replays.use(use('new', 'a', '192.0.2.2', 200), 100), true)
    assert.equal(replays.size, 2)
    for (let i = 0; i < 100; i++) replays.use(use(`q${i}`, 'a', '192.0.2.1', 200), 100)
    assert.equal(replays.size, 10)
  })
})
