/** Relations of WHERE that Cassandra takes in no combination, with ALLOW FILTERING or without (`cql3/restrictions/*.java`, `SingleColumnRelation.java`). */
import type { Compiler } from './expressions.ts'
import type { Operator, Relation } from './tree.ts'
import { invalid } from './unsupported.ts'

/** @throws RingfenceError INVALID */
export function checkRelations(relations: readonly Relation[], compiler: Compiler): void {
  const { columns } = compiler.shape
  const met = new Map<string, Operator[]>()
  for (const { columns: of, token, tuple, key, operator } of relations) {
    if (key !== undefined) {
      const { name, type, multicell } = columns[compiler.columnAt(of[0]!)]!
      if (type.kind !== 'map') throw invalid(`Column ${name} cannot be used as a map`)
      if (multicell !== true)
        throw invalid(`Map-entry equality predicates on frozen map column ${name} are not supported`)
      if (operator !== '=') throw invalid('Only EQ relations are supported on map entries')
      continue
    }
    const what = token ? `token(${of.join(', ')})` : of.join(', ')
    for (const name of of) {
      const { kind, multicell } = columns[compiler.columnAt(name)]!
      if (token) continue
      if (tuple && kind !== 'clustering') {
        throw invalid(`Multi-column relations can only be applied to clustering columns but was applied to: ${name}`)
      }
      if (operator.startsWith('CONTAINS')) continue
      if (multicell === true)
        throw invalid(`Collection column '${name}' cannot be restricted by a '${operator}' relation`)
    }
    if (operator.startsWith('CONTAINS')) continue
    const before = met.get(what) ?? []
    for (const other of before) checkPair(what, other, operator)
    met.set(what, [...before, operator])
  }
}

function checkPair(what: string, one: Operator, other: Operator): void {
  const pair = [one, other]
  if (pair.includes('='))
    throw invalid(`${what} cannot be restricted by more than one relation if it includes an Equal`)
  if (pair.includes('IN')) throw invalid(`${what} cannot be restricted by more than one relation if it includes a IN`)
  if (one[0] === other[0]) {
    const bound = one[0] === '>' ? 'start' : 'end'
    throw invalid(`More than one restriction was found for the ${bound} bound on ${what}`)
  }
}
