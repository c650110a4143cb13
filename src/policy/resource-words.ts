/** What a client is told that a denial is about. */
import type { Access } from '../cql/statement/facts.ts'
import { printable } from './data/words.ts'

/** In Cassandra's notation, `<table orders.payments>`. */
export function resourceWords({ resource }: Access): string {
  const keyspace = 'keyspace' in resource ? printable(resource.keyspace ?? '?') : ''
  switch (resource.kind) {
    case 'table':
      return `<table ${keyspace}.${printable(resource.table)}>`
    case 'keyspace':
      return `<keyspace ${keyspace}>`
    case 'function':
      return `<function ${keyspace}.${printable(resource.name)}>`
    case 'role':
      return `<role ${printable(resource.role)}>`
    case 'cluster':
      return '<the cluster>'
  }
}
