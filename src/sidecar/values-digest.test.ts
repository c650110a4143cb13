import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import { queryEnvelope } from '../cql/encode.ts'
import { wholeEnvelope } from '../cql/envelope.ts'
import { ParamsView, QueryView, readQuery } from '../cql/requests.ts'
import { hasLongValues, valuesDigest, valuesDigestInSteps } from './values-digest.ts'

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

/** The digest of what a QUERY binds to a statement with these markers. */
function digestOf(
  markers: readonly (string | undefined)[],
  values: readonly (string | null)[],
  names?: readonly string[],
): string {
  const bytes = values.map((value) => (value === null ? null : Buffer.from(value)))
  const request = queryEnvelope(4, 1, 'SELECT a FROM t', { values: bytes, ...(names === undefined ? {} : { names }) })
  const view = new QueryView()
  readQuery(view, wholeEnvelope(request), 4)
  return valuesDigest(view.params, markers).toString('hex')
}

it('values are the same by their places, by name, and by name in another order; others are others', () => {
  const markers = ['a', 'b', 'a']
  const same = [
    digestOf(markers, ['x', null, 'x']),
    digestOf(markers, ['x', null], ['a', 'b']),
    digestOf(markers, [null, 'x'], ['b', 'a']),
    // The first of two equal names counts.
    digestOf(markers, [null, 'x', 'y'], ['b', 'a', 'a']),
  ]
  assert.equal(new Set(same).size, 1)
  const others = [
    digestOf(markers, ['x', 'x', null]),
    digestOf(markers, ['x', '', 'x']),
    digestOf(markers, ['x', null], ['b', 'a']),
    digestOf(markers, ['xx', null], ['a', 'b']),
    // A value too many, one too few, and markers that have no name: by their bytes as they stand.
    digestOf(markers, ['x', null, 'z'], ['a', 'b', 'c']),
    digestOf(markers, ['x'], ['a']),
    digestOf([undefined, undefined, undefined], ['x', null], ['a', 'b']),
  ]
  for (const other of others) assert.ok(!same.includes(other))
  assert.equal(digestOf([undefined], ['x']), digestOf(['a'], ['x'], ['a']))
  assert.notEqual(digestOf(['a', 'b'], ['1', '2'], ['a', 'b']), digestOf(['a', 'b'], ['12', ''], ['a', 'b']))
})
