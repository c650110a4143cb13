/** A sidecar's record as its document asks for it, with `collect`: what it writes is at the control plane, by itself. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { SealedLines } from '../../src/audit/sealed/lines.ts'
import { select, TestLog } from '../../src/audit/sealed/log.fixture.ts'
import { segmentsOf } from '../../src/audit/sealed/recover.ts'
import { verifyLog } from '../../src/audit/sealed/verify.ts'
import { eventually, withMesh } from '../../src/control/mesh.fixture.ts'
import { collectAnswer, collectPath } from '../../src/mesh/collection.ts'
import { witnessAnswer, witnessPath } from '../../src/mesh/witness.ts'
import type { SidecarConfig } from '../../src/sidecar/config.ts'
import { recordOf } from '../../src/sidecar/record-of.ts'

describe('a record that is collected', () => {
  it('is copied while it is written, and its key is certified by the sidecar’s certificate', () =>
    withMesh({}, async (mesh) => {
      const id = 'spiffe://demo.local/ringfence/sidecar/n1'
      const agent = await mesh.agent('n1', await mesh.token(id, 'sidecar'))
      const directory = join(mkdtempSync(join(tmpdir(), 'rf-collected-')), 'audit')
      const audit = { directory, format: 'sealed', collect: true } as const
      const record = recordOf({
        config: { name: 'n1', audit } as SidecarConfig,
        directory,
        credentials: () => agent.credentials.current,
        log: pino({ level: 'silent' }),
        askWitness: (request) => agent.askControl(witnessPath, request, witnessAnswer),
        collect: (request) => agent.askControl(collectPath, request, collectAnswer),
        revision: () => 1,
      })
      const events = new TestLog(mkdtempSync(join(tmpdir(), 'rf-events-')))
      for (let at = 0; at < 5; at++) {
        const request = events.request('orders', select)
        record.barrier.begun?.(request)
        record.barrier.ended?.(request)
      }
      record.barrier.endTurn()
      const collected = join(mesh.stateDir, 'collected')
      const lines = (): string[] => {
        const found: string[] = []
        const [log] = existsSync(collected) ? readdirSync(collected) : []
        const sealed = new SealedLines((line) => found.push(line))
        if (log !== undefined) {
          for (const path of segmentsOf(join(collected, log))) sealed.segment(readFileSync(path))
        }
        return found.filter((line) => line.includes('svc/orders'))
      }
      await eventually('all requests are at the control plane', () => (lines().length === 5 ? true : undefined))
      const copy = join(collected, readdirSync(collected)[0]!)
      const { findings, certified } = verifyLog(copy, { bundlePem: agent.credentials.current.bundlePem })
      assert.deepEqual(findings, [])
      assert.equal(certified?.spiffeId, id)
      assert.equal(record.shipping?.uncollectedWhy, undefined)

      // Stopped right behind its last request: nothing waits for the next second.
      const last = events.request('orders', select)
      record.barrier.begun?.(last)
      record.barrier.ended?.(last)
      record.barrier.endTurn()
      await record.close()
      assert.equal(lines().length, 6)
      assert.deepEqual(record.shipping, { uncollectedBytes: 0, uncollectedWhy: undefined })
      events.writer.close()
    }))
})
