/** The control plane collects sealed records, over the wire: from each sidecar its own, as the witness knows it, through restarts of both. */
import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import type { Agent } from '../agent/agent.ts'
import { frameKind } from '../audit/sealed/format.ts'
import { folderOfLog, TestLog } from '../audit/sealed/log.fixture.ts'
import { originOf } from '../audit/sealed/log-key.ts'
import { type NoteKey, openCheckpoint } from '../audit/sealed/note.ts'
import { segmentsOf } from '../audit/sealed/recover.ts'
import { RecordShipping } from '../audit/sealed/shipping.ts'
import { ShownCheckpoints } from '../audit/sealed/shown.ts'
import { placesOf } from '../audit/sealed/tampering.fixture.ts'
import { verifyLog } from '../audit/sealed/verify.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type CollectAnswer, type CollectRequest, collectAnswer, collectPath } from '../mesh/collection.ts'
import { type WitnessRequest, witnessAnswer, witnessPath } from '../mesh/witness.ts'
import { Collection } from './collection.ts'
import { type Mesh, withMesh } from './mesh.fixture.ts'

const idOf = (role: string, name: string): string => `spiffe://demo.local/ringfence/${role}/${name}`

/** A sidecar's side of it: shows each checkpoint, then hands over what it was signed for. */
class Ships {
  readonly directory = folderOfLog()
  readonly told: string[] = []
  readonly #agent: Agent
  readonly #name: string
  readonly #shown: ShownCheckpoints
  signed: { readonly note: string; readonly key: NoteKey } | undefined

