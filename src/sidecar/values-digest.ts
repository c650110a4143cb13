/** What a request binds, as a digest that a paging state is sealed to. */
import { createHash } from 'node:crypto'
import type { ParamsView } from '../cql/requests.ts'

/** Bound values that are longer are hashed in steps: 16 MiB take 10 to 40 ms. */
const valuesAtOnceBytesMax = 256 * 1024

export function hasLongValues({ valuesStart, valuesEnd }: ParamsView): boolean {
  return valuesEnd - valuesStart > valuesAtOnceBytesMax
}

/** As `valuesDigest`, of long values: in steps of half a millisecond, and by their bytes as they stand. `buffer[start..end)` stays as it is meanwhile. */
export function* valuesDigestInSteps(buffer: Buffer, start: number, end: number): Generator<undefined, Buffer> {
  const hash = createHash('sha256')
  for (let from = start; from < end; from += valuesAtOnceBytesMax) {
    if (from > start) yield
    hash.update(buffer.subarray(from, Math.min(from + valuesAtOnceBytesMax, end)))
  }
  return hash.digest()
}

/**
 * SHA-256 of the values in the order of their markers, so that it is one whether they were given by name, in whatever order, or by place.
 *
 * @param markers of the statement; undefined for `?`
 */
export function valuesDigest(params: ParamsView, markers: readonly (string | undefined)[]): Buffer {
  const { buffer, valuesStart, valuesEnd } = params
  const hash = createHash('sha256')
  const places = params.named ? placesOf(params, markers) : undefined
  if (places === undefined) return hash.update(buffer.subarray(valuesStart, valuesEnd)).digest()
  for (let i = 0; i < places.length; i += 2) hash.update(buffer.subarray(places[i], places[i + 1]))
  return hash.digest()
}

/** Begin and end of the value of each marker, with its length in front; undefined where not every marker has a name, and a value of it. */
function placesOf(params: ParamsView, markers: readonly (string | undefined)[]): number[] | undefined {
  const found = new Map<string, readonly [number, number]>()
  for (let index = 0; index < params.valueCount; index++) {
    params.valueAt(index)
    const name = params.lastName
    // The first of two equal names counts.
    if (!found.has(name)) found.set(name, [params.valueStart - 4, params.valueEnd])
  }
  const places: number[] = []
  for (const marker of markers) {
    const place = marker === undefined ? undefined : found.get(marker)
    if (place === undefined) return undefined
    places.push(...place)
  }
  // What the statement does not take is looked at by nobody: only what is taken may be the same.
  return found.size === new Set(markers).size ? places : undefined
}
