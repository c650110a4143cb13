/**
 * A text or a document without what nobody else may have: keys, tokens, passwords, cookies.
 *
 * Rule: what may be a secret goes, by its name or by its form. SPIFFE ids, digests in hexadecimal and names stay, for without them a report
 * says nothing; so a secret of hexadecimal digits alone, beside no name that says so, stays as well.
 */
import { isSecretName } from './secret-names.ts'

const gone = '[removed]'
/** Of one line; what is behind that is cut, so that no line costs much. */
const lineCharactersMax = 64 * 1024

const patterns: readonly (readonly [RegExp, string])[] = [
  [
    /-----BEGIN [A-Z0-9 ]{0,64}(?:PRIVATE KEY|SECRET)[A-Z0-9 ]{0,64}-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,64}-----|$)/g,
    gone,
  ],
  // As it stands within JSON, or cut off at its beginning.
  [/-----BEGIN CERTIFICATE-----[\s\S]{0,65536}?-----END CERTIFICATE-----(?:\\n|\n)?/g, '[certificate]'],
  [/\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}/g, gone],
  [/\b(Bearer|Basic|Digest|Negotiate|AWS4-HMAC-SHA256)\s+[^\s"',;]+(?:,\s*\w+=[^\s"',]+)*/gi, `$1 ${gone}`],
  [/([?&;])(code|state)=[^\s&"';]+/gi, `$1$2=${gone}`],
  [/\b((?:set-)?cookie)(["']?\s{0,8}[:=]\s{0,8}["']?)[^\r\n"']+/gi, `$1$2${gone}`],
  [/:\/\/[^\s/:@"']*:[^\s/@"']+@/g, `://${gone}@`],
  // A flag or a word, and its value behind a space.
  [
    /(--[\w-]{0,64}(?:token|password|secret|key)|\bpassw(?:or)?d|\bpassphrase)[ \t]{1,8}(?![=:])[^\s"',;]+/gi,
    `$1 ${gone}`,
  ],
  // AWS's, GitHub's and their like say what they are.
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bxox[abps]-[\w-]{10,}|\bglpat-[\w-]{10,}/g, gone],
]

/** A name, and what stands between it and its value. */
const named = /([\w.-]{1,128})((?:\\*["'])?[ \t]{0,8}[:=][ \t]{0,8})/g
/** Long, of all kinds of characters, and no digest: as random bytes look when they are written. */
const randomLike = /(?<![\w+=/-])[\w+=/-]{32,}(?![\w+=/-])/g

export function textWithoutSecrets(text: string): string {
  let rest = text
    .split('\n')
    .map((line) => (line.length > lineCharactersMax ? `${line.slice(0, lineCharactersMax)}…` : line))
    .join('\n')
  for (const [pattern, into] of patterns) rest = rest.replace(pattern, into)
  return withoutNamed(rest).replace(randomLike, (run, at: number, whole: string) =>
    isRandom(run) && !isSpiffeId(whole, at) ? gone : run,
  )
}

/** Of what JSON can say. */
export function withoutSecrets(value: unknown): unknown {
  if (typeof value === 'string') return textWithoutSecrets(value)
  // A header as a pair.
  if (Array.isArray(value)) {
    const [name] = value as unknown[]
    const isPair = value.length === 2 && typeof name === 'string' && isSecretName(name)
    return isPair ? [name, gone] : value.map(withoutSecrets)
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      textWithoutSecrets(name),
      isSecretName(name) && typeof inner !== 'boolean' ? gone : withoutSecrets(inner),
    ]),
  )
}

function withoutNamed(text: string): string {
  let kept = ''
  let at = 0
  named.lastIndex = 0
  for (let found = named.exec(text); found !== null; found = named.exec(text)) {
    if (!isSecretName(found[1]!)) continue
    const from = named.lastIndex
    const to = endOfValue(text, from, found[2]!.includes(':'))
    if (to === from) continue
    kept += text.slice(at, from) + gone
    at = to
    named.lastIndex = to
  }
  return kept + text.slice(at)
}

/** Of a value that is quoted, a list, or goes as far as what it stands in lets it. */
function endOfValue(text: string, from: number, isBehindColon: boolean): number {
  const line = text.indexOf('\n', from)
  const lineEnd = line < 0 ? text.length : line
  const quote = /^(\\*)(["'])/.exec(text.slice(from, from + 8))
  if (quote !== null) {
    const [opening, escapes, mark] = quote
    for (let at = from + opening.length; at < lineEnd; at++) {
      if (text[at] === '\\' && escapes === '') at++
      else if (text.startsWith(opening, at) && text[at + escapes!.length] === mark) return at + opening.length
    }
    return lineEnd
  }
  const closing = text[from] === '[' ? ']' : text[from] === '{' ? '}' : undefined
  if (closing !== undefined) {
    const at = text.indexOf(closing, from)
    return at < 0 || at > lineEnd ? lineEnd : at + 1
  }
  const end = isBehindColon ? /[\n,;}\]]/g : /[\s,;}\]&"']/g
  end.lastIndex = from
  return end.exec(text)?.index ?? text.length
}

function isRandom(run: string): boolean {
  const parts = run.split('/').filter((part) => part !== '')
  if (parts.length === 1) return /[a-z]/.test(run) && /[A-Z]/.test(run) && /\d/.test(run)
  // A path has words.
  const mixed = parts.filter((part) => !/^(?:[A-Z]?[a-z_-]*[\d._-]*|[A-Z_-]+|[\d._-]+)$/.test(part))
  return mixed.length * 2 > parts.length
}

/** The run at `at` belongs to a SPIFFE id. */
function isSpiffeId(text: string, at: number): boolean {
  const before = text.slice(Math.max(0, at - 300), at + 2)
  return /spiffe:\/{0,2}[^\s"'<>,]*$/.test(before)
}
