/** The verifier in Go, which was written from docs/audit-format.md, finds what ours finds, and takes the proofs that ours makes. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { folderOfLog } from '../../src/audit/sealed/log.fixture.ts'
import { proofOf } from '../../src/audit/sealed/proof.ts'
import { cases, keyOf, type MadeLog, makeLog, removedAfterKill } from '../../src/audit/sealed/tampering.fixture.ts'
import { goPrograms } from '../e2e/drivers/toolchain.ts'

const run = promisify(execFile)
const go = await goPrograms('audit-verifier', import.meta.dirname)
/** A test run says that it was left out; CI has Go. */
const skip = 'absent' in go && process.env.CI === undefined ? go.absent : false

/** What it prints: a line for each finding. */
async function verifier(...args: string[]): Promise<string> {
  assert.ok('bin' in go, 'Go is there')
  try {
    return (await run(join(go.bin, 'audit-verifier'), args)).stdout
  } catch (reason) {
    return (reason as { stdout: string }).stdout
  }
}

describe('a verifier that has none of our code', { skip }, () => {
  let log: MadeLog
  let other: MadeLog
  let known: string

  before(() => {
    log = makeLog()
    other = makeLog('sidecar-2')
    known = join(folderOfLog(), 'checkpoint')
    writeFileSync(known, log.checkpoint)
  })

  it('finds nothing in a log that is whole', async () => {
    assert.equal(await verifier('verify', log.directory, log.key, known), '')
  })

  it('finds nothing in a log whose first segments were removed after a kill', async () => {
    const directory = removedAfterKill()
    assert.equal(await verifier('verify', directory, keyOf(directory)), '')
  })

  for (const [name, make] of Object.entries(cases)) {
    it(`finds what was tampered with: ${name}`, async () => {
      const directory = folderOfLog()
      cpSync(log.directory, directory, { recursive: true })
      make(log, other).tamper(directory)
      const kind =
        /^(fork|swap|rollback|truncate|reorder)/.exec(name)?.[0] ?? (name === 'delete of a segment' ? 'delete' : 'edit')
      assert.match(await verifier('verify', directory, log.key, known), new RegExp(`: ${kind}: `))
    })
  }

  it('takes the proof of a record, and no other block for it', async () => {
    const name = join(folderOfLog(), 'record')
    const { text, frames } = proofOf(log.directory, 100)
    writeFileSync(`${name}.tlog-proof`, text)
    writeFileSync(`${name}.block`, frames)
    assert.equal(await verifier('proof', name, log.key), '')
    frames[frames.length - 1]! ^= 1
    writeFileSync(`${name}.block`, frames)
    assert.match(await verifier('proof', name, log.key), /the block is not the one of the header/)
  })
})
