import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { layerProblems, layers } from './layers.ts'

const root = join(import.meta.dirname, '..')

describe('layers', () => {
  it('finds no import in src that points up, out of src, or from a pure layer to a socket or file', () => {
    const problems = globSync('src/**/*.ts', { cwd: root }).flatMap((file) =>
      layerProblems(file, readFileSync(join(root, file), 'utf8')),
    )
    assert.deepEqual(problems, [])
  })

  it('allows an import of the own folder and of one below, and refuses one that points up', () => {
    const down = `import { limits } from '../base/limits.ts'\nimport { x } from './x.ts'`
    assert.deepEqual(layerProblems('src/cql/segment.ts', down), [])
    for (const up of [
      `import type { Feed } from '../agent/api.ts'`,
      `export { Feed } from '../agent/api.ts'`,
      `import '../agent/api.ts'`,
      `const api = await import('../agent/api.ts')`,
      `import {\n  Feed,\n} from '../agent/api.ts'`,
    ]) {
      assert.deepEqual(layerProblems('src/cql/segment.ts', up), [
        'src/cql/segment.ts: cql imports agent, which stands above it',
      ])
    }
  })

  it('keeps apart the ends of a wire: roles, and the control plane from the agents', () => {
    for (const [file, other] of [
      ['src/control/registry.ts', 'agent'],
      ['src/control/registry.ts', 'sidecar'],
      ['src/gateway/link.ts', 'sidecar'],
    ] as const) {
      const [, layer] = file.split('/')
      assert.deepEqual(layerProblems(file, `import { x } from '../${other}/x.ts'`), [
        `${file}: ${layer} imports ${other}; what both need stands in mesh`,
      ])
      assert.deepEqual(layerProblems(file, `import { x } from '../mesh/x.ts'`), [])
    }
    assert.deepEqual(layerProblems('src/sidecar/main.ts', `import { x } from '../agent/agent.ts'`), [])
  })

  it('lets a test beside the code import what stands above it', () => {
    assert.deepEqual(layerProblems('src/cql/segment.test.ts', `import { Feed } from '../agent/api.ts'`), [])
  })

  it('lets a sidecar open a socket, and no pure layer', () => {
    const socket = `import { connect } from 'node:net'`
    assert.deepEqual(layerProblems('src/sidecar/upstream.ts', socket), [])
    assert.deepEqual(layerProblems('src/cql/statement/lexer.test.ts', socket), [])
    assert.deepEqual(layerProblems('src/policy/load.ts', socket), [
      'src/policy/load.ts: policy may not import node:net',
    ])
  })

  it('refuses an import of the demo, of a test helper and of a folder that is no layer', () => {
    for (const outside of ['../../demo/main.ts', '../../test/e2e/mesh.ts', '../../bench/stub.ts', '../utils/all.ts']) {
      assert.equal(layerProblems('src/cli/main.ts', `import { x } from '${outside}'`).length, 1, outside)
    }
    assert.equal(layerProblems('src/utils/all.ts', '').length, 1)
  })

  it('is the table that ARCHITECTURE.md shows', () => {
    const shown = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8').matchAll(/^\| *`([a-z]+)\/?` *\|/gm)
    assert.deepEqual(
      [...shown].map(([, name]) => name),
      [...layers],
    )
  })
})
