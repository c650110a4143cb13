import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { eventually, withMesh } from '../../control/mesh.fixture.ts'
import { fullReport } from '../../mesh/report.fixture.ts'
import { run } from '../program.fixture.ts'

describe('ringfence identity why', () => {
  it('ends with 0 and says why, or with 1 and a hint where nothing is known, as a table and as JSON', () =>
    withMesh({}, async (mesh) => {
      const agent = await mesh.agent('n1', await mesh.token('spiffe://demo.local/ringfence/sidecar/n1', 'sidecar'))
      const { advertise: _, endpoint: __, ...report } = fullReport
      agent.setReporter(() => ({ ...report, policyRevision: 0 }))
      await eventually('the report', async () => (await mesh.admin.refusals('corp/alice')).refusals.length > 0)
      const why = (...args: string[]) => run(['identity', 'why', '--state-dir', mesh.stateDir, ...args])
      const [found, json, none, noneJson, nobody] = await Promise.all([
        why('192.0.2.7'),
        why('corp/alice', '-o', 'json'),
        why('corp/bob'),
        why('198.51.100.1', '-o', 'json'),
        why(),
      ])
      assert.equal(found.code, 0, found.err)
      assert.match(found.out, /^AGO +TIMES +BY +CAUSE +FROM +CLAIMED\n.* n1 +expired +192\.0\.2\.7 +corp\/alice\n/)
      assert.match(found.out, /remedy +give the driver a fresh token/)
      assert.doesNotMatch(found.out, /192\.0\.2\.8/)
      for (const line of found.out.split('\n')) assert.ok(line.length <= 80, line)
      const rows = (JSON.parse(json.out) as { refusals: Record<string, unknown>[] }).refusals
      assert.deepEqual(rows.map(({ address, proxy }) => [address, proxy]).sort(), [
        ['192.0.2.7', 'n1'],
        ['192.0.2.8', 'n1'],
      ])
      assert.match(String(rows[0]?.remedy), /fresh token/)
      assert.equal(json.code, 0)
      assert.equal(none.code, 1)
      assert.match(none.err, /no refused log-in of corp\/bob is known; .*\n {2}hint: write a person as corp\/alice/)
      assert.equal(none.out, '')
      assert.equal(noneJson.code, 1)
      assert.deepEqual((JSON.parse(noneJson.out) as { refusals: unknown[] }).refusals, [])
      assert.equal(nobody.code, 64)
    }))
})
