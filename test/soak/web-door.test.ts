/** That the soak asks NGINX's door as a browser does, and counts what is no answer. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { OutsideServer } from '../path/outside-server.ts'
import { until, World } from '../path/world.ts'
import { WebDoor } from './web-door.ts'

it('the door for browsers takes a log-in for an answer, and counts a refusal by its status', async () => {
  const world = await World.make()
  const isPage = ({ accept }: NodeJS.Dict<string | string[]>): boolean => accept?.includes('text/html') === true
  let isClosed = false
  // As `#logIn` of src/gateway/http/door.ts.
  const server = await OutsideServer.start(world.ca, [], ({ headers }) =>
    isClosed || !isPage(headers) ? { status: 401, body: '' } : { status: 302, headers: { location: '/' }, body: '' },
  )
  try {
    const caFile = join(world.folder, 'roots.pem')
    writeFileSync(caFile, server.caPem)
    const web = new WebDoor(`https://127.0.0.1:${server.port}/`, caFile)
    web.start()
    await until('it is asked', () => web.requests > 2)
    assert.deepEqual([web.failed, web.said], [0, {}])
    isClosed = true
    await until('it is refused', () => web.failed > 1)
    await web.stop()
    assert.deepEqual(web.said, { 'HTTP 401': web.failed })
  } finally {
    await server.stop()
    await world.close()
  }
})
