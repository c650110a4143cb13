/**
 * From one statement to many that mean the same: comments between its tokens, other white space, other cases, quoted names, semicolons,
 * JSON for rows, and each way of sending it. Deterministic from a seed.
 *
 * Rule: a variant means to Cassandra what the statement means. `variants.test.ts` holds our parser and Cassandra's own against that.
 */
import { lex } from '../../../src/cql/statement/lexer.ts'
import { firstKeyword, T } from '../../../src/cql/statement/tokens.ts'
import { Chance } from '../../oracle/grammar.ts'
import type { Attack, Bound, Form } from './catalogue.ts'
import { attacks } from './catalogue.ts'

export const styles = ['plain', 'comments', 'white space', 'tight', 'case', 'quotes', 'semicolons', 'mixed'] as const
export type Style = (typeof styles)[number]

/** One statement in one spelling, sent in one way. */
export interface Variant {
  readonly attack: Attack
  /** The name that stands for `§`. */
  readonly mark: string
  readonly style: Style
  readonly form: Form
  /** As it is sent. */
  readonly text: string
  /** As it stands in the corpus, with the mark put in. */
  readonly plain: string
  readonly values: readonly (Buffer | null)[]
}

/** Written by every identity of the corpus; the parts of a batch that are permitted. */
export const permittedInsert = (mark: string): string =>
  `INSERT INTO e2e_attacks.open (k, v) VALUES ('${mark}-beside', 'x')`

/**
 * All variants of all attacks.
 * @param run put into each mark, so that the records of two runs are told apart; letters and digits in lower case
 */
export function variantsOf(seed: number, run: string, corpus: readonly Attack[] = attacks): Variant[] {
  const chance = new Chance(seed)
  const variants: Variant[] = []
  for (const attack of corpus) {
    for (const statement of attack.statements) {
      for (const style of stylesOf(attack)) {
        for (const form of formsOf(attack, textOf(statement), style)) {
          const mark = `m${run}x${variants.length}x`
          variants.push(variant(attack, statement, style, form, mark, chance))
        }
      }
    }
  }
  return variants
}

function variant(
  attack: Attack,
  statement: string | Bound,
  style: Style,
  form: Form,
  mark: string,
  chance: Chance,
): Variant {
  const template = textOf(statement)
  const marked = template.includes('§') ? template : `${template} /* § */`
  const plain = marked.replaceAll('§', mark)
  const rows = style === 'mixed' && form !== 'batch' ? asJson(attack, plain) : plain
  const text =
    form === 'batch text'
      ? `BEGIN BATCH ${permittedInsert(mark)}; ${respell(rows, style, chance)} APPLY BATCH`
      : ended(attack.exact ? around(rows, style, chance) : respell(rows, style, chance), attack, style, chance)
  const values = typeof statement === 'string' ? [] : statement.values.map((value) => markedValue(value, mark))
  return { attack, mark, style, form, text, plain, values }
}

function textOf(statement: string | Bound): string {
  return typeof statement === 'string' ? statement : statement.text
}

function markedValue(value: Buffer | null, mark: string): Buffer | null {
  if (value?.includes('§') !== true) return value
  return Buffer.from(value.toString().replaceAll('§', mark))
}

function stylesOf(attack: Attack): readonly Style[] {
  if (attack.exact !== true) return styles
  return attack.wanted === 'INVALID' ? ['plain', 'white space'] : ['plain', 'white space', 'comments', 'semicolons']
}

function formsOf(attack: Attack, text: string, style: Style): readonly Form[] {
  if (attack.forms !== undefined) return attack.forms
  const usual: Form[] = ['query', 'prepare']
  if (/^\s*BEGIN\b/i.test(text)) return usual
  const isWrite = /^(INSERT|UPDATE|DELETE)\b/.test(text)
  const inMessage = isWrite || (attack.wanted !== 'PASS' && attack.judged === undefined)
  if (!inMessage || (style !== 'plain' && style !== 'mixed')) return usual
  return isWrite && attack.exact !== true ? [...usual, 'batch', 'batch text'] : [...usual, 'batch']
}

