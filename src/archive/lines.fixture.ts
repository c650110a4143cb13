/** Files of the record with lines as a sidecar writes them, for tests of what is made of them. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { auditLine, type Sent } from '../cli/policy/audit-lines.fixture.ts'

export const hourMs = 3_600_000
export const dayMs = Date.UTC(2026, 0, 2)

const usual: Sent = {
  as: 'spiffe://demo.local/svc/orders',
  text: `SELECT * FROM shop.orders WHERE id = 'CANARY-literal'`,
  rule: 'services',
  request: 'EXECUTE',
}

/** Adds lines to a file of a sidecar; each has its own number, and what is given. */
export class RecordFolder {
  readonly path: string
  #sequence = 0

  constructor(path: string) {
    this.path = path
    mkdirSync(path, { recursive: true })
  }

  file(proxy = 'sidecar-1', number = 0): string {
    return join(this.path, `audit-${proxy}-20260102T000000.000Z-${String(number).padStart(6, '0')}.jsonl`)
  }

  add(file: string, timeMs: number, sent: Partial<Sent> = {}, more: object = {}): void {
    const line = JSON.parse(auditLine({ ...usual, timeMs, ...sent })) as object
    appendFileSync(file, `${JSON.stringify({ ...line, seq: ++this.#sequence, ...more })}\n`)
  }

  text(file: string, text: string): void {
    appendFileSync(file, text)
  }
}
