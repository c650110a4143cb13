/**
 * A text or a document without what nobody else may have: keys, tokens, passwords, cookies.
 *
 * Rule: what may be a secret goes. SPIFFE ids, digests in hexadecimal and names stay, for without them a report says nothing.
 */
const gone = '[removed]'

/** Names of fields and headers whose values are secrets, whatever these look like. */
const secretName =
  /(?:pass(?:word|wd|phrase)|secret|token|authori[sz]ation|api[-_]?key|private[-_]?key|cookie|credential|signature|x-amz-security-token|session[-_]?key|^key$|[-_]key$|keyPem)$/i
/** Of those, what says where or how long, and not what. */
const harmlessName = /(?:file|hash|ttl|max|count|seconds|expires|id|issuer|path)$/i

const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*(?:PRIVATE KEY|SECRET)[A-Z0-9 ]*-----[\s\S]*?(?:-----END [A-Z0-9 ]*-----|$)/g, gone],
  // As it stands within JSON, or cut off at its beginning.
  [/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----(?:\\n|\n)?/g, '[certificate]'],
  [/\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}/g, gone],
  [/\b(Bearer|Basic|Digest|Negotiate|AWS4-HMAC-SHA256)\s+[^\s"',;]+(?:,\s*\w+=[^\s"',]+)*/gi, `$1 ${gone}`],
  [
    /([?&;]|\b)(X-Amz-(?:Signature|Security-Token|Credential)|access_token|id_token|refresh_token|code|client_secret|password)=[^\s&"';]+/gi,
    `$1$2=${gone}`,
  ],
  [
    /\b([\w-]*(?:password|passwd|passphrase|secret|token|api[-_]?key|authorization|cookie))(["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;}\]]+)/gi,
    `$1$2${gone}`,
  ],
  [/\b((?:set-)?cookie)(["']?\s*[:=]\s*["']?)[^\r\n"']+/gi, `$1$2${gone}`],
  [/:\/\/[^\s/:@"']+:[^\s/@"']+@/g, `://${gone}@`],
  // AWS's, GitHub's and their like say what they are.
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bxox[abps]-[\w-]{10,}/g, gone],
]

/** Long, of all kinds of characters, and no digest: as random bytes look when they are written. */
const randomLike = /(?<![\w+=-])[\w+=-]{32,}(?![\w+=-])/g

export function textWithoutSecrets(text: string): string {
  let rest = text
  for (const [pattern, into] of patterns) rest = rest.replace(pattern, into)
  return rest.replace(randomLike, (run) => (/[a-z]/.test(run) && /[A-Z]/.test(run) && /\d/.test(run) ? gone : run))
}

/** Of what JSON can say. */
export function withoutSecrets(value: unknown): unknown {
  if (typeof value === 'string') return textWithoutSecrets(value)
  if (Array.isArray(value)) return value.map(withoutSecrets)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      textWithoutSecrets(name),
      secretName.test(name) && !harmlessName.test(name) && typeof inner !== 'boolean' ? gone : withoutSecrets(inner),
    ]),
  )
}