/** `SELECT JSON` for a SELECT whose first word is not spelled for a reason. */
function asJson(attack: Attack, text: string): string {
  if (attack.exact || attack.judged !== undefined || !/^SELECT (?!JSON\b)/.test(text)) return text
  return text.replace(/^SELECT /, 'SELECT JSON ')
}

/** Something in front of the statement; its own spelling stays. */
function around(text: string, style: Style, chance: Chance): string {
  if (style === 'white space') return `${chance.pick(['\n', '\t', '\r', ' \r\n '])}${text}`
  return style === 'comments' ? `${chance.pick(comments)}${text}` : text
}

function ended(text: string, { wanted }: Attack, style: Style, chance: Chance): string {
  if (wanted === 'INVALID' || (style !== 'semicolons' && style !== 'mixed')) return text
  return `${text}${chance.pick(ends)}`
}

const comments = [
  '/**/',
  '/* x */',
  "/* ' */",
  '/* " */',
  '/* $$ */',
  '/* /* */',
  '/* -- */',
  '/* ; */',
  '-- x\n',
  '-- x\r',
  '// x\n',
  '// x\r',
  '--\n',
  '//\r\n',
  '/* FROM e2e_attacks.open */',
  '-- e2e_attacks.open\r',
  '/*\n*/',
]
const whiteSpace = [' ', '\t', '\n', '\r', '\r\n', ' \t ', '\n\n']
const ends = [';', ' ;', ';;;', '\n;\r', ' ; -- x\n', '; /* ; */ ;']

/** Tokens that end a name or number whatever follows them, and that nothing before them can swallow. */
const separate: ReadonlySet<string> = new Set('(),;[]{}=')

/** The same statement in other characters. */
export function respell(text: string, style: Style, chance: Chance): string {
  const { kinds, starts, ends: tokenEnds, count } = lex(text)
  let out = style === 'comments' || style === 'mixed' ? chance.pick(comments) : ''
  let before = ''
  let at = 0
  for (let i = 0; i < count; i++) {
    const token = text.slice(starts[i], tokenEnds[i])
    const gap = text.slice(at, starts[i])
    if (i > 0) out += spacing(gap, before, token, style, chance)
    out += spelling(kinds[i]!, token, before, style, chance)
    before = token
    at = tokenEnds[i]!
  }
  return out + text.slice(at)
}

function spacing(gap: string, before: string, token: string, style: Style, chance: Chance): string {
  switch (style) {
    case 'comments':
      return `${gap}${chance.pick(comments)}`
    case 'white space':
      return gap === '' ? '' : chance.pick(whiteSpace)
    case 'tight':
      if (gap === '' || separate.has(before) || separate.has(token)) return ''
      return '/**/'
    case 'mixed':
      if (chance.int(3) === 0) return `${gap}${chance.pick(comments)}`
      return gap === '' && chance.int(2) === 0 ? '' : chance.pick(whiteSpace)
    default:
      return gap
  }
}

function spelling(kind: number, token: string, before: string, style: Style, chance: Chance): string {
  const isName = kind === T.IDENT
  // A language is no name that could be quoted.
  const quotable = isName && before !== 'LANGUAGE'
  if (quotable && (style === 'quotes' || (style === 'mixed' && chance.int(3) === 0))) return `"${token.toLowerCase()}"`
  if ((style === 'case' || style === 'mixed') && (isName || kind >= firstKeyword)) return mixedCase(token, chance)
  return token
}

function mixedCase(word: string, chance: Chance): string {
  let mixed = ''
  for (const letter of word) mixed += chance.int(2) === 0 ? letter.toLowerCase() : letter.toUpperCase()
  return mixed
}
