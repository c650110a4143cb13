import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RememberedRefusals } from '../../control/refused-log-ins.ts'
import { LogInRefused, type RefusalCause, refusalClasses } from '../../identity/refusal.ts'
import type { NamedRefusal } from '../../mesh/refused-log-ins.ts'
import { LogInRefusals } from '../../session/refusals.ts'
import { createLogger } from '../../telemetry/log.ts'
import { widthOf } from '../screen.ts'
import { remedies, remedyOf } from './remedies.ts'
import { whyTable } from './why-table.ts'

const causes = Object.keys(refusalClasses) as RefusalCause[]
const log = createLogger('test', { write: () => {} })
const options = { nowMs: 600_000, widthMax: 80, rowsMax: 20 }
const row = (change: Partial<NamedRefusal> = {}): NamedRefusal => ({
  cause: 'expired',
  words: 'the token expired 312 s ago',
  count: 3,
  firstMs: 1,
  lastMs: 288_000,
  proxy: 'gateway-1',
  listener: '10.0.0.21:9242',
  address: '192.0.2.7',
  claimed: 'corp/alice',
  driver: 'DataStax Python Driver',
  issuer: 'https://login.example.com/realms/corp',
  tokenId: '5f1c',
  tokenHash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  ...change,
})

describe('why a log-in was refused', () => {
  it('is shown for every cause that there is, with what to do about it', () => {
    assert.deepEqual(Object.keys(remedies).sort(), [...causes].sort())
    for (const cause of causes) {
      const refusals = new LogInRefusals(log, () => 1_000)
      const evidence = { provider: 'corp', claimed: `corp/${cause}`, hash: 'ab'.repeat(32) }
      const reason = new LogInRefused(cause, `it is ${cause}`, { evidence })
      const client = { address: '192.0.2.7', port: 5, listener: '127.0.0.1:9042', driverName: 'gocql' }
      refusals.answer('auto', { ...client, reason, claimed: undefined })
      const remembered = new RememberedRefusals()
      remembered.take(refusals.takeRecent(), 'sidecar-1')
      const text = whyTable(remembered.find(`corp/${cause}`), options).join('\n')
      for (const piece of [
        cause,
        `it is ${cause}`,
        'sidecar-1',
        '192.0.2.7',
        'gocql',
        '127.0.0.1:9042',
        'ab'.repeat(32),
      ])
        assert.ok(text.includes(piece), `${cause}: ${piece} in\n${text}`)
      const words = text.replaceAll(/\s+/g, ' ')
      assert.ok(words.includes(remedies[cause].means) && words.includes(remedies[cause].remedy), cause)
    }
    assert.match(remedyOf('a-later-one').remedy, /log of the proxy/)
    assert.match(remedyOf('constructor').remedy, /log of the proxy/)
  })

  it('looks so', () => {
    assert.deepEqual(
      whyTable([row(), row({ cause: 'audience', words: 'another', count: 1, lastMs: 0 })], options).slice(0, 6),
      [
        'AGO    TIMES  BY         CAUSE     FROM       CLAIMED',
        '5m12s      3  gateway-1  expired   192.0.2.7  corp/alice',
        '10m0s      1  gateway-1  audience  192.0.2.7  corp/alice',
        '',
        'expired: what was shown had ended before',
        '  last      the token expired 312 s ago',
      ],
    )
  })

  it('fits 80 columns and does nothing to a terminal, whatever strangers said', () => {
    const texts = ['x'.repeat(3_000), '漢'.repeat(500), 'a b '.repeat(300), '\u001b[2J\n\r\u0007\u202e', '']
    const fields = [
      'cause',
      'words',
      'proxy',
      'listener',
      'address',
      'claimed',
      'driver',
      'gateway',
      'session',
    ] as const
    const v6 = {
      address: '2001:db8:1234:5678:9abc:def0:1234:5678',
      claimed: 'c'.repeat(70),
      cause: 'too-many-attempts',
    }
    const rows = [
      row(v6),
      ...texts.flatMap((text) =>
        fields.map((field) => row({ [field]: text, ...(field === 'words' ? { cause: text.slice(0, 3) } : {}) })),
      ),
    ]
    for (const some of [...rows.map((one) => [one]), rows]) {
      for (const line of whyTable(some, { ...options, rowsMax: 100 })) {
        assert.ok(widthOf(line) <= 80, `${widthOf(line)}: ${line}`)
        assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u202e]/)
      }
    }
    assert.match(whyTable(rows, options).join('\n'), /… and \d+ more \(-o json has all\)/)
  })
})
