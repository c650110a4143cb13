/** Hour by hour: each is an hour of the zone that was named, also where its clocks change. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { RecordFolder } from '../../archive/lines.fixture.ts'
import { CommandLines } from './command-lines.fixture.ts'
import { offsetsOf } from './offsets.ts'

/** From, to and zone; when requests came; what `who --by hour` says of them. */
const cases: readonly (readonly [string, string, string, readonly string[], readonly string[]])[] = [
  [
    '2026-10-24',
    '2026-10-26',
    'Europe/Berlin',
    ['2026-10-25T00:30:00Z', '2026-10-25T00:59:59Z', '2026-10-25T01:00:00Z', '2026-10-25T02:10:00Z'],
    ['2026-10-25 02:00+02:00 2', '2026-10-25 02:00+01:00 1', '2026-10-25 03:00+01:00 1'],
  ],
  [
    '2026-03-28',
    '2026-03-30',
    'Europe/Berlin',
    ['2026-03-29T00:59:59Z', '2026-03-29T01:00:00Z'],
    ['2026-03-29 01:00+01:00 1', '2026-03-29 03:00+02:00 1'],
  ],
  [
    // Clocks go back by half an hour.
    '2026-04-04',
    '2026-04-06',
    'Australia/Lord_Howe',
    ['2026-04-04T14:40:00Z', '2026-04-04T15:10:00Z', '2026-04-04T15:40:00Z'],
    ['2026-04-05 01:00+11:00 1', '2026-04-05 01:00+10:30 1', '2026-04-05 02:00+10:30 1'],
  ],
  ['2026-01-01', '2026-02-01', '+02:00', ['2026-01-02T22:30:00Z'], ['2026-01-03 00:00+02:00 1']],
  ['2026-01-01', '2026-02-01', '-03:30', ['2026-01-02T03:29:00Z'], ['2026-01-01 23:00-03:30 1']],
  ['2026-01-01', '2026-02-01', 'Asia/Kolkata', ['2026-01-02T00:30:00Z'], ['2026-01-02 06:00+05:30 1']],
  ['2026-01-01', '2026-02-01', 'UTC', ['2026-01-02T00:30:00Z'], ['2026-01-02 00:00+00:00 1']],
]

describe('who, by the hour', () => {
  let folder: string
  let commands: CommandLines
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-hours-'))
    commands = new CommandLines(folder)
  })
  after(() => {
    commands.end()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const [i, [since, until, zone, times, hours]] of cases.entries()) {
    it(`${since} to ${until}, ${zone}`, async () => {
      const record = new RecordFolder(join(folder, String(i)))
      for (const time of times) record.add(record.file(), Date.parse(time), { text: 'SELECT * FROM shop.orders' })
      const range = ['--since', since, '--until', until, '--zone', zone, '--by', 'hour']
      const { code, out, err } = await commands.run(['who', ...range, '-o', 'json', '--from', record.path])
      assert.equal(code, 0, err)
      const rows = JSON.parse(out) as { hour: string; requests: number }[]
      assert.deepEqual(
        rows.map(({ hour, requests }) => `${hour} ${requests}`),
        hours,
      )
    })
  }

  it('a zone has one offset more for each change of its clocks in the range', () => {
    const texts = (from: string, to: string, zone: string): string[] =>
      offsetsOf({ fromMs: Date.parse(from), toMs: Date.parse(to), zone }).map(({ text }) => text)
    assert.deepEqual(texts('2026-01-01', '2027-01-01', 'Europe/Berlin'), ['+01:00', '+02:00', '+01:00'])
    assert.deepEqual(texts('2026-07-01', '2026-08-01', 'Europe/Berlin'), ['+02:00'])
    assert.deepEqual(texts('2026-01-01', '2027-01-01', '+02:00'), ['+02:00'])
  })
})
