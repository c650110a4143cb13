/** A sealed log that tests write, with transactions that are told to it as a sidecar tells them. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Opcode } from '../../cql/protocol.ts'
import { analyse } from '../../cql/statement/analyse.ts'
import { parseSpiffeId, type SpiffeId } from '../../identity/spiffe.ts'
import type { Decision } from '../../policy/engine.ts'
import type { EventSession, EventStatement, TransactionEvent } from '../event.ts'
import { realFiles, type SegmentFiles } from './files.ts'
import { originOf } from './log-key.ts'
import type { SealedWriterOptions } from './options.ts'
import { SealedRecord } from './record.ts'
import { SealedWriter } from './writer.ts'

export const startMs = Date.UTC(2026, 10, 30, 12)

export function folderOfLog(): string {
  return mkdtempSync(join(tmpdir(), 'ringfence-sealed-'))
}

/** The disk has at once what it is asked for: so a block that is sealed is signed when the call returns. */
export const quickFiles: SegmentFiles = { ...realFiles, sync: (_fd, done) => done(null), syncNow: () => {} }

export function sidecarId(name: string): SpiffeId {
  return parseSpiffeId(`spiffe://demo.local/ringfence/sidecar/test/dc1/${name}`)
}

/** Certifies nothing: tests of that use the real authority. */
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

export class TestLog {
  readonly directory: string
  readonly writer: SealedWriter
  readonly record: SealedRecord
  nowMs = startMs
  readonly #sessions = new Map<string, EventSession>()

  constructor(directory: string, options: Partial<SealedWriterOptions> = {}) {
    this.directory = directory
    const proxy = options.proxy ?? 'sidecar-1'
    this.writer = new SealedWriter({
      directory,
      proxy,
      origin: originOf(sidecarId(proxy)),
      certifier: () => ({ spiffeId: sidecarId(proxy), certificatePem: '', keyPem }),
      durability: 'kernel',
      segmentBytesMax: 64 * 1024 * 1024,
      files: quickFiles,
      clock: { now: () => this.nowMs, monotonic: () => 0 } as never,
      ...options,
    })
    this.record = new SealedRecord(this.writer, () => 7, options.durability === 'disk')
  }

  session(workload: string): EventSession {
    let session = this.#sessions.get(workload)
    if (session === undefined) {
      session = {
        notes: undefined,
        who: {
          session: `s-${workload}`,
          workload: `spiffe://demo.local/svc/${workload}`,
          authentication: 'certificate',
          client: { address: '192.0.2.7', port: 40123 },
          protocolVersion: 5,
        },
      }
      this.#sessions.set(workload, session)
    }
    return session
  }

  request(
    workload: string,
    statement: EventStatement,
  ): TransactionEvent & { -readonly [F in keyof TransactionEvent]: TransactionEvent[F] } {
    return {
      kind: 'request',
      session: this.session(workload),
      opcode: Opcode.EXECUTE,
      statement,
      decision: permit,
      rule: '',
      consistency: 6,
      bytesIn: 90,
      outcome: 'ok',
      code: -1,
      message: '',
      messageIsOurs: false,
      rows: 1,
      bytesOut: 1200,
      latencyMicros: 812.7,
      waitedMicros: 0,
    }
  }

  /** `count` requests that are answered, in turns of ten. */
  run(count: number, workload = 'orders', statement = select): void {
    for (let at = 0; at < count; at++) {
      const request = this.request(workload, statement)
      this.record.begun(request)
      this.record.ended(request)
      if (at % 10 === 9) {
        this.nowMs += 3
        this.record.endTurn()
      }
    }
    this.record.endTurn()
  }
}

export const permit = {
  kind: 'permit',
  rule: 'orders-service',
  revision: 7,
  observed: undefined,
} as unknown as Decision

export function statementOf(text: string, tables: readonly string[]): EventStatement {
  return { notes: undefined, facts: analyse(text), tables }
}

export const select = statementOf('SELECT * FROM shop.orders WHERE id = ?', ['shop.orders'])
