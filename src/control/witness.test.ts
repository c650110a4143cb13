/** The control plane as witness, over the wire: of each sidecar's own log, and of nobody else's. */
import assert from 'node:assert/strict'
import { cpSync } from 'node:fs'
import { describe, it } from 'node:test'
import { folderOfLog, TestLog } from '../audit/sealed/log.fixture.ts'
import { originOf } from '../audit/sealed/log-key.ts'
import type { NoteKey } from '../audit/sealed/note.ts'
import { ShownCheckpoints } from '../audit/sealed/shown.ts'
import { verifyLog } from '../audit/sealed/verify.ts'
import { parseSpiffeId } from '../identity/spiffe.ts'
import { type WitnessRequest, witnessAnswer, witnessPath } from '../mesh/witness.ts'
import { withMesh } from './mesh.fixture.ts'

const idOf = (role: string, name: string): string => `spiffe://demo.local/ringfence/${role}/${name}`

describe('the control plane as witness', () => {
  it('signs what goes on, and refuses a log that was put back as soon as it writes', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n1'), 'sidecar'))
      const origin = originOf(parseSpiffeId(idOf('sidecar', 'n1')))
      /** Writes a block, and gives what the witness says of its checkpoint, when it is kept. */
      const show = async (directory: string): Promise<string> => {
        let said = ''
        let told = Promise.resolve()
        const shown = new ShownCheckpoints({
          directory,
          ask: async (request: WitnessRequest) => {
            const answer = await agent.askControl(witnessPath, request, witnessAnswer)
            if (answer.cosignature !== undefined) said = 'signed'
            return answer
          },
          onRefused: (why) => {
            said = why
          },
        })
        const onCheckpoint = (checkpoint: string, key: NoteKey): void => {
          told = shown.show(checkpoint, key)
        }
        const log = new TestLog(directory, { proxy: 'n1', origin, onCheckpoint })
        log.run(5)
        log.writer.sealNow()
        log.writer.close()
        await told
        return said
      }
      const directory = folderOfLog()
      assert.equal(await show(directory), 'signed')
      const older = folderOfLog()
      cpSync(directory, older, { recursive: true })
      for (let block = 0; block < 3; block++) assert.equal(await show(directory), 'signed')
      assert.equal(await show(older), 'rolled back')

      const { logs, witness } = await mesh.admin.witnessed()
      assert.match(witness, /^ringfence\.demo\.local\/witness\+[0-9a-f]{8}\+/)
      assert.equal(logs.length, 1)
      const known = [logs[0]!.checkpoint]
      assert.deepEqual(verifyLog(directory, { known }).findings, [])
      assert.match(verifyLog(older, { known }).findings.join(), /rolled back/)

      // Another sidecar, of whatever name, may not speak of this log, and a gateway of none.
      const stateDir = folderOfLog()
      const other = await mesh.agent('n1', await mesh.token(idOf('sidecar', 'n2'), 'sidecar'), { stateDir })
      const { key } = verifyLog(directory)
      const request = { key, old: 0, proof: [], checkpoint: known[0]! }
      assert.equal((await other.askControl(witnessPath, request, witnessAnswer)).refused, 'not signed')
      const gateway = await mesh.agent('g1', await mesh.token(idOf('gateway', 'g1'), 'gateway'), { role: 'gateway' })
      // What an administrator has it forget may begin anew.
      assert.deepEqual(await mesh.admin.forgetWitnessed({ origin }), { size: logs[0]!.size })
      assert.equal(await show(older), 'signed')
      await assert.rejects(mesh.admin.forgetWitnessed({ origin: 'nobody' }), /was witnessed/)
      await assert.rejects(gateway.askControl(witnessPath, request, witnessAnswer), { code: 'IDENTITY' })
    }))
})
