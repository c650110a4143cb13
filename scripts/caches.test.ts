import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { handMadeCaches } from './caches.ts'

const root = join(import.meta.dirname, '..')

describe('caches', () => {
  it('are made in one place, but for those that say why not', () => {
    const files = globSync('src/**/*.ts', { cwd: root }).filter(
      (file) => !/\.(test|fixture|fuzz)\.ts$/.test(file) && file !== 'src/base/cache.ts',
    )
    const found = files.map((file) => [file, handMadeCaches(readFileSync(join(root, file), 'utf8'))] as const)
    assert.deepEqual(
      found.filter(([, lines]) => lines.length > 0),
      [],
      'see src/base/cache.ts',
    )
  })

  it('are found in each of their forms', () => {
    for (const made of [
      'this.#map.delete(this.#map.keys().next().value)',
      'const oldest = map.values().next()',
      'if (this.#map.size >= max) this.#map.clear()',
      'if (map.size > max) map.clear()',
      'if (this.#map.size <= max) break',
      'while (map.size > max) this.#forgetOldest()',
      'if (this.#groups.size >= limits.max) this.#retireOldest()',
      'if ((this.#byKey.get(key)?.size ?? 0) >= this.#max) this.#dropOldest(key)',
      'const cache = new LRUCache({ max: 5 })',
    ])
      assert.deepEqual(handMadeCaches(made), [`1: ${made}`])
    assert.equal(handMadeCaches('if (map.size >= max) {\n  map.clear()\n}').length, 1)
  })

  it('are none where nothing is evicted, or a line says why', () => {
    for (const fine of [
      'if (this.#waiting.size >= max) throw new Error()',
      'this.#map.clear()',
      'if (this.#map.size === 0) return',
      '// map.keys().next()',
      '// No LRU: there are five of them.\nif (map.size >= max) map.clear()',
    ])
      assert.deepEqual(handMadeCaches(fine), [])
    assert.equal(handMadeCaches('// No LRU:\nif (map.size >= max) map.clear()').length, 1, 'which is no reason')
  })
})
