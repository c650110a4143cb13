/** Each way to tamper with a log is found, where it is, and nothing is found in a log that is whole. */
import assert from 'node:assert/strict'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { systemClock } from '../../base/clock.ts'
import { CertificateAuthority } from '../../control/ca.ts'
import { parseSpiffeId, type SpiffeId } from '../../identity/spiffe.ts'
import { frameKind } from './format.ts'
import { folderOfLog, sidecarId, TestLog } from './log.fixture.ts'
import { openCheckpoint, parseNoteKey } from './note.ts'
import { proofOf } from './proof.ts'
import { segmentsOf } from './recover.ts'
import { cases, type MadeLog, makeLog, placesOf, removedAfterKill } from './tampering.fixture.ts'
import { leafHash, rootByProof, sha256 } from './tree.ts'
import { verifyLog } from './verify.ts'

let log: MadeLog
let other: MadeLog

before(() => {
  log = makeLog()
  other = makeLog('sidecar-2')
})

describe('a log', () => {
  it('that is whole is found whole, against a checkpoint of now and one of before', () => {
    const key = parseNoteKey(log.key)
    const { findings, blocks, signed } = verifyLog(log.directory, { key, known: [log.checkpoint] })
    assert.deepEqual(findings, [])
    assert.equal(signed, blocks)
    assert.ok(blocks > 10)
  })

  it('that is written on while it is read is whole, and so are one that is behind its last checkpoint and one that is before', () => {
    const live = new TestLog(folderOfLog())
    for (let block = 0; block < 5; block++) {
      live.run(20)
      live.writer.sealNow()
    }
    const older = readFileSync(join(live.directory, 'checkpoint'))
    let isOn = 0
    const options = {
      // Asked for when the first segment has been read.
      get known() {
        isOn++
        live.run(20)
        live.writer.sealNow()
        return []
      },
    }
    assert.deepEqual(verifyLog(live.directory, options).findings, [])
    assert.equal(isOn, 1)
    const now = readFileSync(join(live.directory, 'checkpoint'))
    writeFileSync(join(live.directory, 'checkpoint'), older)
    assert.deepEqual(verifyLog(live.directory).findings, [])
    writeFileSync(join(live.directory, 'checkpoint'), now)
    live.writer.close()
  })

  it('whose first segments were removed after a kill is whole, and it is said what cannot be checked', () => {
    const directory = removedAfterKill()
    const { findings, notes } = verifyLog(directory)
    assert.deepEqual(findings, [])
    assert.match(notes.join('\n'), /block 4 in .* began in a segment that is not here/)
    // A header that the tree has not is no such thing.
    const [path] = segmentsOf(directory)
    const bytes = readFileSync(path!)
    bytes[placesOf(bytes, frameKind.seal)[0]!.end - 1]! ^= 1
    writeFileSync(path!, bytes)
    assert.match(verifyLog(directory).findings.join(), /block 4 in .* is not/)
  })

  for (const [name, make] of Object.entries(cases)) {
    it(`that was tampered with says where: ${name}`, () => {
      const { tamper, found } = make(log, other)
      const directory = folderOfLog()
      cpSync(log.directory, directory, { recursive: true })
      tamper(directory)
      const { findings } = verifyLog(directory, { key: parseNoteKey(log.key), known: [log.checkpoint] })
      assert.match(findings.join('\n'), found)
    })
  }

  it('of another key is not taken for this one', () => {
    const { findings } = verifyLog(other.directory, { key: parseNoteKey(log.key) })
    assert.match(findings.join('\n'), /is a segment of another log/)
  })

  it('says whose its key is, by the roots of the mesh, and by the certificate of its own sidecar alone', async () => {
    const [ours, theirs] = await Promise.all(
      [1, 2].map(() => CertificateAuthority.open(folderOfLog(), 'demo.local', systemClock)),
    )
    const certifiedBy = async (spiffeId: SpiffeId): Promise<string> => {
      const made = await ours!.mint({ spiffeId, ttlMs: 3_600_000, listenerIdentities: [] })
      const certified = new TestLog(folderOfLog(), { certifier: () => ({ spiffeId, ...made }), clock: systemClock })
      certified.run(1)
      certified.writer.close()
      return certified.directory
    }
    const spiffeId = sidecarId('sidecar-1')
    const directory = await certifiedBy(spiffeId)
    const { certified, findings } = verifyLog(directory, { bundlePem: ours!.bundlePem })
    assert.deepEqual([certified?.spiffeId, findings], [spiffeId, []])
    for (const [where, bundlePem] of [
      [directory, theirs!.bundlePem],
      [await certifiedBy(sidecarId('sidecar-2')), ours!.bundlePem],
      [await certifiedBy(parseSpiffeId('spiffe://demo.local/svc/orders')), ours!.bundlePem],
    ] as const) {
      const verified = verifyLog(where, { bundlePem })
      assert.equal(verified.certified, undefined)
      assert.match(verified.findings.join(), /^no sidecar’s certificate of these roots says that the key is that of /)
    }
  })

  it('says whose its key is also where its first segments were removed', async () => {
    const ours = await CertificateAuthority.open(folderOfLog(), 'demo.local', systemClock)
    const spiffeId = sidecarId('sidecar-1')
    const made = await ours.mint({ spiffeId, ttlMs: 3_600_000, listenerIdentities: [] })
    const options = { certifier: () => ({ spiffeId, ...made }), clock: systemClock, segmentBytesMax: 3_000 }
    const rolled = new TestLog(folderOfLog(), options)
    for (let block = 0; block < 4; block++) {
      rolled.run(200)
      rolled.writer.sealNow()
    }
    rolled.writer.close()
    rmSync(segmentsOf(rolled.directory)[0]!)
    const { certified, findings } = verifyLog(rolled.directory, { bundlePem: ours.bundlePem })
    assert.deepEqual([certified?.spiffeId, findings], [spiffeId, []])
  })
})

describe('a proof', () => {
  it('leads from the block of each record to the checkpoint, and from no other block', () => {
    const key = parseNoteKey(log.key)
    for (const number of [3, 100, 481]) {
      const { index, text, frames } = proofOf(log.directory, number)
      const [head, note] = [text.slice(0, text.indexOf('\n\n')), text.slice(text.indexOf('\n\n') + 2)]
      const [, extra = '', at, ...hashes] = head.split('\n')
      const checkpoint = openCheckpoint(note, key)!
      const header = Buffer.from(extra.slice('extra '.length), 'base64')
      assert.equal(at, `index ${index}`)
      assert.ok(sha256(frames).equals(header.subarray(48)))
      const proof = hashes.map((hash) => Buffer.from(hash, 'base64'))
      const root = (leaf: Buffer): Buffer | undefined =>
        rootByProof(leafHash(leaf), { index, size: checkpoint.size, hashes: proof })
      assert.ok(root(header)?.equals(checkpoint.root))
      const changed = Buffer.from(header)
      changed[20]! ^= 1
      assert.equal(root(changed)?.equals(checkpoint.root), false)
    }
    assert.throws(() => proofOf(log.directory, 100_000), /in no sealed block/)
  })

  it('is made of many tiles, too', () => {
    const long = new TestLog(folderOfLog())
    for (let block = 0; block < 700; block++) {
      long.run(1)
      long.writer.sealNow()
    }
    long.writer.close()
    for (const number of [3, 258, 259, 600, 702]) proofOf(long.directory, number)
  })
})
