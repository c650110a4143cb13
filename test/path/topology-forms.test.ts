/** Forms of questions about the topology that a gateway does not answer, as docs/compatibility.md says: refused, and told why. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { topologyForms } from '../../src/gateway/topology/forms.fixture.ts'
import { describe } from './client.ts'
import { World } from './world.ts'

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

const unsupported = /^0x2200 .+ is not supported in questions that the mesh answers itself/

const refused: readonly (readonly [text: string, why: RegExp])[] = [
  ['SELECT rack, similarity_cosine([1.0, 0.0], [1.0, 0.0]) FROM system.local', unsupported],
  ['SELECT (shop.type)rack FROM system.local', unsupported],
  ['SELECT (decimal)7 % (decimal)2, rack FROM system.local', unsupported],
  ['SELECT similarity_cosine([1.0, 0.0], [1.0, 0.0]) FROM system.peers', unsupported],
  [`SELECT /* ${'x'.repeat(4100)} */ rack FROM system.local`, /^0x2200 a gateway answers .+ at most 4096 characters$/],
]

it('a form of a topology question that is not answered is told as that, and its neighbours are answered', async () => {
  const running = await world.sidecar()
  const client = await world.client((await world.gateway([running])).port, 'bob')
  const ask = async (text: string): Promise<string> => describe(await client.ask(queryEnvelope(4, 1, text)))
  for (const [text, why] of refused) assert.match(await ask(text), why, text)
  const answered = topologyForms.filter(
    ({ values, pageSize, refused: code = 0, elsewhere }) =>
      values === undefined && pageSize === undefined && code === 0 && elsewhere !== true,
  )
  assert.ok(answered.length > 80)
  for (const { text } of answered) assert.doesNotMatch(await ask(text), /^0x/, text)
  client.close()
})
