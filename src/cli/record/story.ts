/**
 * One transaction, hop by hop: what each part of the way did, by the record.
 *
 * Rule: what is a claim is said as one. What the record does not have is left out, or said not to be known; nothing is concluded.
 */
import type { Row } from '../../archive/database.ts'
import type { StoryRows } from '../../archive/story.ts'
import type { BlockProof, RecordProof } from '../../audit/sealed/proof.ts'
import { RingfenceError } from '../../base/errors.ts'
import type { PlaceFound } from './place.ts'

/** A part of the way: what is known of it, and the same in words. */
export interface Hop {
  readonly hop: string
  readonly facts: { readonly [name: string]: unknown }
  readonly words: readonly string[]
}

export function storyOf({ row, logIn }: StoryRows, place: PlaceFound): Hop[] {
  const hops = row.event === null || row.event === undefined ? transactionHops(row, logIn) : [eventHop(row)]
  return [...hops.filter(({ words }) => words.length > 0), logHop(row, place)]
}

function transactionHops(row: Row, logIn: Row | undefined): Hop[] {
  return [clientHop(row, logIn), personHop(row), gatewayHop(row), sidecarHop(row), verdictHop(row), nodeHop(row)]
}

function clientHop(row: Row, logIn: Row | undefined): Hop {
  const shown = row.operation === 'CONNECT' ? row : logIn
  const { client_address: address, client_port: port, driver, protocol, workload, authentication } = row
  const words = [
    text`${workload}, by ${authentication}`,
    text`from ${address}:${port}${given(driver, (name) => `, driver ${name} (a claim)`)}, protocol ${protocol}`,
  ]
  if (shown === undefined) words.push('its log-in is not in what was read')
  else {
    words.push(text`logged in ${shown.time}`)
    if (has(shown.evidence_hash)) words.push(text`showed evidence of SHA-256 ${shown.evidence_hash}`)
    if (has(shown.provider))
      words.push(text`with a token of ${shown.provider}${given(shown.issuer, (issuer) => ` (${issuer})`)}`)
  }
  const logInFacts = shown && pick(shown, ['time', 'evidence_hash', 'token_hash', 'provider', 'issuer', 'token_id'])
  const facts = { ...pick(row, ['workload', 'authentication', 'driver', 'protocol']), address, port }
  return { hop: 'client', facts: { ...facts, log_in: logInFacts ?? null }, words }
}

function personHop(row: Row): Hop {
  const { person, transaction_id: transaction, token_hash: token, claimed } = row
  const facts = pick(row, ['person', 'transaction_id', 'token_hash', 'claimed'])
  if (has(person)) {
    const by = has(transaction) ? text`, on whose behalf it was: transaction ${transaction}` : ''
    const words = [`${String(person)}${by}`, ...(has(token) ? [text`by a token of SHA-256 ${token}`] : [])]
    return { hop: 'person', facts, words }
  }
  if (has(claimed)) return { hop: 'person', facts, words: [text`nobody was proved; said to be for ${claimed}`] }
  return { hop: 'person', facts, words: [] }
}

function gatewayHop(row: Row): Hop {
  const words = has(row.gateway) ? [text`${row.gateway}; the address of the client is its word`] : []
  return { hop: 'gateway', facts: pick(row, ['gateway', 'session']), words }
}

function sidecarHop(row: Row): Hop {
  const { proxy, session, operation, request, statement, consistency, tables, batch_size: batch } = row
  const asked = `${has(request) ? `${String(request)} of ` : ''}${has(statement) ? String(statement) : String(operation)}`
  const words = [
    text`${proxy}, session ${session}`,
    `${asked}${given(consistency, (level) => `, at ${level}`)}${given(batch, (count) => `, ${count} statements`)}`,
    ...(Array.isArray(tables) && tables.length > 0 ? [`touches ${tables.map(String).join(', ')}`] : []),
  ]
  const names = ['proxy', 'session', 'operation', 'request', 'statement', 'keyspace', 'table_name', 'tables']
  return { hop: 'sidecar', facts: pick(row, [...names, 'consistency', 'batch_size', 'bytes_in']), words }
}

const verdictWords: ReadonlyMap<unknown, string> = new Map([
  ['allow', 'allowed'],
  ['deny', 'refused'],
  ['observe', 'let through, though a rule in observe mode would have refused it'],
])

function verdictHop(row: Row): Hop {
  const { verdict, rule, policy_revision: revision } = row
  const words = [text`${verdictWords.get(verdict) ?? verdict}: rule ${rule}, policy revision ${revision}`]
  return { hop: 'verdict', facts: pick(row, ['verdict', 'rule', 'policy_revision']), words }
}

