/** Forms of questions about the topology that a gateway does not answer, as docs/compatibility.md says: refused, and told why. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { queryEnvelope } from '../../src/cql/encode.ts'
import { describe } from './client.ts'
import { World } from './world.ts'

let world: World

before(async () => {
  world = await World.make()
})
after(() => world.close())

const refused = [
  "SELECT rack + 'x' FROM system.local",
  'SELECT cast(now() AS timestamp), rack FROM system.local',
  'SELECT floor(to_timestamp(now()), 1h), rack FROM system.local',
  "SELECT min_timeuuid('2020-01-01'), rack FROM system.local",
  "SELECT mask_hash(rack, 'SHA-512') FROM system.local",
  'SELECT mask_default(rpc_address) FROM system.local',
  "SELECT (date)'2020-01-01', rack FROM system.local",
  "SELECT writetime(tokens['1']) FROM system.local",
  'SELECT [rack] FROM system.local',
  `SELECT /* ${'x'.repeat(4100)} */ rack FROM system.local`,
]

it('a form of a topology question that is not answered is told as that, and its neighbours are answered', async () => {
  const running = await world.sidecar()
  const client = await world.client((await world.gateway([running])).port, 'bob')
  const ask = async (text: string): Promise<string> => describe(await client.ask(queryEnvelope(4, 1, text)))
  for (const text of refused) {
    assert.match(
      await ask(text),
      /^0x2200 a gateway answers what is asked of the topology, and not in this form: /,
      text,
    )
  }
  for (const text of [
    'SELECT rack FROM system.local',
    'SELECT now(), rack FROM system.local',
    'SELECT count(*) FROM system.peers',
  ]) {
    assert.doesNotMatch(await ask(text), /^0x/, text)
  }
  client.close()
})
