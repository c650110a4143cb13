/**
 * `check` says what is broken or soon will be, before anybody is hurt by it. Each file here looks at one thing from outside, as a
 * client or an intruder would, or reads it out of what the control plane was told.
 *
 * Rule: nothing is called good that was not tried. What could not be tried is a finding of its own, and every finding that is not
 * good has a hint: what to do.
 *
 * This file: a finding and how it is printed.
 */
import { paint, printable } from '../output.ts'

export interface Finding {
  readonly category: string
  readonly level: 'ok' | 'warning' | 'failure'
  readonly text: string
  readonly hint?: string
}

const marks = { ok: '√', warning: '‼', failure: '×' } as const
const colourOf = { ok: 'green', warning: 'yellow', failure: 'red' } as const

export function good(category: string, text: string): Finding {
  return { category, level: 'ok', text }
}

export function warning(category: string, text: string, hint: string): Finding {
  return { category, level: 'warning', text, hint }
}

export function failure(category: string, text: string, hint: string): Finding {
  return { category, level: 'failure', text, hint }
}

/** One line a finding, its hint below it, and a sum in the last line. */
export function findingsText(findings: readonly Finding[]): string {
  const lines: string[] = []
  let category: string | undefined
  for (const finding of findings) {
    if (finding.category !== category) {
      lines.push(...(category === undefined ? [] : ['']), paint(finding.category, 'bold'))
      category = finding.category
    }
    lines.push(`${paint(marks[finding.level], colourOf[finding.level])} ${printable(finding.text)}`)
    if (finding.hint !== undefined) lines.push(`    hint: ${printable(finding.hint)}`)
  }
  const failures = findings.filter(({ level }) => level === 'failure').length
  const warnings = findings.filter(({ level }) => level === 'warning').length
  lines.push('', failures + warnings === 0 ? 'all is well' : `${failures} failures, ${warnings} warnings`)
  return lines.join('\n')
}
