/**
 * What our facts say beside names, in the text form that the oracle gives to Cassandra's statements (`Details` in Oracle.java), so
 * that one comparison of two strings holds every marker's place, amount and relation against Cassandra's.
 */
import type { Amount, RestrictingValue, Restriction, StatementFacts } from '../../src/cql/statement/facts.ts'

export function detailsOf(facts: StatementFacts): string {
  const { verb } = facts
  switch (verb) {
    case 'SELECT':
      return `limit=${amount(facts.limit, 0)} filtering=${facts.allowFiltering} where=${where(facts, 0)} selection=${selection(facts)}`
    case 'INSERT':
    case 'UPDATE':
    case 'DELETE':
      return write(facts, 0)
    case 'BATCH': {
      let first = facts.markers.length
      for (const child of facts.children) first -= child.markers.length
      const children = facts.children.map((child) => {
        const text = `/${write(child, first)}`
        first += child.markers.length
        return text
      })
      return `timestamp=${amount(facts.timestamp, 0)}${children.join('')}`
    }
    default:
      if (/^(CREATE|ALTER) (TABLE|MATERIALIZED VIEW)$/.test(verb)) {
        return `ttl=${facts.defaultTtlSeconds ?? '-'} classes=${classes(facts)}`
      }
      if (/^((CREATE|ALTER) KEYSPACE|CREATE (INDEX|TRIGGER))$/.test(verb)) return `classes=${classes(facts)}`
      return ''
  }
}

/** `first`: the place of the statement's first marker; Cassandra counts through a BATCH. */
function write(facts: StatementFacts, first: number): string {
  const used = facts.columnsUsed.map((column) => `${encode(column)},`).join('')
  return `ttl=${amount(facts.ttl, first)} timestamp=${amount(facts.timestamp, first)} if=${used} where=${where(facts, first)}`
}

function where({ restrictions }: StatementFacts, first: number): string {
  // Cassandra keeps the expressions of custom indexes apart from the relations.
  const relations = restrictions.filter(({ columns }) => columns.length > 0)
  const expressions = restrictions.filter(({ columns }) => columns.length === 0)
  return [...relations, ...expressions].map((each) => relation(each, first)).join('')
}

function relation({ columns, operator, token, values, list }: Restriction, first: number): string {
  const names = columns.map((column) => `${encode(column)},`).join('')
  const compared = operator === 'other' ? '' : values.map((each) => `${value(each, first)},`).join('')
  return `${names}:${operator}:${token}:${compared}:${list === undefined ? '-' : `m${first + list}`};`
}

function selection({ selection: selected }: StatementFacts): string {
  if (selected === undefined) return '-'
  if (selected === '*') return '*'
  return selected.map((column) => `${column === undefined ? 'u' : encode(column)},`).join('')
}

function classes({ classes: named }: StatementFacts): string {
  return named.map(encode).sort().join(',')
}

function amount(given: Amount | undefined, first: number): string {
  if (given === undefined) return '-'
  return 'marker' in given ? `m${first + given.marker}` : String(given.literal)
}

function value(given: RestrictingValue, first: number): string {
  if (given === undefined) return 'u'
  return 'marker' in given ? `m${first + given.marker}` : `t${encode(given.text)}`
}

function encode(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}
