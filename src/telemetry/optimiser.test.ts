import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'

/**
 * The bit of `%GetOptimizationStatus` that both compilers set (V8's `runtime.h`, `kOptimized`, since it has no bit for what may have been
 * deoptimised). Bit 6, once the second compiler's, is now that of code that is interpreted still, as on a busy machine.
 */
const optimised = 1 << 3

const script = `
import { restOptimiser, wakeOptimiser } from ${JSON.stringify(new URL('./optimiser.ts', import.meta.url).href)}
const sum = (n) => { let all = 0; for (let i = 0; i < n; i++) all = (all * 31 + i) | 0; return all }
const optimisedWithin = async (ms) => {
  const until = performance.now() + ms
  while (performance.now() < until) {
    for (let i = 0; i < 1000; i++) sum(100)
    if ((%GetOptimizationStatus(sum) & ${optimised}) !== 0) return true
    await new Promise(setImmediate)
  }
  return false
}
restOptimiser()
const resting = await optimisedWithin(500)
wakeOptimiser()
wakeOptimiser()
console.log(JSON.stringify([resting, await optimisedWithin(20_000)]))
`

describe('the optimising compilers', () => {
  it('do nothing while they rest, and work again once they are woken', async () => {
    const args = ['--allow-natives-syntax', '--input-type=module', '--eval', script]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    assert.deepEqual(JSON.parse(stdout), [false, true])
  })
})
