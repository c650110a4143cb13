import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RingfenceError } from '../base/errors.ts'
import { compilePolicy, policyInlineBytesMax, validatePolicy } from './compiler.ts'
import { loadPolicy } from './load.ts'
import { access } from './policy.fixture.ts'

const rules = Array.from({ length: 500 }, (_, at) =>
  access(`r${at}`, { keyspaces: ['ks'], tables: [`t${at}`], operations: ['SELECT'] }),
)
const large = rules.join('\n---\n')

describe('a large policy', () => {
  it('is compiled beside the loop to what it is here', async () => {
    assert.ok(large.length > policyInlineBytesMax)
    const [compiled, here] = [await compilePolicy(large, 'p.yaml'), loadPolicy(large, 'p.yaml')]
    assert.equal(compiled.rules.length, 500)
    assert.deepEqual(compiled.rules, here.rules)
    await validatePolicy(large, 'p.yaml', 'td')
  })

  it('is refused as here', async () => {
    const wrong = large.replace('"ks"', '7')
    const isConfig = (reason: unknown): boolean => reason instanceof RingfenceError && reason.code === 'CONFIG'
    assert.throws(() => loadPolicy(wrong, 'p.yaml'), isConfig)
    await assert.rejects(compilePolicy(wrong, 'p.yaml'), isConfig)
    await assert.rejects(validatePolicy(large, 'p.yaml', 'elsewhere'), isConfig)
  })

  it('has its thread made in a turn after that in which it came', async () => {
    let threads = 0
    const count = (): void => {
      threads++
    }
    process.on('worker', count)
    const compiling = compilePolicy(large, 'p.yaml')
    await new Promise((resolve) => process.nextTick(() => process.nextTick(resolve)))
    assert.equal(threads, 0)
    await nextTurn()
    await nextTurn()
    assert.equal(threads, 1)
    await compiling
    process.off('worker', count)
  })
})
