/** Cassandra's own parser as an oracle (`Oracle.java`), a line for each statement. */
import { JavaLines } from './java.ts'

export { oracleMissing } from './java.ts'

/** What Cassandra made of a statement. Sets hold canonical names; a pair is `[keyspace, name]`. */
export type Answer =
  | {
      readonly accepted: true
      /** Simple name of the class of the raw statement, for example `SelectStatement$RawStatement`. */
      readonly kind: string
      readonly markers: readonly (string | undefined)[]
      readonly tables: readonly (readonly [string | undefined, string])[]
      readonly columns: readonly string[]
      readonly functions: readonly (readonly [string | undefined, string])[]
      /** Names that the statement keeps in fields of its own: `keyspace`, `role`, `resource`, … */
      readonly own: ReadonlyMap<string, string>
      /** What it says beside names, in the form that `details.ts` gives to our facts. */
      readonly details: string
    }
  | { readonly accepted: false; readonly exception: string; readonly message: string }

export interface LexedToken {
  readonly kind: string
  readonly start: number
  readonly end: number
}

export class Oracle {
  readonly #java = new JavaLines('Oracle.java')

  /** Asks for many statements at once; answers come in order. */
  async parse(texts: readonly string[]): Promise<Answer[]> {
    return (await this.#ask('P', texts)).map(answerOf)
  }

  /** Cassandra's tokens, or undefined where its lexer fails. */
  async lex(texts: readonly string[]): Promise<(LexedToken[] | undefined)[]> {
    return (await this.#ask('L', texts)).map(tokensOf)
  }

  async nativeFunctions(): Promise<string[]> {
    const [line] = await this.#ask('N', [''])
    return line!.split('\t')[1]!.split(',')
  }

  stop(): void {
    this.#java.stop()
  }

  async #ask(command: string, texts: readonly string[]): Promise<string[]> {
    return await this.#java.ask(texts.map((text) => `${command} ${Buffer.from(text, 'utf8').toString('base64')}`))
  }
}

function decode(text: string): string {
  return Buffer.from(text, 'base64').toString('utf8')
}

function answerOf(line: string): Answer {
  const [status, kind = '', markers = '', tables = '', columns, functions = '', , own = '', details = ''] =
    line.split('\t')
  if (status !== 'A') return { accepted: false, exception: kind, message: decode(markers) }
  return {
    accepted: true,
    kind,
    markers: markers
      .split(',')
      .slice(0, -1)
      .map((marker) => (marker === '?' ? undefined : decode(marker))),
    tables: pairs(tables),
    columns: columns === undefined || columns === '-' ? [] : columns.split(',').map(decode),
    functions: pairs(functions),
    own: new Map(
      own
        .split(',')
        .filter((each) => each !== '')
        .map(decode)
        .map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)] as const),
    ),
    details,
  }
}

function pairs(text: string): [string | undefined, string][] {
  if (text === '') return []
  return text.split(',').map((pair) => {
    const [keyspace, name] = pair.split('.') as [string, string]
    return [keyspace === '' ? undefined : decode(keyspace), decode(name)]
  })
}

function tokensOf(line: string): LexedToken[] | undefined {
  const [status, text = ''] = line.split('\t')
  if (status !== 'T') return undefined
  return text
    .split(' ')
    .filter((token) => token !== '')
    .map((token) => {
      const [kind, start, end] = token.split(':') as [string, string, string]
      return { kind: decode(kind), start: Number(start), end: Number(end) }
    })
}
