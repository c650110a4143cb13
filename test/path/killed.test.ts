/**
 * Kill −9 at many points: whatever the node saw has exactly one intent and one outcome in the sealed record, and what was answered is there
 * as answered. The next start says what is not known, and the log is whole.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { it, describe as suite } from 'node:test'
import { SealedLines } from '../../src/audit/sealed/lines.ts'
import { originOf } from '../../src/audit/sealed/log-key.ts'
import { segmentsOf } from '../../src/audit/sealed/recover.ts'
import { verifyLog } from '../../src/audit/sealed/verify.ts'
import { SealedWriter } from '../../src/audit/sealed/writer.ts'
import { systemClock } from '../../src/base/clock.ts'
import { parseSpiffeId } from '../../src/identity/spiffe.ts'

/** RINGFENCE_KILLS=1000 asks for more. */
const points = Number(process.env.RINGFENCE_KILLS ?? 20)

interface Seen {
  readonly folder: string
  readonly record: string
  readonly saw: string[]
  readonly answered: string[]
}

/** Runs the sidecar and kills it when it has said so many lines. */
async function killedAfter(lines: number): Promise<Seen> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed.fixture.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (piece: string) => {
    text += piece
    if (text.split('\n').length > lines) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const all = (what: string): string[] =>
    [...text.matchAll(new RegExp(`^${what} (.+)\n`, 'gm'))].map(([, value = '']) => value)
  return { folder: all('folder')[0]!, record: all('record')[0]!, saw: all('saw'), answered: all('answered') }
}

/** The next start of the sidecar, as far as its record is concerned. */
function startAgain(directory: string): void {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const writer = new SealedWriter({
    directory,
    proxy: 'killed',
    origin: originOf(parseSpiffeId('spiffe://demo.local/ringfence/sidecar/test/dc1/killed')),
    certifier: () => ({
      spiffeId: 'spiffe://demo.local/x',
      certificatePem: '',
      keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }),
    durability: 'kernel',
    segmentBytesMax: 64 * 1024 * 1024,
    clock: systemClock,
  })
  writer.close()
}

function recordOf(directory: string): Map<string, string[]> {
  const outcomes = new Map<string, string[]>()
  const sealed = new SealedLines((line) => {
    const { statement, outcome } = JSON.parse(line) as { statement?: string; outcome?: string }
    const [, number] = /request(\d+)_/.exec(statement ?? '') ?? []
    if (number !== undefined) outcomes.set(number, [...(outcomes.get(number) ?? []), outcome ?? '?'])
  })
  for (const path of segmentsOf(directory)) sealed.segment(readFileSync(path))
  return outcomes
}

suite(`a sidecar that is killed at ${points} points`, () => {
  /** What was met over all of them. */
  const met = { segments: 0, blocks: 0, lost: 0 }

  for (let point = 0; point < points; point++) {
    it(`has one intent and one outcome for each statement that its node saw (${point + 1})`, async () => {
      const { folder, record, saw, answered } = await killedAfter(10 + point * 97)
      try {
        const { findings, segments, blocks } = verifyLog(record)
        assert.deepEqual(findings, [])
        startAgain(record)
        assert.deepEqual(verifyLog(record).findings, [])
        const outcomes = recordOf(record)
        met.segments = Math.max(met.segments, segments)
        met.blocks = Math.max(met.blocks, blocks)
        met.lost += [...outcomes.values()].filter(([outcome]) => outcome === 'lost').length
        assert.ok(saw.length > 0)
        for (const number of saw) assert.equal(outcomes.get(number)?.length, 1, `request ${number}`)
        for (const number of answered) assert.deepEqual(outcomes.get(number), ['ok'], `request ${number}`)
        for (const [number, all] of outcomes) assert.equal(all.length, 1, `request ${number}: ${all}`)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }

  it('had gone over to other segments, sealed, and waited for its node', { skip: points < 20 }, () => {
    assert.ok(met.segments >= 4 && met.blocks >= 4 && met.lost >= 4, JSON.stringify(met))
  })
})
