import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import { ParamsView } from '../cql/requests.ts'
import { hasLongValues, valuesDigestInSteps } from './rewrites.ts'

it('long values are hashed in steps of 256 KiB, to what they are hashed to at once', () => {
  for (const bytes of [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * 1024 * 1024]) {
    const buffer = Buffer.alloc(bytes + 20, 'value')
    const steps = valuesDigestInSteps(buffer, 7, 7 + bytes)
    let count = 1
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) count++
    assert.deepEqual(
      step.value,
      createHash('sha256')
        .update(buffer.subarray(7, 7 + bytes))
        .digest(),
    )
    assert.equal(count, Math.max(1, Math.ceil(bytes / (256 * 1024))))
    const params = Object.assign(new ParamsView(), { valuesStart: 7, valuesEnd: 7 + bytes })
    assert.equal(hasLongValues(params), count > 1)
  }
})
