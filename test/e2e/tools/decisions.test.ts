/** Without a mesh: the policy example of each tool decides what the tool sends as the corpus says. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { analyse } from '../../../src/cql/statement/analyse.ts'
import { resolveKeyspace } from '../../../src/cql/statement/resolve.ts'
import { parseSpiffeId } from '../../../src/identity/spiffe.ts'
import { PolicyEngine } from '../../../src/policy/engine.ts'
import { loadPolicy } from '../../../src/policy/load.ts'
import { neutralRequest } from '../../../src/policy/request.ts'
import { tools } from './corpus.ts'
import { toolPolicies } from './policies.ts'

const engine = new PolicyEngine()
engine.install(
  loadPolicy(
    toolPolicies()
      .map((file) => readFileSync(file, 'utf8'))
      .join('---\n'),
    'tools.yaml',
  ),
  1,
)

describe('the policy example of a tool decides', () => {
  for (const tool of tools) {
    it(`${tool.name}: ${tool.steps.length} statements`, () => {
      const wrong: string[] = []
      let keyspace: string | undefined
      for (const { cql, differs, error } of tool.steps) {
        // What the node refuses may name what is nobody's.
        if (error !== undefined) continue
        const facts = resolveKeyspace(analyse(cql), keyspace)
        const request = { ...neutralRequest, preparing: false, nowMs: Date.now() }
        const decision = engine.decide({ spiffeId: parseSpiffeId(tool.as) }, facts, request, undefined)
        keyspace = /^USE "?(\w+)"?$/.exec(cql)?.[1] ?? keyspace
        const wanted = differs !== undefined && 'refused' in differs ? 'denial' : 'permit'
        if (decision.kind !== wanted) wrong.push(`${cql}: ${decision.kind}`)
      }
      assert.deepEqual(wrong, [])
    })
  }
})
