/** `audit explain`: each hop of one transaction, from both forms of the record, and the proof where there is one. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { BothForms, filesOf } from '../../archive/both-forms.fixture.ts'
import type { EventStatement } from '../../audit/event.ts'
import { decodeHeader } from '../../audit/sealed/format.ts'
import { SealedLines } from '../../audit/sealed/lines.ts'
import { sidecarId, startMs, statementOf, TestLog } from '../../audit/sealed/log.fixture.ts'
import { originOf } from '../../audit/sealed/log-key.ts'
import { widthOf } from '../screen.ts'
import { CommandLines, type Ran } from './command-lines.fixture.ts'

interface Told {
  readonly id: string
  readonly hops: readonly ({ readonly hop: string } & { readonly [fact: string]: unknown })[]
}

const times = ['--since', new Date(startMs - 1).toISOString()]

/** What a record remembers of a statement is of one process. */
const selectAnew = (): EventStatement => statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders'])

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

  /** What the files that `--proof` wrote say, each block checked by its header. */
  function saidBy(name: string): { readonly [field: string]: unknown }[] {
    const lines: { readonly [field: string]: unknown }[] = []
    const sealed = new SealedLines((line) => lines.push(JSON.parse(line)))
    const block = readFileSync(join(folder, `${name}.block`))
    const proof = readFileSync(join(folder, `${name}.tlog-proof`), 'utf8')
    const header = decodeHeader(Buffer.from(/^extra (.*)$/m.exec(proof)![1]!, 'base64'))!
    assert.deepEqual(header.hash, createHash('sha256').update(block).digest())
    sealed.block(block, header.numberBefore)
    sealed.end()
    return lines
  }

  it('proves what became of each kind of record too, in the same block or another, and says where it does not', async () => {
    const log = new TestLog(join(folder, 'outcomes'))
    const asked = selectAnew()
    const begun = (rows: number) => {
      const request = Object.assign(log.request('orders', asked), { rows })
      log.record.begun(request)
      return request
    }
    const [late, early, never] = [begun(41), begun(42), begun(43)]
    const ended = begun(44)
    log.record.ended(ended)
    log.record.endTurn()
    log.writer.sealNow()
    log.run(30, 'billing', asked)
    log.record.ended(early)
    log.record.endTurn()
    log.writer.sealNow()
    log.run(30, 'billing', asked)
    log.record.endTurn()
    log.writer.sealNow()
    log.record.ended(late)
    log.record.endTurn()
    assert.ok(never)
    // As it is now: by itself it is sealed each second.
    const from = join(folder, 'outcomes-now')
    cpSync(log.directory, from, { recursive: true })
    log.writer.close()
    // Numbers 1 and 2 are events.
    const wanted: readonly (readonly [number, 'here' | 'elsewhere' | 'no', number | undefined])[] = [
      [1, 'here', undefined],
      [2, 'here', undefined],
      [3, 'no', undefined],
      [4, 'elsewhere', 42],
      [5, 'no', undefined],
      [6, 'here', 44],
      [7, 'here', 1],
    ]
    for (const [seq, where, rows] of wanted) {
      const name = `outcome-${seq}`
      const { code, out, err } = await explain(`sidecar-1/${seq}`, from, '--proof', name, '-o', 'json')
      assert.equal(code, 0, err)
      const { proof, outcome } = hopOf(JSON.parse(out) as Told, 'log') as {
        proof: unknown
        outcome: { proven: boolean; why?: string }
      }
      assert.match(String(proof), /^c2sp/, `${seq}`)
      assert.equal(outcome.proven, where !== 'no', `${seq}`)
      const words = (await explain(`sidecar-1/${seq}`, from)).out
      assert.equal(
        /only what was intended is proven: what became of it is in no sealed block/.test(words),
        where === 'no',
        words,
      )
      assert.equal(/what became of it: block 2 /.test(words), where === 'elsewhere')
      assert.equal(existsSync(join(folder, `${name}.outcome.block`)), where === 'elsewhere')
      assert.ok(saidBy(name).some((line) => line.seq === seq))
      if (rows === undefined) continue
      const line = saidBy(where === 'elsewhere' ? `${name}.outcome` : name).find((one) => one.seq === seq)!
      assert.deepEqual(
        [line.rows, line.outcome, line.workload],
        [rows, 'ok', `spiffe://demo.local/svc/${seq === 7 ? 'billing' : 'orders'}`],
      )
      const proven = await commands.run(['audit', 'proof', String(seq), '--dir', from, '--out', 'own'])
      assert.equal(/what became of it is in block 2: own\.outcome\.tlog-proof/.test(proven.out), where === 'elsewhere')
    }
  })

  it('what a process that was killed left open is proven to be unknown', async () => {
    const killed = new BothForms(join(folder, 'killed'))
    killed.run(1)
    killed.begin()
    killed.restart(true)
    killed.run(3)
    killed.close()
    const id = await idWhere(`error_message LIKE 'what became of it is not known%'`, killed.sealedPath)
    assert.equal((hopOf(await told(id, killed.sealedPath), 'log').outcome as { proven: boolean }).proven, true)
  })

  it('takes for the proof of a record that of no other one of its number, and of no block that was changed', async () => {
    const [first, anew, other] = ['first', 'anew', 'other'].map((name) => join(folder, name, 'audit')) as [
      string,
      string,
      string,
    ]
    const logOf = (directory: string, proxy: string, laterMs: number, workload: string): TestLog => {
      const clock = { now: () => startMs + laterMs, monotonic: () => 0 } as never
      const log = new TestLog(directory, { proxy: 'sidecar-1', origin: originOf(sidecarId(proxy)), clock })
      log.run(30, workload, selectAnew())
      log.writer.close()
      return log
    }
    logOf(first, 'sidecar-1', 0, 'orders')
    logOf(anew, 'sidecar-1', 3_600_000, 'billing')
    // It says the name of the first one.
    logOf(other, 'sidecar-2', 7_200_000, 'thief')
    const lines = await commands.run(['audit', 'lines', both.sealedPath])
    mkdirSync(join(folder, 'as-lines'))
    writeFileSync(join(folder, 'as-lines', 'audit-sidecar-1.jsonl'), lines.out)
    const all = [first, anew, other].flatMap((one) => ['--from', one])
    const at = (hour: number): string[] => [
      ...['--since', new Date(startMs + hour * 3_600_000 - 1).toISOString()],
      ...['--until', new Date(startMs + hour * 3_600_000 + 1_800_000).toISOString()],
    ]
    for (const [hour, workload, name] of [
      [0, 'orders', 'sidecar-1'],
      [1, 'billing', 'sidecar-1'],
      [2, 'thief', 'sidecar-2'],
    ] as const) {
      const id = ['audit', 'explain', 'sidecar-1/12', ...at(hour)]
      const { code, out, err } = await commands.run([...id, ...all, '--proof', 'of-it', '-o', 'json'])
      assert.equal(code, 0, err)
      const log = hopOf(JSON.parse(out) as Told, 'log')
      assert.equal(log.origin, originOf(sidecarId(name)), 'whose log it is')
      assert.equal(saidBy('of-it').find(({ seq }) => seq === 12)!.workload, `spiffe://demo.local/svc/${workload}`)
    }
    // The row is a line of JSON; a sealed log has another record of its number.
    const id = await idWhere(`seq = 12`, join(folder, 'as-lines'))
    const beside = ['--from', anew, '--until', new Date(startMs + 1_800_000).toISOString()]
    const none = await explain(id, join(folder, 'as-lines'), ...beside)
    assert.match(none.out, /it has no proof: the record of this number in the sealed log audit is another one/)
    assert.equal((await explain(id, join(folder, 'as-lines'), ...beside, '--proof', 'none')).code, 1)
    const { path } = filesOf(first)[0]!
    const bytes = readFileSync(path)
    bytes.write('thief.', bytes.indexOf('orders'))
    writeFileSync(path, bytes)
    const changed = await commands.run(['audit', 'explain', 'sidecar-1/12', ...at(0), '--from', first])
    assert.match(changed.out, /it has no proof: block \d+ is not what was sealed/)
  })

  it('its help keeps to 80 columns', async () => {
    for (const verb of ['explain', 'tail']) {
      const { out } = await commands.run(['audit', verb, '--help'])
      for (const line of out.split('\n')) assert.ok(widthOf(line) <= 80, line)
    }
  })
})
