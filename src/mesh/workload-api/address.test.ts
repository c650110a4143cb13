import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseWorkloadApiAddress } from './address.ts'

describe('the address of a Workload API', () => {
  it('is a Unix socket by an absolute path, and nothing else', () => {
    for (const text of ['unix:///run/spire/agent.sock', 'unix:/run/spire/agent.sock'])
      assert.equal(parseWorkloadApiAddress(text), '/run/spire/agent.sock')
    for (const text of [
      '',
      '/run/spire/agent.sock',
      'unix:agent.sock',
      'unix://agent.sock',
      'unix:////run/a',
      'unix:///run/a?x',
      'unix:///run/a#x',
      'tcp://127.0.0.1:8080',
      'http://localhost/',
      `unix:///${'a'.repeat(120)}`,
    ])
      assert.throws(() => parseWorkloadApiAddress(text), { code: 'CONFIG' }, text)
  })
})
