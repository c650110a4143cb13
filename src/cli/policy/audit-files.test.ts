import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { auditDirsBeside, auditFilesSince, readLines } from './audit-files.ts'

describe('audit files', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-audit-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('are found beside the control plane, of one sidecar and of several', () => {
    const state = join(folder, 'state')
    assert.deepEqual(auditDirsBeside(join(state, 'control')), [])
    for (const path of ['control', 'sidecar/audit', 'sidecar/node2/audit', 'sidecar/node1/audit', 'sidecar/node3']) {
      mkdirSync(join(state, path), { recursive: true })
    }
    assert.deepEqual(
      auditDirsBeside(join(state, 'control')).map((path) => path.slice(state.length + 1)),
      ['sidecar/audit', 'sidecar/node1/audit', 'sidecar/node2/audit'],
    )
  })

  it('are left alone when they were last written before the beginning', () => {
    const directory = join(folder, 'since')
    mkdirSync(directory)
    const names = [
      'audit-n-20261120T000000.000Z-000000.jsonl',
      'audit-n-20261121T000000.000Z-000001.jsonl',
      'other.jsonl',
    ]
    for (const [index, name] of names.entries()) {
      writeFileSync(join(directory, name), '{}\n')
      utimesSync(join(directory, name), 1_000 * index, 1_000 * index)
    }
    const found = (sinceMs: number): string[] =>
      auditFilesSince(directory, sinceMs).map(({ path }) => path.slice(directory.length + 1))
    assert.deepEqual(found(0), names.slice(0, 2))
    assert.deepEqual(found(1_000_000), names.slice(1, 2))
    assert.deepEqual(found(1_000_001), [])
    symlinkSync(join(directory, 'gone'), join(directory, 'audit-a-gone.jsonl'))
    assert.ok(
      auditFilesSince(directory, 0).every(({ path }) => !path.endsWith('gone.jsonl')),
      'gone since it was listed',
    )
    assert.throws(() => auditFilesSince(join(directory, 'absent'), 0), /cannot be read/)
  })

  it('give each line whole, over the ends of pieces, and the last one without its line feed', async () => {
    const path = join(folder, 'lines')
    const lines = Array.from({ length: 3_000 }, (_, i) => `${i}:${'ü'.repeat(i % 700)}`)
    writeFileSync(path, lines.join('\n'))
    const read: string[] = []
    let bytes = 0
    await readLines(
      path,
      (line) => read.push(line),
      (count) => {
        bytes += count
      },
    )
    assert.deepEqual(read, lines)
    assert.equal(bytes, Buffer.byteLength(lines.join('\n')))
  })

  it('never hold a line that no sidecar wrote', async () => {
    const path = join(folder, 'long')
    writeFileSync(path, `first\n${'x'.repeat(5_000_000)}\nlast\n`)
    const lengths: number[] = []
    await readLines(
      path,
      (line) => lengths.push(line.length),
      () => {},
    )
    assert.equal(lengths[0], 5)
    assert.equal(lengths.at(-1), 4)
    assert.ok(Math.max(...lengths) <= 2 * 1024 * 1024, String(lengths))
  })
})