function nodeHop(row: Row): Hop {
  const { outcome, error_code: code, error_message: message, rows_answered: rows, bytes_out: bytes, time } = row
  const error = has(code) ? text`: ${hexOf(code)} ${message}` : ''
  const words = [
    `${outcomeWords(row)}${error}`,
    text`${has(rows) ? `${rows} rows, ` : ''}${bytes} bytes, ${row.latency_micros} µs from its arrival; recorded ${time}`,
  ]
  const names = ['time', 'outcome', 'error_code', 'error_message', 'rows_answered', 'bytes_out', 'latency_micros']
  return { hop: outcome === 'error' && row.verdict === 'deny' ? 'answer' : 'node', facts: pick(row, names), words }
}

function outcomeWords({ outcome, verdict, proxy, statement }: Row): string {
  if (outcome === 'lost') return 'no answer is known; what the node did is not known either'
  if (verdict === 'deny') return 'answered by the sidecar, and not by the node'
  if (!has(statement)) return outcome === 'ok' ? 'done' : 'answered with an error'
  return outcome === 'ok' ? `answered by the node of ${String(proxy)}, or for it` : 'answered with an error'
}

function eventHop(row: Row): Hop {
  const names = ['time', 'proxy', 'event', 'cause', 'claimed', 'provider', 'issuer', 'token_id', 'token_hash']
  const facts = pick(row, [...names, 'client_address', 'client_port', 'gateway', 'driver', 'dropped'])
  const rest = Object.entries(facts).filter(([name]) => name !== 'event')
  const words = [text`${row.event}: no transaction`, ...rest.map(([name, value]) => `${name} ${String(value)}`)]
  return { hop: 'event', facts, words }
}

function logHop(row: Row, place: PlaceFound): Hop {
  if (place === undefined) {
    const why = 'it was not read from a sealed record: nothing proves it'
    return { hop: 'log', facts: { id: idOf(row), proof: null, why }, words: [why] }
  }
  if (place instanceof RingfenceError) {
    const why = `it has no proof: ${place.message}`
    return { hop: 'log', facts: { id: idOf(row), proof: null, why }, words: [why] }
  }
  const { segment, proof } = place
  const { origin, size, isWitnessed, text: proofText } = proof
  const words = [
    `record ${String(row.seq)} of ${origin}`,
    `${blockWords(proof)}, from ${segment} on`,
    `the log signed it in its checkpoint of ${size} blocks${isWitnessed ? ', and the control plane witnessed that' : ''}`,
    ...outcomeOf(proof),
  ]
  const facts = { id: idOf(row), origin, segment, block: blockFacts(proof), checkpoint: size, witnessed: isWitnessed }
  return { hop: 'log', facts: { ...facts, proof: proofText, outcome: outcomeFacts(proof) }, words }
}

function blockWords({ index, header: { numberBefore, numberLast } }: BlockProof): string {
  return `block ${index} (records ${numberBefore + 1} to ${numberLast})`
}

function blockFacts({ index, header: { numberBefore, numberLast, firstMs, lastMs, hash } }: BlockProof): object {
  const times = { from: new Date(firstMs).toISOString(), to: new Date(lastMs).toISOString() }
  return { index, first: numberBefore + 1, last: numberLast, ...times, sha256: hash.toString('hex') }
}

/** Nothing where the same block says it. */
function outcomeOf({ outcome }: RecordProof): string[] {
  if (outcome === 'here') return []
  if (outcome instanceof RingfenceError) return [`only what was intended is proven: ${outcome.message}`]
  const { size, isWitnessed } = outcome
  const signed = `in the checkpoint of ${size} blocks${isWitnessed ? ', which was witnessed' : ''}`
  return [`what became of it: ${blockWords(outcome)}, ${signed}`]
}

function outcomeFacts({ outcome }: RecordProof): object {
  if (outcome === 'here') return { proven: true }
  if (outcome instanceof RingfenceError) return { proven: false, why: outcome.message }
  const { size, isWitnessed, text: proof } = outcome
  return { proven: true, block: blockFacts(outcome), checkpoint: size, witnessed: isWitnessed, proof }
}

export function idOf({ proxy, seq }: Row): string {
  return `${String(proxy)}/${String(seq)}`
}

function has(value: unknown): boolean {
  return value !== null && value !== undefined && value !== ''
}

function given(value: unknown, words: (text: string) => string): string {
  return has(value) ? words(String(value)) : ''
}

/** What is not there stands as `?`. */
function text(parts: TemplateStringsArray, ...values: readonly unknown[]): string {
  return parts.map((part, at) => `${part}${at < values.length ? textOf(values[at]) : ''}`).join('')
}

function textOf(value: unknown): string {
  return value === null || value === undefined ? '?' : String(value)
}

function hexOf(code: unknown): string {
  return `0x${Number(code).toString(16).toUpperCase().padStart(4, '0')}`
}

/** Those that are there. */
function pick(row: Row, names: readonly string[]): { [name: string]: unknown } {
  return Object.fromEntries(names.filter((name) => has(row[name])).map((name) => [name, row[name]]))
}
