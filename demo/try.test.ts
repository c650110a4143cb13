/** What is printed before the table: it fits a terminal of 80 columns, but for commands, which are pasted; and the program knows them. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { commandProblem, commandsOf } from '../scripts/pages.ts'
import { programFor } from '../src/cli/program.ts'
import { widthOf } from '../src/cli/screen.ts'
import { layoutOf } from './parts/layout.ts'
import { type Suggestions, suggestionLines, suggestions } from './try.ts'

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rf-try-'))
})
after(() => rmSync(folder, { recursive: true }))

async function made(nodes: number, portOffset: number): Promise<Suggestions> {
  const layout = layoutOf(folder, nodes, portOffset)
  const identity = async (spiffeId: string) => ({
    spiffeId,
    certFile: 'svid.pem',
    keyFile: 'key.pem',
    caFile: 'bundle.pem',
  })
  return await suggestions({ layout, identity }, 'policy.yaml')
}

describe('what a newcomer may try', () => {
  for (const [nodes, portOffset] of [
    [1, 0],
    [9, 55_000],
  ] as const) {
    it(`fits 80 columns, with ${nodes} nodes at ports from ${portOffset}`, async () => {
      const facts = await made(nodes, portOffset)
      assert.equal(facts.addresses.length, 5 + 2 * nodes)
      const commands = new Set(facts.commands.map(({ command }) => `  ${command}`))
      for (const line of suggestionLines(facts)) assert.ok(commands.has(line) || widthOf(line) <= 80, line)
    })
  }

  it('are commands that the program knows', async () => {
    const { commands } = await made(1, 0)
    const words = commands.flatMap(({ command }) => commandsOf(`\`\`\`sh\n${command}\n\`\`\``))
    assert.deepEqual(
      words.map(([verb]) => verb),
      ['status', 'traffic', 'identity', 'drill', 'login', 'cqlsh', 'policy'],
    )
    const program = await programFor('')
    for (const each of words) assert.equal(commandProblem(program, each), undefined)
  })
})
