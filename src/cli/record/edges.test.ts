/** What `edges` says of a way: how it is secured, by what the client proved. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { dayMs, RecordFolder } from '../../archive/lines.fixture.ts'
import { widthOf } from '../screen.ts'
import { CommandLines } from './command-lines.fixture.ts'

/** As the record has it. */
const secured: readonly (readonly [string, string])[] = [
  ['certificate', 'mTLS'],
  ['certificate+oidc', 'mTLS, certificate+oidc'],
  ['certificate+txn-token', 'mTLS, certificate+txn-token'],
  ['oidc', 'TLS, oidc'],
  ['aws-sts+impersonation', 'TLS, aws-sts+impersonation'],
  ['listener', 'no proof'],
  ['listener+txn-token', 'no proof, listener+txn-token'],
  ['listener+impersonation', 'no proof, listener+impersonation'],
]

describe('edges', () => {
  let folder: string
  let commands: CommandLines
  let record: RecordFolder
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'rf-edges-'))
    commands = new CommandLines(folder)
    record = new RecordFolder(join(folder, 'audit'))
    for (const [i, [authentication]] of secured.entries()) {
      record.add(record.file(), dayMs, {
        as: `spiffe://demo.local/svc/s${i}`,
        text: 'SELECT * FROM shop.orders',
        authentication,
      })
    }
  })
  after(() => {
    commands.end()
    rmSync(folder, { recursive: true, force: true })
  })

  it('says what each client proved, and no TLS where a plain listener took it', async () => {
    const edges = ['edges', '--since', '2026-01-02', '--until', '2026-01-03', '--from', record.path]
    const { out, err } = await commands.run([...edges, '-o', 'json'])
    const rows = JSON.parse(out) as { workload: string; secured: string }[]
    const told = secured.map((_, i) => rows.find(({ workload }) => workload.endsWith(`/s${i}`))?.secured)
    assert.deepEqual(
      told,
      secured.map(([, words]) => words),
      err,
    )
    const table = await commands.run(edges)
    for (const line of table.out.split('\n')) assert.ok(widthOf(line) <= 80, line)
  })
})
