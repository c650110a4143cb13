import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const importPattern = /(?:^|[\s;}[(,])(?:import|from)\s*\(?\s*(['"])([^'"\n]+)\1/g
const typePattern = /^(?:import|export) type [^'"]*['"][^'"\n]+['"]$/gm

/** The npm packages that a file loads, itself or through what it imports. What is imported as a type only is not loaded. */
function packagesOf(file: string, seen = new Set<string>(), packages = new Set<string>()): Set<string> {
  if (seen.has(file)) return packages
  seen.add(file)
  const source = readFileSync(file, 'utf8').replaceAll(typePattern, '')
  for (const [, , target = ''] of source.matchAll(importPattern)) {
    if (target.startsWith('.')) {
      if (target.endsWith('.ts')) packagesOf(join(dirname(file), target), seen, packages)
    } else if (!target.startsWith('node:')) {
      packages.add(target)
    }
  }
  return packages
}

describe('packages', () => {
  it('that a database host gets with the sidecar are these and no others', () => {
    const packages = [...packagesOf(join(root, 'src/sidecar/main.ts'))].sort()
    const expected = [
      '@bufbuild/protobuf',
      '@bufbuild/protobuf/wire',
      '@bufbuild/protobuf/wkt',
      '@cedar-policy/cedar-wasm/nodejs',
      '@connectrpc/connect',
      '@connectrpc/connect-node',
      'jose',
      'lru-cache',
      'lz4-napi',
      'pino',
      'yaml',
      'zod',
    ]
    assert.deepEqual(packages, expected)
  })

  it('that ask the record are loaded by commands alone', () => {
    for (const role of ['src/sidecar/main.ts', 'src/gateway/worker.ts', 'src/gateway/main.ts', 'src/control/main.ts']) {
      assert.ok(!packagesOf(join(root, role)).has('@duckdb/node-api'), role)
    }
    assert.ok(packagesOf(join(root, 'src/cli/main.ts')).has('@duckdb/node-api'))
    const found = globSync('src/**/*.ts', { cwd: root }).filter((file) =>
      // A type is not loaded.
      /import\('@duckdb|^import (?!type).*@duckdb/m.test(readFileSync(join(root, file), 'utf8')),
    )
    assert.deepEqual(found, ['src/archive/database.ts'])
  })

  it('that Node.js has in itself and that are large are loaded by nobody: an import of `node:http` loads undici', () => {
    const importers = globSync(join(root, 'src/**/*.ts')).filter((file) => {
      return (
        /^import (?!type ).* from 'node:http'$/m.test(readFileSync(file, 'utf8')) && !/\.(test|fixture)\.ts$/.test(file)
      )
    })
    assert.deepEqual(importers, [], 'use src/mesh/http.ts')
  })

  it('that a role loads are named in ARCHITECTURE.md', () => {
    const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
    for (const role of ['src/sidecar/main.ts', 'src/gateway/worker.ts', 'src/control/main.ts', 'src/cli/main.ts']) {
      for (const name of packagesOf(join(root, role))) {
        assert.ok(page.includes(`\`${name}\``), `${relative(root, role)} loads ${name}`)
      }
    }
  })
})
