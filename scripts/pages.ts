/** What pages show: blocks of code, lines for the program `ringfence`, headings and links. */
import type { Command, Option } from 'commander'

export interface Block {
  readonly language: string
  /** Behind the language: the name of a file, or `token`. */
  readonly name: string
  /** Without the indentation of its fence. */
  readonly text: string
  readonly line: number
}

/** The fenced blocks of a page, also those in lists. */
export function blocksOf(page: string): Block[] {
  const found: Block[] = []
  const fenced = /^([ \t]*)```(\w*)[ \t]*(\S*)[^\n]*\n([\s\S]*?)^\1```[ \t]*$/gm
  for (const { 1: indent = '', 2: language = '', 3: name = '', 4: body = '', index } of page.matchAll(fenced)) {
    const text = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    found.push({ language, name, text, line: page.slice(0, index).split('\n').length })
  }
  return found
}

/** Where no line for a shell stands. */
const otherLanguages = new Set(['yaml', 'json', 'sql', 'cql', 'js', 'python', 'java', 'go', 'cedarschema'])
/** Ends of a command in a shell, or of its place in a text. */
const commandEnds = /\s(?:\||&&?|;|#|>{1,2}|\d>)(?:\s|&|$)|[;`)'](?=\s|$)|\s{3,}/
const commandStart = /(?:^|[\s`'"($]|bin\/)ringfence(?:\.mjs)? +/g

/** What a page says behind `ringfence`, as words: in blocks for a shell, in files of systemd, and in inline code. */
export function commandsOf(page: string): string[][] {
  const prose = page.replaceAll(/^[ \t]*```[\s\S]*?^[ \t]*```[ \t]*$/gm, '')
  const inline = [...prose.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code.replaceAll(/\s+/g, ' '))
  const blocks = blocksOf(page).filter(({ language }) => !otherLanguages.has(language))
  const lines = blocks.flatMap(({ text }) => text.replaceAll(/\\\n\s*/g, ' ').split('\n'))
  return [...lines, ...inline].flatMap((line) =>
    [...line.matchAll(commandStart)]
      // The value of a flag, such as an audience that is called so.
      .filter(({ index }) => !/--[a-z-]+$/.test(line.slice(0, index)))
      .map(({ 0: start, index }) => wordsOf(line.slice(index + start.length))),
  )
}

function wordsOf(rest: string): string[] {
  // What is quoted is one word: a statement, a path.
  const plain = ` ${rest.replaceAll(/"[^"]*"|'[^']*'/g, 'quoted')}`
  const end = plain.search(commandEnds)
  return (end < 0 ? plain : plain.slice(0, end)).split(/\s+/).filter((word) => word !== '')
}

/** What is wrong with the words behind `ringfence`: no such verb, no such flag. */
export function commandProblem(program: Command, words: readonly string[]): string | undefined {
  let command = program
  let at = 0
  for (; at < words.length; at++) {
    const next = command.commands.find((one) => one.name() === words[at])
    if (next === undefined) break
    command = next
  }
  const rest = words.slice(at)
  const [first] = rest
  if (command.commands.length > 0 && first !== undefined && /^[a-z]/.test(first)) return `there is no verb ${first}`
  const options: readonly Option[] = [...command.options, ...program.options]
  for (let i = 0; i < rest.length; i++) {
    const [flag = ''] = rest[i]!.split('=')
    // A word that is one of several, as `--ip | --dns` or `--help`, which every command has.
    if (!/^--?[a-z]/i.test(flag) || flag === '--help') {
      if (isOpen(command) && !flag.startsWith('-') && flag !== '…') return undefined
      continue
    }
    const option = options.find(({ long, short }) => flag === long || flag === short)
    if (option === undefined) return isOpen(command) ? undefined : `${command.name()} has no ${flag}`
    if (option.required && !rest[i]!.includes('=')) i++
  }
  return undefined
}

/** Its further words are another program's. */
function isOpen(command: Command): boolean {
  return command.name() === 'cqlsh' || command.name() === 'demo'
}

/** As GitHub makes them of headings. */
export function anchorsOf(page: string): Set<string> {
  const plain = page.replaceAll(/^[ \t]*```[\s\S]*?^[ \t]*```[ \t]*$/gm, '')
  const found = new Set<string>()
  for (const [, title = ''] of plain.matchAll(/^#+ +(.+?) *$/gm)) {
    const text = title.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    found.add(text.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
  }
  return found
}

/** Links to other pages of the repository, or within one: path (empty within) and anchor. */
export function linksOf(page: string): { readonly path: string; readonly anchor: string }[] {
  return [...page.matchAll(/\]\(([^)\s#:]*)#([^)\s]+)\)/g)].map(([, path = '', anchor = '']) => ({ path, anchor }))
}
