/** What a refused client hears, by driver, by cause and by `refusal` of the listener: the table of docs/identity/README.md, in full. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limits } from '../base/limits.ts'
import { LogInRefused, type RefusalCause, refusalClasses } from '../identity/refusal.ts'
import { createLogger } from '../telemetry/log.ts'
import { type DriverKind, driverKind, LogInRefusals, type RefusalMode } from './refusals.ts'

/** DRIVER_NAME as drivers send it. */
const drivers: Readonly<Record<DriverKind, readonly (string | undefined)[]>> = {
  returns: [
    'DataStax Java driver for Apache Cassandra(R)',
    'Apache Cassandra Java Driver',
    'ScyllaDB Java Driver',
    'DataStax Node.js Driver for Apache Cassandra',
    'github.com/gocql/gocql',
    'github.com/apache/cassandra-gocql-driver',
    'ScyllaDB Rust Driver',
    'scylla-rust-driver',
    'DataStax C# Driver for Apache Cassandra',
    'ScyllaDB C# Driver',
  ],
  cpp: [
    'DataStax C/C++ Driver for Apache Cassandra & DataStax Products',
    'ScyllaDB C/C++ Driver',
    'ScyllaDB Cpp-over-Rust Driver',
  ],
  python: ['DataStax Python Driver', 'ScyllaDB Python Driver', 'a driver of our own', 'JavaScript', '', undefined],
}
const words = 'the cause in words'
const oneText = 'these credentials are not accepted here'
const causes = Object.keys(refusalClasses) as RefusalCause[]
/** What the page lists as passing: in words where there are some. `no-keys` is told in answer to STARTUP before; here it came in between. */
const passing: readonly RefusalCause[] = [
  'no-keys',
  'unknown-key',
  'expired',
  'not-yet-valid',
  'replayed',
  'verifier-away',
  'too-many-attempts',
]

function refusals(nowMs: () => number = () => 0): LogInRefusals {
  return new LogInRefusals(createLogger('t', { write() {} }), nowMs)
}

interface Case {
  readonly mode?: RefusalMode
  readonly driver: string | undefined
  readonly cause: RefusalCause
  readonly withWords?: boolean
  readonly address?: string
}

/** Such as `0x0100 in words`, `closes`. */
function heard(
  at: LogInRefusals,
  { mode = 'auto', driver, cause, withWords = true, address = '192.0.2.7' }: Case,
): string {
  const reason = new LogInRefused(cause, 'for the log', withWords ? { words } : {})
  const where = { address, port: 40_000, listener: '127.0.0.1:9042', driverName: driver }
  const answer = at.answer(mode, { ...where, reason, claimed: 'corp/alice' })
  if (answer.kind === 'closes') return 'closes'
  const code = { CREDENTIALS: '0x0100', UPSTREAM: '0x0000' }[answer.error.code as 'CREDENTIALS' | 'UPSTREAM']
  const { message } = answer.error
  return `${code} ${message === words ? 'in words' : message === oneText ? 'one text' : message}`
}

/** The page, as code. */
function expected(
  kind: DriverKind,
  cause: RefusalCause,
  withWords: boolean,
  wasHere: boolean,
  mode: RefusalMode,
): string {
  if (mode === 'silent') return 'closes'
  const told = withWords ? 'in words' : 'one text'
  if (!passing.includes(cause)) return `0x0100 ${cause === 'not-supported' ? told : 'one text'}`
  if (kind === 'cpp') return `0x0000 ${told}`
  return kind === 'python' && wasHere && mode === 'auto' ? 'closes' : `0x0100 ${told}`
}

describe('a driver is known by its name', () => {
  for (const [kind, names] of Object.entries(drivers))
    it(`that ${kind}`, () => {
      for (const name of names) assert.equal(driverKind(name), kind, String(name))
    })
})

