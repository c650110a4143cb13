/**
 * Traced requests as spans: the consumer that makes, of each, one of the sidecar and one of the node's part. They hold what the record holds.
 *
 * Names are those of OpenTelemetry's conventions, version 1.44.0, and where these have none `ringfence.…`.
 */
import { cutText } from '../base/text.ts'
import { CqlErrorCode, consistencyNames, Opcode } from '../cql/protocol.ts'
import type { SpanQueue } from '../telemetry/traces/queue.ts'
import { type Attribute, newSpanId, SpanKind, type Trace, wallMicros } from '../telemetry/traces/span.ts'
import { type Consumer, type TransactionEvent, timedOut } from './event.ts'
import { ruleOf, targetOf, verdictOf } from './verdict.ts'

/** In development still, so they stand here and nowhere else. */
const cassandraName = { consistency: 'cassandra.consistency.level' } as const

const summaryMax = 255
const textMax = 2_048
const portUsual = 9042

export interface TracedNode {
  readonly address: string
  readonly port: number
}

export class Traced implements Consumer {
  readonly #queue: SpanQueue
  readonly #node: readonly Attribute[]

  constructor(queue: SpanQueue, { address, port }: TracedNode) {
    this.#queue = queue
    this.#node = [
      ['server.address', address],
      ...(port === portUsual ? [] : [['server.port', port] as const]),
      ['network.peer.address', address],
      ['network.peer.port', port],
    ]
  }

  ended(event: TransactionEvent): void {
    const { trace, latencyMicros } = event
    if (trace === undefined) return
    const endMicros = wallMicros()
    const database = databaseAttributes(event)
    const failed = event.outcome !== 'ok'
    this.#queue.add({
      ...ids(trace),
      name: 'ringfence.sidecar',
      kind: SpanKind.SERVER,
      startMicros: Math.min(trace.startMicros, endMicros - latencyMicros),
      endMicros,
      attributes: [...database, ...ownAttributes(event)],
      failed,
    })
    if (latencyMicros <= 0) return
    this.#queue.add({
      traceId: trace.traceId,
      spanId: newSpanId(),
      parentId: trace.spanId,
      name: summaryOf(event) ?? 'cassandra',
      kind: SpanKind.CLIENT,
      startMicros: endMicros - latencyMicros,
      endMicros,
      attributes: [...database, ...this.#node],
      failed,
    })
  }
}

function ids({ traceId, spanId, parentId, link }: Trace): Pick<Trace, 'traceId' | 'spanId' | 'parentId' | 'link'> {
  return { traceId, spanId, parentId, link }
}

function databaseAttributes(event: TransactionEvent): Attribute[] {
  const { statement, opcode, consistency, outcome, code, rows } = event
  const attributes: Attribute[] = [['db.system.name', 'cassandra']]
  const summary = summaryOf(event)
  if (statement !== undefined && summary !== undefined) {
    const { facts } = statement
    const { keyspace, table } = targetOf(facts)
    if (keyspace !== undefined) attributes.push(['db.namespace', keyspace])
    if (table !== undefined) attributes.push(['db.collection.name', table])
    attributes.push(['db.operation.name', operationOf(event)], ['db.query.summary', summary])
    attributes.push(['db.query.text', cutText(facts.redacted, textMax)])
    // A batch of one is that operation.
    if (facts.verb === 'BATCH' && facts.children.length !== 1)
      attributes.push(['db.operation.batch.size', facts.children.length])
    const level = opcode === Opcode.PREPARE ? undefined : consistencyNames[consistency]
    if (level !== undefined) attributes.push([cassandraName.consistency, level.toLowerCase()])
  }
  if (rows >= 0) attributes.push(['db.response.returned_rows', rows])
  if (outcome === 'error') attributes.push(['db.response.status_code', String(code)], ['error.type', String(code)])
  if (outcome === 'lost') attributes.push(['error.type', event.message === timedOut ? 'timeout' : 'lost'])
  return attributes
}

/** Who asked, and what was decided. */
function ownAttributes(event: TransactionEvent): Attribute[] {
  const { session, opcode, decision, rule, waitedMicros } = event
  const { workload, person, transaction, client, authentication } = session.who
  const attributes: Attribute[] = [
    ['ringfence.peer.spiffe_id', workload],
    ['ringfence.session', session.who.session],
    ['ringfence.authentication', authentication],
    ['ringfence.request', requestNames.get(opcode) ?? 'UNKNOWN'],
    ['ringfence.policy.decision', decisionOf(event)],
    ['security_rule.name', decision === undefined ? rule : ruleOf(decision)],
    ['client.address', client.address],
    ['client.port', client.port],
  ]
  if (decision !== undefined) attributes.push(['ringfence.policy.revision', decision.revision])
  if (person !== undefined) attributes.push(['user.id', person])
  if (transaction !== undefined) attributes.push(['ringfence.transaction', transaction])
  if (waitedMicros > 0) attributes.push(['ringfence.wait_micros', waitedMicros])
  return attributes
}

/** The codes are those of a limit, whichever of them the client's driver knows. */
function decisionOf({ decision, code }: TransactionEvent): 'allow' | 'deny' | 'audit_deny' | 'rate_limited' {
  const verdict = decision === undefined ? 'deny' : verdictOf(decision)
  if (verdict !== 'deny') return verdict === 'observe' ? 'audit_deny' : verdict
  return code === CqlErrorCode.CONFIG_ERROR || code === CqlErrorCode.RATE_LIMIT_ERROR ? 'rate_limited' : 'deny'
}

/** `BATCH INSERT` where all of it inserts. */
function operationOf({ statement }: TransactionEvent): string {
  if (statement === undefined) return 'UNKNOWN'
  const { verb, children } = statement.facts
  const [first] = children
  if (verb !== 'BATCH' || first === undefined || children.some((child) => child.verb !== first.verb)) return verb
  return children.length === 1 ? first.verb : `BATCH ${first.verb}`
}

/** What it does to what, without any value. */
function summaryOf(event: TransactionEvent): string | undefined {
  const { statement } = event
  if (statement === undefined) return undefined
  const { keyspace, table } = targetOf(statement.facts)
  const target = table === undefined ? keyspace : keyspace === undefined ? table : `${keyspace}.${table}`
  const operation = operationOf(event)
  const summary = target === undefined ? operation : `${operation} ${target}`
  // A name is there as a whole or not at all.
  return summary.length > summaryMax ? operation : summary
}

const requestNames = new Map<number, string>(Object.entries(Opcode).map(([name, code]) => [code, name]))
