/** Puts a policy in force for a while, and waits until every proxy runs it: a large one is compiled beside the loop, some time after it came. */
import assert from 'node:assert/strict'
import { sha256Hex } from '../../src/base/digest.ts'
import { AdminClient } from '../../src/cli/admin-client.ts'
import { awaitInForce } from '../../src/cli/in-force.ts'
import type { MeshFixture } from './fixture.ts'

export async function putInForce(mesh: MeshFixture, source: string, fileName: string): Promise<void> {
  const control = new AdminClient(mesh.layout.dirs.control)
  const { revision } = await control.applyPolicy(source, fileName, false)
  const { others } = await awaitInForce(control, revision, sha256Hex(source), 10_000)
  assert.deepEqual(others, [])
}
