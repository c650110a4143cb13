import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readTime, readZone, timeText } from './time-words.ts'

const berlin = 'Europe/Berlin'
const utc = 'UTC'

function read(words: string, now: string, zone: string): [string, string | undefined] {
  const { fromMs, toMs } = readTime(words, Date.parse(now), zone)
  return [new Date(fromMs).toISOString(), toMs === undefined ? undefined : new Date(toMs).toISOString()]
}

describe('times as people say them', () => {
  // A Monday.
  const now = '2026-11-30T14:30:15Z'
  const cases: readonly (readonly [string, string, string, string, string | undefined])[] = [
    ['last night', now, utc, '2026-11-29T20:00:00.000Z', '2026-11-30T06:00:00.000Z'],
    ['since last night', now, berlin, '2026-11-29T19:00:00.000Z', '2026-11-30T05:00:00.000Z'],
    // After midnight it is the one that is now; before it, that of the day before.
    ['Last  Night', '2026-11-30T02:00:00Z', utc, '2026-11-29T20:00:00.000Z', '2026-11-30T06:00:00.000Z'],
    ['last night', '2026-11-30T22:00:00Z', utc, '2026-11-29T20:00:00.000Z', '2026-11-30T06:00:00.000Z'],
    ['yesterday', now, utc, '2026-11-29T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['yesterday', now, berlin, '2026-11-28T23:00:00.000Z', '2026-11-29T23:00:00.000Z'],
    // The day on which clocks go forward has 23 hours, the other one 25.
    ['yesterday', '2026-03-30T10:00:00Z', berlin, '2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z'],
    ['yesterday', '2026-10-26T10:00:00Z', berlin, '2026-10-24T22:00:00.000Z', '2026-10-25T23:00:00.000Z'],
    ['today', now, utc, '2026-11-30T00:00:00.000Z', undefined],
    ['this morning', now, utc, '2026-11-30T06:00:00.000Z', '2026-11-30T12:00:00.000Z'],
    ['since monday', now, utc, '2026-11-30T00:00:00.000Z', undefined],
    ['last monday', now, utc, '2026-11-23T00:00:00.000Z', undefined],
    ['since sunday', now, utc, '2026-11-29T00:00:00.000Z', undefined],
    ['tuesday', now, utc, '2026-11-24T00:00:00.000Z', undefined],
    ['this week', now, utc, '2026-11-30T00:00:00.000Z', undefined],
    ['last week', now, utc, '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['2h', now, utc, '2026-11-30T12:30:15.000Z', undefined],
    ['90 minutes ago', now, utc, '2026-11-30T13:00:15.000Z', undefined],
    ['1h30m', now, utc, '2026-11-30T13:00:15.000Z', undefined],
    ['90d', now, utc, '2026-09-01T14:30:15.000Z', undefined],
    ['2 weeks', now, utc, '2026-11-16T14:30:15.000Z', undefined],
    ['14:05', now, berlin, '2026-11-30T13:05:00.000Z', undefined],
    ['2026-11-29', now, berlin, '2026-11-28T23:00:00.000Z', undefined],
    ['2026-11-29 02:30', now, utc, '2026-11-29T02:30:00.000Z', undefined],
    ['2026-11-29T02:00:00Z', now, berlin, '2026-11-29T02:00:00.000Z', undefined],
    ['2026-11-29T02:00:00+05:30', now, berlin, '2026-11-28T20:30:00.000Z', undefined],
    ['2026-11-29T02:00+01', now, berlin, '2026-11-29T01:00:00.000Z', undefined],
    ['2026-11-29 02:00:00.5-0330', now, utc, '2026-11-29T05:30:00.500Z', undefined],
    ['now', now, utc, '2026-11-30T14:30:15.000Z', undefined],
  ]
  for (const [words, at, zone, from, to] of cases) {
    it(`${words}, at ${at} in ${zone}`, () => assert.deepEqual(read(words, at, zone), [from, to]))
  }

  it('nothing else is a time', () => {
    for (const words of [
      '',
      'soon',
      '5',
      'h',
      '-2h',
      '2 months',
      '25:00',
      '12:60',
      '2026-13-01',
      '2026-02-30',
      '2h x',
      'last',
      'noon',
      '2026-11-29T02:00[Europe/Berlin]',
      '2026-11-29T02:00+01:00[Europe/Berlin]',
      '2026-11-29T02:00+1',
      '2026-11-29T02:00 CET',
      '2026-11-29T02',
      '2026-11-29+01:00',
      '2026-11-29Z',
      '2026-11-29[u-ca=hebrew]',
      '20261129',
    ])
      assert.throws(() => readTime(words, Date.parse(now), utc), { code: 'USAGE' }, words)
    for (const zone of ['Europe/Nowhere', '', '+25:00']) assert.throws(() => readZone(zone), { code: 'USAGE' }, zone)
    assert.equal(readZone('+02:00'), '+02:00')
  })

  it('are said in their zone', () => {
    const nowMs = Date.parse(now)
    assert.equal(timeText(nowMs, berlin, nowMs), 'Mon 30 Nov 15:30')
    assert.equal(timeText(Date.parse('2026-12-01T00:05:00Z'), 'America/New_York', nowMs), 'Mon 30 Nov 19:05')
    assert.equal(timeText(Date.parse('2025-12-31T22:59:00Z'), berlin, nowMs), 'Wed 31 Dec 2025 23:59')
    assert.equal(timeText(Date.parse('2025-12-31T23:00:00Z'), berlin, nowMs), 'Thu 1 Jan 00:00')
  })
})
