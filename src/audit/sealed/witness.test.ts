/** The witness signs what goes on from what it signed before; a log that was put back, or tells another story, it refuses. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { cpSync } from 'node:fs'
import { describe, it } from 'node:test'
import type { WitnessedLog } from '../../mesh/witness.ts'
import { HashTree, isConsistent } from './hash-tree.ts'
import { folderOfLog, sidecarId, TestLog } from './log.fixture.ts'
import { originOf } from './log-key.ts'
import { type NoteKey, openCheckpoint, parseNoteKey } from './note.ts'
import { proofOf } from './proof.ts'
import { ShownCheckpoints } from './shown.ts'
import { Tiles } from './tiles.ts'
import { Edge, sha256 } from './tree.ts'
import { verifyLog } from './verify.ts'
import { Witness, type WitnessBook } from './witness.ts'

const origin = originOf(sidecarId('sidecar-1'))

class Book implements WitnessBook {
  last: WitnessedLog | undefined
  witnessed(): WitnessedLog | undefined {
    return this.last
  }
  putWitnessed(log: WitnessedLog): void {
    this.last = log
  }
}

function witnessed(directory: string, book = new Book()) {
  const witness = new Witness('ringfence.demo.local/witness', generateKeyPairSync('ed25519').privateKey)
  const refused: string[] = []
  const shown = new ShownCheckpoints({
    directory,
    ask: async (request) => witness.add(book, origin, request, Date.now()),
    onRefused: (why) => refused.push(why),
  })
  let told: Promise<void> = Promise.resolve()
  const onCheckpoint = (note: string, key: NoteKey): void => {
    told = shown.show(note, key)
  }
  /** Seals a block, and waits for what the witness says, and for its answer to be kept beside the log. */
  const seal = async (log: TestLog): Promise<void> => {
    log.writer.sealNow()
    await told
  }
  return { book, refused, onCheckpoint, seal }
}

describe('a consistency proof', () => {
  it('leads from any size to any later one, and from no other root', () => {
    const log = new TestLog(folderOfLog())
    const roots = new Map<number, Buffer>()
    for (let size = 2; size <= 600; size++) {
      log.run(1)
      log.writer.sealNow()
    }
    log.writer.close()
    const tiles = new Tiles(log.directory)
    const edge = new Edge()
    for (let at = 0; at < 600; at++) {
      edge.add(tiles.hashes(0, Math.floor(at / 256), Math.min(256, 600 - 256 * Math.floor(at / 256)))[at % 256]!)
      roots.set(edge.size, edge.root())
    }
    const tree = new HashTree(tiles, 600)
    const now = { size: 600, root: roots.get(600)! }
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513, 599, 600]) {
      const proof = tree.consistency(size)
      assert.ok(isConsistent({ size, root: roots.get(size)! }, now, proof), String(size))
      if (size < 600) assert.equal(isConsistent({ size, root: sha256(Buffer.from('x')) }, now, proof), false)
    }
  })
})

describe('a witness', () => {
  it('signs each checkpoint, and goes on after a start; a rollback and a fork it refuses', async () => {
    const directory = folderOfLog()
    const { book, refused, onCheckpoint, seal } = witnessed(directory)
    const run = async (where: string, blocks: number): Promise<void> => {
      const log = new TestLog(where, { onCheckpoint })
      for (let block = 0; block < blocks; block++) {
        log.run(5)
        await seal(log)
      }
      log.writer.close()
    }
    await run(directory, 3)
    const older = folderOfLog()
    cpSync(directory, older, { recursive: true })
    await run(directory, 3)
    assert.deepEqual(refused, [])
    const size = book.last!.size
    assert.ok(size >= 6)
    assert.equal(openCheckpoint(book.last!.checkpoint, parseNoteKey(book.last!.key))?.size, size)
    assert.deepEqual(verifyLog(directory, { known: [book.last!.checkpoint] }).findings, [])
    // A proof has the witness's line, where its checkpoint is the one that the witness signed.
    assert.ok(proofOf(directory, 3).text.endsWith(`\n${book.last!.checkpoint}`))

    // Put back: its first checkpoint is of fewer blocks.
    const back = witnessed(older, book)
    const log = new TestLog(older, { onCheckpoint: back.onCheckpoint })
    log.run(5)
    await back.seal(log)
    assert.deepEqual(back.refused, ['rolled back'])
    for (let block = 0; block < 8; block++) {
      log.run(5, 'mallory')
      await back.seal(log)
    }
    assert.deepEqual(back.refused, ['rolled back', 'forked'])
    log.writer.close()
    assert.equal(book.last!.size, size)
    assert.match(verifyLog(older, { known: [book.last!.checkpoint] }).findings.join('\n'), /forked/)
  })
})
