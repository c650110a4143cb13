/** `audit explain`: each hop of one transaction, from both forms of the record, and the proof where there is one. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { BothForms } from '../../archive/both-forms.fixture.ts'
import { startMs } from '../../audit/sealed/log.fixture.ts'
import { widthOf } from '../screen.ts'
import { CommandLines, type Ran } from './command-lines.fixture.ts'

interface Told {
  readonly id: string
  readonly hops: readonly ({ readonly hop: string } & { readonly [fact: string]: unknown })[]
}

const times = ['--since', new Date(startMs - 1).toISOString()]

describe('audit explain', () => {
  let folder: string
  let commands: CommandLines
  let both: BothForms
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-story-'))
    commands = new CommandLines(folder)
    both = new BothForms(folder)
    both.run(20)
    both.close()
  })
  after(() => {
    commands.end()
    rmSync(folder, { recursive: true, force: true })
  })

  const explain = (id: string, from: string, ...more: string[]): Promise<Ran> =>
    commands.run(['audit', 'explain', id, ...times, '--from', from, ...more])

  async function idWhere(condition: string, from: string): Promise<string> {
    const sql = `SELECT proxy || '/' || seq AS id FROM record WHERE ${condition} ORDER BY time DESC, latency_micros, bytes_in LIMIT 1`
    const { out, err } = await commands.run(['audit', 'query', sql, ...times, '-o', 'json', '--from', from])
    assert.equal(err, '')
    return (JSON.parse(out) as { id: string }[])[0]!.id
  }

  async function told(id: string, from: string, code = 0): Promise<Told> {
    const ran = await explain(id, from, '-o', 'json')
    assert.equal(ran.code, code, ran.err)
    return JSON.parse(ran.out) as Told
  }

  const hopOf = ({ hops }: Told, name: string): { readonly [fact: string]: unknown } =>
    hops.find(({ hop }) => hop === name) ?? assert.fail(`no ${name} in ${hops.map(({ hop }) => hop).join()}`)

  it('tells a request of a person behind a gateway, the same of both forms but for the proof', async () => {
    const where = `person LIKE 'corp/alice%' AND outcome = 'ok' AND operation = 'SELECT' AND verdict = 'allow'`
    const stories = []
    for (const from of [both.linesPath, both.sealedPath]) {
      const story = await told(await idWhere(where, from), from)
      assert.deepEqual(
        story.hops.map(({ hop }) => hop),
        ['client', 'person', 'gateway', 'sidecar', 'verdict', 'node', 'log'],
      )
      const client = hopOf(story, 'client')
      assert.equal(client.workload, 'spiffe://demo.local/tool/cqlsh')
      assert.equal(client.address, '2001:db8::7')
      assert.equal((client.log_in as { evidence_hash?: unknown }).evidence_hash, 'ab'.repeat(32))
      assert.equal(hopOf(story, 'gateway').gateway, 'spiffe://demo.local/ringfence/gateway/g1')
      assert.equal(hopOf(story, 'verdict').rule, 'orders-service')
      assert.equal(hopOf(story, 'verdict').policy_revision, 7)
      stories.push(story.hops.filter(({ hop }) => hop !== 'log'))
      const log = hopOf(story, 'log')
      assert.equal(log.id, story.id)
      if (from === both.linesPath) assert.match(String(log.why), /nothing proves it/)
      else {
        assert.equal(log.origin, 'ringfence.demo.local/audit/ringfence/sidecar/test/dc1/sidecar-1')
        assert.match(String(log.proof), /^c2sp\.org\/tlog-proof@v1\n/)
        const { first, last } = log.block as { first: number; last: number }
        const seq = Number(story.id.split('/')[1])
        assert.ok(first <= seq && seq <= last)
      }
    }
    assert.deepEqual(stories[1], stories[0])
  })

  it('writes the proof that it tells of', async () => {
    const id = await idWhere(`operation = 'INSERT'`, both.sealedPath)
    const { code, err } = await explain(id, both.sealedPath, '--proof', 'shown')
    assert.ok(code === 0 || code === 2, err)
    const proof = readFileSync(join(folder, 'shown.tlog-proof'), 'utf8')
    const header = Buffer.from(/^extra (.*)$/m.exec(proof)![1]!, 'base64')
    const block = readFileSync(join(folder, 'shown.block'))
    assert.deepEqual(header.subarray(48), createHash('sha256').update(block).digest())
    const none = await explain(await idWhere(`operation = 'INSERT'`, both.linesPath), both.linesPath, '--proof', 'none')
    assert.equal(none.code, 1)
    assert.match(none.err, /no proof[\s\S]*only a sealed record/)
  })

  it('ends with 2 for what was refused, and says by which rule', async () => {
    for (const from of [both.linesPath, both.sealedPath]) {
      const story = await told(await idWhere(`verdict = 'deny'`, from), from, 2)
      assert.equal(hopOf(story, 'verdict').rule, 'overloaded')
      assert.equal(hopOf(story, 'answer').error_code, 0x1001)
    }
  })

  it('says of what was lost that nobody knows', async () => {
    const { code, out } = await explain(await idWhere(`outcome = 'lost'`, both.sealedPath), both.sealedPath)
    assert.equal(code, 0)
    assert.match(out, /no answer is known; what the node did is not known either/)
    for (const line of out.split('\n')) assert.doesNotMatch(line, /\u202e|\n.*\u0000/)
  })

  it('tells of a log-in that was refused, which is no transaction', async () => {
    const story = await told(await idWhere(`event = 'log-in refused'`, both.sealedPath), both.sealedPath)
    assert.deepEqual(
      story.hops.map(({ hop }) => hop),
      ['event', 'log'],
    )
    assert.equal(hopOf(story, 'event').cause, 'expired')
  })

  it('a number that nothing has ends with 1, one of two sidecars with 64, words with 64, no record with 65', async () => {
    assert.equal((await explain('sidecar-1/999999', both.linesPath)).code, 1)
    assert.equal((await explain('sidecar-2/3', both.linesPath)).code, 1)
    assert.equal((await explain('sidecar-1/0', both.linesPath)).code, 64)
    assert.equal((await explain('three', both.linesPath)).code, 64)
    assert.equal((await explain('3', join(folder, 'nothing'))).code, 65)
    const two = await explain('3', both.linesPath, '--from', both.sealedPath)
    assert.equal(two.code, 64, two.out)
    assert.match(two.err, /2 records have this number: sidecar-1\/3 at/)
    assert.equal((await explain('3', both.linesPath)).code, 0, 'only its number where it is one')
  })

  it('its help keeps to 80 columns', async () => {
    for (const verb of ['explain', 'tail']) {
      const { out } = await commands.run(['audit', verb, '--help'])
      for (const line of out.split('\n')) assert.ok(widthOf(line) <= 80, line)
    }
  })
})