  constructor(agent: Agent, name: string) {
    this.#agent = agent
    this.#name = name
    this.#shown = new ShownCheckpoints({
      directory: this.directory,
      ask: (request: WitnessRequest) => agent.askControl(witnessPath, request, witnessAnswer),
      onRefused: (why) => this.told.push(why),
    })
  }

  /** Writes blocks, and closes the log. */
  async write(blocks: number, workload = 'orders'): Promise<void> {
    const origin = originOf(parseSpiffeId(idOf('sidecar', this.#name)))
    const notes: [string, NoteKey][] = []
    const log = new TestLog(this.directory, {
      proxy: this.#name,
      origin,
      segmentBytesMax: 4_000,
      onCheckpoint: (note, key) => notes.push([note, key]),
    })
    for (let block = 0; block < blocks; block++) {
      log.run(20, workload)
      log.nowMs += 1_000
      log.writer.sealNow()
    }
    log.writer.close()
    const [note, key] = notes.at(-1)!
    this.signed = { note, key }
    await this.#shown.show(note, key)
  }

  async handOver(): Promise<RecordShipping['figures']> {
    const shipping = new RecordShipping({
      directory: this.directory,
      ask: (request: CollectRequest) => this.#agent.askControl(collectPath, request, collectAnswer),
      keepBytesMax: undefined,
      onRefused: (why) => this.told.push(why),
    })
    await shipping.signed(this.signed!.note, this.signed!.key)
    shipping.stop()
    return shipping.figures
  }

  get size(): number {
    return openCheckpoint(this.signed!.note, this.signed!.key)!.size
  }
}

const collectedOf = (mesh: Mesh, name: string): string => {
  const collected = join(mesh.stateDir, 'collected')
  const folder = readdirSync(collected).find((one) => one.startsWith(`ringfence_sidecar_${name}-`))
  return join(collected, folder ?? assert.fail(`nothing of ${name}`))
}

const assertCopied = (mesh: Mesh, name: string, ships: Ships): void => {
  const copy = collectedOf(mesh, name)
  assert.deepEqual(verifyLog(copy, { known: [ships.signed!.note] }).findings, [])
  assert.equal(verifyLog(copy).blocks, ships.size)
  for (const path of segmentsOf(copy)) {
    const bytes = readFileSync(path)
    const own = readFileSync(join(ships.directory, path.slice(copy.length + 1)))
    assert.ok(bytes.equals(own.subarray(0, bytes.length)), path)
  }
}

describe('the control plane collects records', () => {
  it('of each sidecar its own, goes on after restarts, and loses nothing while it is away', () =>
    withMesh({}, async (mesh) => {
      const agents = [
        await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n1'), 'sidecar')),
        await mesh.agent('n2', await mesh.token(idOf('sidecar', 'n2'), 'sidecar')),
      ]
      const [one, two] = [new Ships(agents[0]!, 'n1'), new Ships(agents[1]!, 'n2')]
      await one.write(12)
      await two.write(3, 'billing')
      const all = await Promise.all([one.handOver(), two.handOver()])
      assert.deepEqual(
        all.map(({ uncollectedWhy }) => uncollectedWhy),
        [undefined, undefined],
      )
      assertCopied(mesh, 'n1', one)
      assertCopied(mesh, 'n2', two)

      await mesh.control.stop()
      const away = await one.handOver()
      assert.equal(away.uncollectedWhy, 'the control plane is away')
      assert.ok(away.uncollectedBytes > 1_000)
      await mesh.restart()
      await one.write(9)
      assert.equal((await one.handOver()).uncollectedWhy, undefined)
      assertCopied(mesh, 'n1', one)
      assertCopied(mesh, 'n2', two)
    }))

  it('only as the witness knows them, from sidecars only, and nothing that was changed', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n1'), 'sidecar'))
      const ships = new Ships(agent, 'n1')
      await ships.write(6)
      const { key } = ships.signed!
      const request = { key: key.text, segment: '', bytes: 0, frames: '' }
      const gateway = await mesh.agent('g1', await mesh.token(idOf('gateway', 'g1'), 'gateway'), { role: 'gateway' })
      await assert.rejects(gateway.askControl(collectPath, request, collectAnswer), { code: 'IDENTITY' })
      const other = await mesh.agent('n2', await mesh.token(idOf('sidecar', 'n2'), 'sidecar'))
      assert.equal((await other.askControl(collectPath, request, collectAnswer)).refused, 'not witnessed')

      // An outcome of the first segment, edited before it was handed over.
      const untouched = folderOfLog()
      cpSync(ships.directory, untouched, { recursive: true })
      const [first] = segmentsOf(ships.directory)
      const bytes = readFileSync(first!)
      bytes[placesOf(bytes, frameKind.outcome)[5]!.end - 1]! ^= 1
      writeFileSync(first!, bytes)
      const refused = await ships.handOver()
      assert.match(refused.uncollectedWhy ?? '', /has a block \d+ that is not what was sealed/)
      assert.equal(ships.told.length, 1)
      cpSync(untouched, ships.directory, { recursive: true })
      assert.equal((await ships.handOver()).uncollectedWhy, undefined)
      assertCopied(mesh, 'n1', ships)

      // Another story with the log's own key, behind a witness that has seen this one.
      const forked = new Ships(agent, 'n1')
      cpSync(join(ships.directory, 'log.key'), join(forked.directory, 'log.key'))
      await forked.write(9, 'another')
      assert.deepEqual(forked.told, ['forked'])
      assert.notEqual((await forked.handOver()).uncollectedWhy, undefined)
      assertCopied(mesh, 'n1', ships)

      // A copy that somebody changed here is not gone on with, and said.
      await ships.write(2)
      const copy = collectedOf(mesh, 'n1')
      await mesh.control.stop()
      const [kept] = segmentsOf(copy)
      for (const path of [kept!, join(copy, 'checkpoint'), join(copy, 'tile')]) rmSync(path, { recursive: true })
      await mesh.restart()
      assert.match(
        (await ships.handOver()).uncollectedWhy ?? '',
        /begins with block \d+, and blocks 0 to \d+ are not here/,
      )
    }))

  it('leaves room on the disk, and looks seldom at a copy that cannot be gone on with', async () => {
    const directory = folderOfLog()
    const origin = originOf(parseSpiffeId(idOf('sidecar', 'n1')))
    let signed: { readonly note: string; readonly key: NoteKey } | undefined
    const source = new TestLog(folderOfLog(), {
      proxy: 'n1',
      origin,
      onCheckpoint: (note, key) => (signed = { note, key }),
    })
    source.run(20)
    source.writer.close()
    const { note, key } = signed!
    const room = { freeBytes: 900, bytes: 10_000 }
    let nowMs = 1_000
    const collecting = (): Collection =>
      new Collection({
        directory,
        witnessed: () => ({ origin, key: key.text, size: openCheckpoint(note, key)!.size, atMs: 0, checkpoint: note }),
        log: pino({ level: 'silent' }),
        room: () => Promise.resolve(room),
        nowMs: () => nowMs,
      })
    const caller = { origin, proxy: 'n1' }
    const taken = async (collection: Collection): Promise<RecordShipping['figures']> => {
      const ask = (request: CollectRequest): Promise<CollectAnswer> => collection.take(caller, request)
      const shipping = new RecordShipping({
        directory: source.directory,
        ask,
        keepBytesMax: undefined,
        onRefused: () => {},
      })
      await shipping.signed(note, key)
      shipping.stop()
      return shipping.figures
    }
    room.freeBytes = 400
    const collection = collecting()
    assert.match((await taken(collection)).uncollectedWhy ?? '', /its disk is full but for what it needs itself/)
    room.freeBytes = 900
    assert.deepEqual(await taken(collection), { uncollectedBytes: 0, uncollectedWhy: undefined })

    const copy = join(directory, readdirSync(directory)[0]!)
    const [segment] = segmentsOf(copy)
    const bytes = readFileSync(segment!)
    const restarted = collecting()
    for (const path of [join(copy, 'checkpoint'), join(copy, 'tile')]) rmSync(path, { recursive: true })
    writeFileSync(
      segment!,
      bytes.map((byte, at) => (at === bytes.length - 200 ? byte ^ 1 : byte)),
    )
    const changed = await taken(restarted)
    assert.ok(changed.uncollectedWhy !== undefined)
    writeFileSync(segment!, bytes)
    assert.deepEqual(await taken(restarted), changed, 'it is not read again at once')
    nowMs += 31_000
    assert.equal((await taken(restarted)).uncollectedWhy, undefined)
  })
})
