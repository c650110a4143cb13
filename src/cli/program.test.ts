import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { programFor } from './program.ts'

const namesOf = async (verb: string): Promise<string[]> => (await programFor(verb)).commands.map((one) => one.name())

describe('the commands of a command line', () => {
  it('are those that its verb needs, and all of them for help', async () => {
    const all = await namesOf('--help')
    for (const verb of ['login', 'logout', 'whoami', 'connect', 'cqlsh', 'gateway', 'status', 'policy']) {
      assert.ok(all.includes(verb), verb)
      assert.ok((await namesOf(verb)).includes(verb), verb)
    }
    for (const verb of ['login', 'logout', 'whoami', 'connect', 'cqlsh', 'sidecar'])
      assert.ok(!(await namesOf(verb)).includes('status'), verb)
  })
})
