/** From a list of tokens to a text: spacing and comments at random, and damage of the kinds that confuse parsers. */
import { type Chance, terminals } from './grammar.ts'

const separators = [
  ...[' ', ' ', ' ', ' ', ' ', ' ', ' ', '  ', '\n', '\t', '\r', '\r\n'],
  ...['/**/', '/* x */', '/* /* */', '-- c\n', '// d\r', '--\n', " /* ' */ ", '-- "\n', '//$$\n'],
]

const vocabulary = [
  ...'( ) [ ] { } , . .. : ; = != < > <= >= + - * / % += -= ? expr( \' " $$ $ -- // /* */ ! \\ # ` @ _'.split(' '),
  ...'SELECT FROM AS WHERE AND KEY INSERT UPDATE WITH LIMIT USING USE DISTINCT COUNT SET BEGIN BATCH APPLY TRUNCATE DELETE'.split(
    ' ',
  ),
  ...'IN CREATE SCHEMA KEYSPACE TABLE COLUMNFAMILY COLUMNFAMILIES MATERIALIZED VIEW INDEX ON TO DROP PRIMARY INTO VALUES'.split(
    ' ',
  ),
  ...'TIMESTAMP TTL CAST ALTER RENAME ADD TYPE ORDER BY ASC DESC ALLOW IF IS NOT NULL EXISTS CONTAINS GRANT ALL OF'.split(
    ' ',
  ),
  ...'MODIFY AUTHORIZE DESCRIBE EXECUTE NORECURSIVE TOKEN WRITETIME OR REPLACE JSON LIKE STATIC FROZEN MASKED UNMASK'.split(
    ' ',
  ),
  ...'ANN PER PARTITION GROUP BETWEEN UNLOGGED COUNTER FULL ENTRIES NAN INFINITY REVOKE'.split(' '),
]

const strange = [
  '\u212a',
  '\u017f',
  '\uff53',
  '\u00a0',
  '\u000b',
  '\f',
  '\ufeff',
  '\u200b',
  '\u202e',
  '\0',
  '\u2028',
  'µ',
  'é',
  '😀',
]

/** One text out of the tokens; `damage` is how many mutations it suffers. */
export function render(tokens: readonly string[], chance: Chance, damage: number): string {
  const list = [...tokens]
  for (let times = 0; times < damage && list.length > 0; times += 1) mutate(list, chance)
  const plain = chance.int(4) > 0
  let text = ''
  for (const token of list) {
    if (text !== '') text += plain ? ' ' : spacing(text, token, chance)
    const rate = /^[A-Z_]+$/.test(token) ? 3 : 6
    text += /^[A-Za-z_]\w*$/.test(token) && chance.int(rate) === 0 ? mixCase(token, chance) : token
  }
  if (chance.int(8) === 0) text += chance.pick([';', ';;', ' ; ', ';-- end\n', ';/* */'])
  if (damage > 0 && chance.int(6) === 0) text = damageCharacter(text, chance)
  return text
}

const characters = [
  ...'0123456789abcdefxyzPTYMDWHSwdhmsunPPTT01234567-+.\'"$/*?:;()[]{}<>=!,_ \n\r\t%E',
  ...'0x $$ -- // /* */ .. ... nan -NaN infinity -Infinity expr( P1Y T1H 2M 1d 12h µs us mo ms 1e 1E+ e-5 abcdefab'.split(
    ' ',
  ),
  ...'-1234 12345678-1234-1234-1234-123456789abc deadbeef- -dead 1234567d true select SELECT_MASKED é 😀 -= += <= !='.split(
    ' ',
  ),
  ...'0000-00-00T00:00:00 P2020-01-02T03:04:05 1. 1..2 .5 12345678 1234567e-1234 1d2h 1mo2 7u'.split(' '),
  '\u212a',
]

/** A short text in which tokens touch: for the lexer alone. */
export function glue(chance: Chance): string {
  let text = ''
  for (let times = 1 + chance.int(7); times > 0; times -= 1) text += chance.pick(characters)
  return chance.int(2) === 0 ? text : `${text} `
}

function spacing(text: string, token: string, chance: Chance): string {
  const glued = /[\w"'$]$/.test(text) && /^[\w"'$]/.test(token)
  return !glued && chance.int(3) === 0 ? '' : chance.pick(separators)
}

function mutate(list: string[], chance: Chance): void {
  const at = chance.int(list.length)
  switch (chance.int(7)) {
    case 0:
      list.splice(at, 1)
      return
    case 1:
      list.splice(at, 0, list[at]!)
      return
    case 2: {
      const other = chance.int(list.length)
      const kept = list[at]!
      list[at] = list[other]!
      list[other] = kept
      return
    }
    case 3:
      list[at] = anyToken(chance)
      return
    case 4:
      list.splice(at, 0, anyToken(chance))
      return
    case 5:
      list.length = at + 1
      return
    default: {
      const from = chance.int(list.length)
      list.splice(at, 0, ...list.slice(from, from + 1 + chance.int(4)))
    }
  }
}

function anyToken(chance: Chance): string {
  if (chance.int(2) === 0) return chance.pick(vocabulary)
  return chance.pick(chance.pick(Object.values(terminals)))
}

function mixCase(word: string, chance: Chance): string {
  return chance.int(2) === 0
    ? word.toLowerCase()
    : word.replace(/./g, (letter) => (chance.int(2) === 0 ? letter.toLowerCase() : letter))
}

function damageCharacter(text: string, chance: Chance): string {
  const at = chance.int(text.length + 1)
  const inserted = chance.int(2) === 0 ? chance.pick(strange) : chance.pick([...'\'"$-/*;().,:0eEdP\r\n\\'])
  return text.slice(0, at) + inserted + text.slice(at + chance.int(2))
}