describe('a refused client hears', () => {
  for (const mode of ['auto', 'words', 'silent'] as const)
    for (const wasHere of [false, true])
      it(`by driver and cause, with refusal: ${mode}, ${wasHere ? 'where it was here before' : 'at its first log-in'}`, () => {
        for (const [kind, names] of Object.entries(drivers))
          for (const driver of names)
            for (const cause of causes)
              for (const withWords of [true, false]) {
                const at = refusals()
                if (wasHere) at.entered('192.0.2.7', 'corp/alice')
                assert.equal(
                  heard(at, { mode, driver, cause, withWords }),
                  expected(kind as DriverKind, cause, withWords, wasHere, mode),
                  `${driver} ${cause}`,
                )
              }
      })

  it('as one that was here for 24 hours, at its own address, as itself', () => {
    let nowMs = 0
    const at = refusals(() => nowMs)
    const tries = { driver: 'DataStax Python Driver', cause: 'expired' } as const
    at.entered('192.0.2.7', 'corp/alice')
    at.entered('2001:db8::1', 'corp/alice')
    nowMs = 24 * 3_600_000 - 1
    assert.equal(heard(at, tries), 'closes')
    assert.equal(heard(at, { ...tries, address: '2001:db8::2' }), 'closes', 'another address of one’s own /64')
    assert.equal(heard(at, { ...tries, address: '192.0.2.8' }), '0x0100 in words')
    assert.equal(heard(at, { ...tries, cause: 'audience' }), '0x0100 one text', 'a cause that stays')
    nowMs++
    assert.equal(heard(at, tries), '0x0100 in words')
  })

  it('the same whoever it claims to be, where the cause stays', () => {
    const names = ['corp/alice', 'corp/nobody', undefined]
    for (const cause of causes.filter((one) => !passing.includes(one) && one !== 'not-supported')) {
      const told = names.map((claimed) => {
        const reason = new LogInRefused(cause, `about ${claimed}`, { evidence: { claimed }, words: `about ${claimed}` })
        const where = { address: '192.0.2.7', port: 1, listener: undefined, driverName: 'gocql' }
        const answer = refusals().answer('auto', { ...where, reason, claimed })
        return answer.kind === 'error' ? answer.error.message : ''
      })
      assert.deepEqual(new Set(told), new Set([oneText]), cause)
    }
  })
})

