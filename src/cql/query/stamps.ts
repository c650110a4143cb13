/** What the expressions of a tree name. */
import type { Expression, SelectTree } from './tree.ts'

/**
 * `writetime(c)`, `ttl(c)` and `maxwritetime(c)`, which no table in memory has by itself: who reads its rows asks for them too. Each that the
 * statement names, once, in the words in which a column of it is looked for.
 */
export function stampsOf({ selectors }: SelectTree): string[] {
  const found = new Set<string>()
  if (selectors === '*') return []
  for (const { expression } of selectors) {
    walk(expression, (part) => {
      if (part.kind === 'stamp') found.add(`${part.of}("${part.column.replaceAll('"', '""')}")`)
    })
  }
  return [...found]
}

/** Columns that an expression names. */
export function columnsOf(expression: Expression): string[] {
  const found: string[] = []
  walk(expression, (part) => {
    if (part.kind === 'column') found.push(part.name)
    else if (part.kind === 'stamp') found.push(part.column)
  })
  return found
}

function walk(expression: Expression, visit: (part: Expression) => void): void {
  visit(expression)
  switch (expression.kind) {
    case 'call':
    case 'tuple':
    case 'list':
    case 'set':
      for (const part of expression.parts) walk(part, visit)
      return
    case 'cast':
    case 'group':
    case 'hint':
    case 'negation':
      walk(expression.part, visit)
      return
    case 'operation':
      walk(expression.left, visit)
      walk(expression.right, visit)
      return
    case 'element':
    case 'slice':
      walk(expression.of, visit)
      return
    case 'map':
      for (const entry of expression.entries) for (const part of entry) walk(part, visit)
      return
    default:
  }
}
