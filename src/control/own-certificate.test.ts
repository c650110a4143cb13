import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { connect } from 'node:tls'
import { pino } from 'pino'
import { type Clock, systemClock } from '../base/clock.ts'
import { Revocations } from '../identity/revoked/revocations.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { CertificateAuthority } from './ca.ts'
import { startHttpsServer } from './https-server.ts'
import { eventually } from './mesh.fixture.ts'
import { OwnCertificate } from './own-certificate.ts'

const log = pino({ level: 'silent' })
const minute = 60_000
const trustDomain = 'demo.local'
const spiffeId = parseSpiffeId(`spiffe://${trustDomain}/ringfence/control-plane/c`)

/** Its wall is moved by hand. */
class MovedClock implements Clock {
  offMs = 0
  now(): number {
    return Date.now() + this.offMs
  }
  monotonic(): number {
    return systemClock.monotonic()
  }
}

async function withAuthority(test: (ca: CertificateAuthority, clock: MovedClock) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rf-own-'))
  const clock = new MovedClock()
  try {
    await test(await CertificateAuthority.open(folder, trustDomain, clock), clock)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('the own certificate of the control plane', () => {
  it('is renewed at half of its life, and soon again where that failed, long before its end', () =>
    withAuthority(async (ca, clock) => {
      let fails = false
      const make = () => (fails ? Promise.reject(new Error('no space')) : ca.mint({ spiffeId, ttlMs: 60 * minute }))
      const own = await OwnCertificate.first(make, clock, log)
      const taken: string[] = []
      const due = async (): Promise<void> => {
        own.renewIfDue(({ serial }) => taken.push(serial))
        await turn()
      }
      clock.offMs = 25 * minute
      await due()
      assert.equal(taken.length, 0, 'not before its half')
      clock.offMs = 31 * minute
      fails = true
      await due()
      await due()
      assert.equal(taken.length, 0)
      fails = false
      // It is tried again after half a minute, not at its end.
      clock.offMs = 32 * minute
      await due()
      await eventually('the next one', () => taken.length === 1)
      assert.deepEqual(taken, [own.current.serial])
      await due()
      assert.equal(taken.length, 1, 'and not again')
    }))

  it('is made at once where another authority signs, also while one is being made', () =>
    withAuthority(async (ca, clock) => {
      const own = await OwnCertificate.first(() => ca.mint({ spiffeId, ttlMs: 60 * minute }), clock, log)
      const taken: string[] = []
      const take = ({ serial }: { serial: string }): unknown => taken.push(serial)
      const look = (): void => own.renewIfDue(take)
      look()
      await turn()
      assert.equal(taken.length, 0)
      own.hurry(take)
      // The one under way may be of the authority of before.
      own.hurry(take)
      // Not only when it is looked at again, which is a second later.
      await eventually('two', () => taken.length === 2)
      for (let times = 0; times < 10; times++) {
        look()
        await turn()
      }
      assert.equal(taken.length, 2)
    }))

  it('is shown to nobody once it is over, and from the moment on at which there is another', () =>
    withAuthority(async (ca, clock) => {
      const identity = async () => {
        const { keyPem, certificatePem, notAfterMs } = await ca.mint({ spiffeId, ttlMs: 60 * minute })
        return { keyPem, certificatePem, bundlePem: ca.bundlePem, notAfterMs }
      }
      const server = await startHttpsServer(
        {
          address: '127.0.0.1',
          port: 0,
          identity: await identity(),
          trustDomain,
          revocations: Revocations.none,
          isSigner: () => true,
          clock,
          log,
        },
        [],
      )
      const served = (): Promise<string> =>
        new Promise((resolve) => {
          const socket = connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false })
          socket.on('secureConnect', () => {
            resolve(socket.getPeerX509Certificate()?.serialNumber ?? '')
            socket.destroy()
          })
          socket.on('error', ({ message }) => resolve(message))
          socket.on('close', () => resolve('closed'))
        })
      try {
        const serial = /^[0-9A-F]{32}$/
        assert.match(await served(), serial)
        clock.offMs = 61 * minute
        assert.doesNotMatch(await served(), serial)
        server.replaceIdentity(await identity())
        await eventually('it is shown again', async () => serial.test(await served()))
      } finally {
        await server.stop()
      }
    }))
})
