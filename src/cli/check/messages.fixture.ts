/** What `check` can say, read out of its files, so that a test can tell which of it was never said. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Finding } from './finding.ts'

/** Each text and hint that stands in `file`, as a pattern. Whatever has a space in it is one; no file of this folder has other such texts but questions in CQL. */
export function messagesIn(file: string): RegExp[] {
  const source = readFileSync(join(import.meta.dirname, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
  const literals = [...source.matchAll(/`([^`]*)`|'([^'\n]*)'/g)].map(([, template, plain]) => template ?? plain ?? '')
  const texts = literals.filter((text) => text.includes(' ') && !text.startsWith('SELECT '))
  return texts.map(
    (text) =>
      new RegExp(
        text
          .split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/)
          .map(escaped)
          .join('.*'),
      ),
  )
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

/** Those that none of the findings says. */
export function unsaid(file: string, findings: readonly Finding[]): string[] {
  const said = findings.flatMap(({ category, text, hint }) => [category, text, hint ?? ''])
  return messagesIn(file)
    .filter((pattern) => !said.some((text) => pattern.test(text)))
    .map(String)
}
