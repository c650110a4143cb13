import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { missingLines, stepsOf } from './page.ts'
import { page } from './rehearsal.ts'

const block = (comment: string, language = 'sh', text = 'true'): string =>
  `${comment}\n\`\`\`${language}\n${text}\n\`\`\`\n`

describe('the blocks of docs/production.md', () => {
  it('are all understood, and each belongs to a host', () => {
    const steps = stepsOf(readFileSync(page, 'utf8'))
    assert.ok(steps.length > 40)
    assert.equal(steps.filter(({ kind }) => kind === 'applications').length, 4)
  })

  it('name the programs that no other page shows: control, agent and x509 mint', () => {
    const text = readFileSync(page, 'utf8')
    for (const verb of [
      'control',
      'agent',
      'sidecar',
      'gateway',
      'x509 mint',
      'token generate',
      'nginx config',
      'check',
    ])
      assert.match(text, new RegExp(`ringfence ${verb} `), verb)
  })

  it('restart each node once for each of four states', () => {
    const restarts = stepsOf(readFileSync(page, 'utf8')).filter(
      (step) => step.kind === 'run' && step.text.includes('restart cassandra'),
    )
    assert.deepEqual(
      restarts.map((step) => step.kind === 'run' && step.where),
      ['node 1', 'other nodes', 'each node', 'each node', 'each node'],
    )
  })

  it('are refused where nothing says what they are, or in words that are not known', () => {
    for (const text of [
      block('no comment'),
      block('<!-- run: node 4 -->'),
      block('<!-- run: edge, ends with none -->'),
      block('<!-- file: edge -->'),
      block('<!-- shows -->', 'text'),
      '<!-- run: edge -->\n```sh\ntrue\n',
    ]) {
      assert.throws(() => stepsOf(text), /line \d+/, text)
    }
  })

  it('may be a drawing without a comment', () => assert.deepEqual(stepsOf(block('', 'text')), []))

  it('have the exit code, the place and the lines to show that the comments give', () => {
    const text = block('<!-- run: edge, for each node, ends with 1 -->') + block('<!-- shows -->', 'text', 'a … b\n')
    assert.deepEqual(stepsOf(text), [
      { kind: 'run', line: 2, where: 'edge each', text: 'true\n', exitCode: 1, shows: ['a … b'] },
    ])
  })
})

describe('what a block shows', () => {
  it('is in one printed line, in order, whatever stands at … and however wide the gaps are', () => {
    assert.deepEqual(missingLines('x\nnode1  sidecar   synced 1\n', ['node1 … synced', '…sidecar…']), [])
    assert.deepEqual(missingLines('node1\nsynced', ['node1 … synced']), ['node1 … synced'])
    assert.deepEqual(missingLines('synced node1', ['node1 … synced']), ['node1 … synced'])
  })
})
