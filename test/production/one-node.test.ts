/**
 * docs/production.md on one node: every block, from open to locked and back. Requests fail while the node restarts; that none does with three is
 * what `npm run production` shows.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { toolchainOf } from '../e2e/drivers/toolchain.ts'
import { rehearse } from './rehearsal.ts'

const python = await toolchainOf('python')
const skip = 'absent' in python ? python.absent : false

describe('docs/production.md on one node', { skip }, () => {
  it('leads from an open node to a locked one and back, by the commands that stand there', async (t) => {
    const { restarts, totals, left } = await rehearse({ nodes: 1, say: (line) => t.diagnostic(line) })
    assert.equal(restarts, 4)
    assert.deepEqual(left, [])
    // By each way each of them had its answers, or the rehearsal would have said so.
    for (const { driver, answered } of totals) assert.ok(answered > 100, `${driver}: ${answered} answers`)
  })
})