describe('refused log-ins are bounded', () => {
  const { logInsRefusedPerAddressBurstMax: ofAddress, logInsRefusedPerClaimBurstMax: ofClaim } = limits
  const may = (at: LogInRefusals, address: string, claimed?: string): boolean => {
    try {
      at.beforeAttempt(address, claimed)
      return true
    } catch (reason) {
      assert.ok(reason instanceof LogInRefused && reason.why === 'too-many-attempts')
      return false
    }
  }
  const refuse = (at: LogInRefusals, address: string, claimed: string | undefined, times: number): void => {
    const reason = new LogInRefused('signature', 'x')
    const where = { address, port: 1, listener: undefined, driverName: 'gocql' }
    for (let i = 0; i < times; i++) at.answer('auto', { ...where, reason, claimed })
  }

  it('by address, with the /64 of one of IPv6, and come back with time', () => {
    let nowMs = 1
    const at = refusals(() => nowMs)
    for (let i = 0; i < ofAddress; i++) {
      assert.ok(may(at, '2001:db8::1', `c${i}`))
      refuse(at, `2001:db8::${i.toString(16)}`, `c${i}`, 1)
    }
    assert.ok(!may(at, '2001:db8::ffff', 'another') && !may(at, '2001:db8::ffff'))
    assert.ok(may(at, '2001:db8:0:1::1', 'another'))
    nowMs += 1000 / limits.logInsRefusedPerAddressPerSecondMax + 1
    assert.ok(may(at, '2001:db8::ffff', 'another'))
  })

  it('by who is claimed, from wherever, but for who was here from there', () => {
    const at = refusals()
    at.entered('192.0.2.7', 'corp/alice')
    for (let i = 0; i < ofClaim; i++) refuse(at, `198.51.100.${i}`, 'corp/alice', 1)
    assert.ok(!may(at, '203.0.113.1', 'corp/alice'))
    assert.ok(may(at, '192.0.2.7', 'corp/alice'), 'she is not kept out by others')
    assert.ok(may(at, '203.0.113.1', 'corp/bob'))
    assert.ok(may(at, '203.0.113.1'))
  })

  it('and who was here is not kept out by strangers at her address; those who claim to be one that was here are bounded, too', () => {
    const at = refusals()
    const here = Array.from({ length: 10 }, (_, i) => `corp/known-${i}`)
    for (const claimed of here) at.entered('192.0.2.7', claimed)
    refuse(at, '192.0.2.7', 'corp/mallory', ofAddress)
    refuse(at, '192.0.2.7', undefined, 10)
    assert.ok(!may(at, '192.0.2.7', 'corp/new') && !may(at, '192.0.2.7'))
    for (const claimed of here) assert.ok(may(at, '192.0.2.7', claimed))
    // By her name, from her address: she alone.
    refuse(at, '192.0.2.7', 'corp/known-0', ofClaim)
    assert.ok(!may(at, '192.0.2.7', 'corp/known-0'))
    for (const claimed of here.slice(1)) assert.ok(may(at, '192.0.2.7', claimed))
    assert.ok(may(at, '192.0.2.8', 'corp/known-0'), 'elsewhere she is a stranger, of whom nothing was refused')
    // By the names of all who were here: the address.
    for (const claimed of here.slice(1)) refuse(at, '192.0.2.7', claimed, ofClaim / 4)
    for (const claimed of here) assert.ok(!may(at, '192.0.2.7', claimed))
  })

  for (const hears of [true, false])
    it(`and who is refused for its certificate takes nothing from others at the address, nor fills the record: ${hears ? 'a client' : 'a link'}`, () => {
      let written = 0
      let logged = 0
      const at = new LogInRefusals(
        createLogger('t', { write: () => logged++ }),
        () => 1,
        () => {
          written++
          return true
        },
      )
      const client = { address: '192.0.2.7', port: 1 }
      const from = { ...client, listener: undefined, driverName: 'gocql', claimed: undefined, isOfConnection: true }
      const reason = new LogInRefused('revoked', 'access was revoked (revocation 7)')
      for (let i = 0; i < 10 * ofAddress; i++) {
        if (hears) assert.equal(at.answer('auto', { ...from, reason }).kind, 'error')
        else at.takeDown({ client, driver: undefined, cause: 'revoked', evidence: {}, gateway: undefined })
      }
      assert.ok(written > 0 && written <= ofAddress, `${written} written`)
      assert.ok(logged <= ofAddress, `${logged} logged`)
      assert.ok(may(at, '192.0.2.7', 'corp/new') && may(at, '192.0.2.7'))
    })

  for (const hears of [true, false])
    it(`and who is thrown out is on record whatever certificates others show at the address, and others are: ${hears ? 'a client' : 'a link'}`, () => {
      const taken: string[] = []
      const logged: string[] = []
      const at = new LogInRefusals(
        createLogger('t', { write: (line: string) => logged.push(String(JSON.parse(line).cause)) }),
        () => 1,
        ({ cause }) => taken.push(cause) > 0,
      )
      const client = { address: '192.0.2.7', port: 1 }
      const from = { ...client, listener: undefined, driverName: undefined, claimed: undefined, isOfConnection: true }
      const show = (cause: RefusalCause): void => {
        if (hears || cause !== 'revoked') at.answer('auto', { ...from, reason: new LogInRefused(cause, 'x') })
        else at.takeDown({ client, driver: undefined, cause, evidence: {}, gateway: undefined })
      }
      for (let i = 0; i < 2 * ofAddress; i++) show('certificate')
      show('revoked')
      assert.equal(taken.at(-1), 'revoked')
      if (hears) assert.equal(logged.at(-1), 'revoked')
      for (let i = 0; i < 2 * ofAddress; i++) show('revoked')
      const count = (cause: RefusalCause): number => taken.filter((one) => one === cause).length
      assert.deepEqual([count('certificate'), count('revoked')], [ofAddress, ofAddress])
    })

  it('and who is verified is not counted', () => {
    const at = refusals()
    for (let i = 0; i < 10 * ofAddress; i++) {
      assert.ok(may(at, '192.0.2.7', 'corp/alice'))
      at.entered('192.0.2.7', 'corp/alice')
    }
  })
})
