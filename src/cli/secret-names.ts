/**
 * Which names say that a secret stands beside them: of fields, headers, settings, flags and variables.
 *
 * Rule: the words of a name decide, however they are joined: `clientSecret`, `CLIENT_SECRET` and `client-secrets` are one.
 */

const secretWords = wordsOf(
  'password passwd passphrase pwd secret token authorization authorisation cookie credential signature key apikey',
)
/** What says where, how long or how many, and not what. */
const harmlessLast = wordsOf(
  'file path hash digest ttl max count total bytes seconds ms expires id ids issuer name kind space spaces',
)
/** Of a key with such a word nothing is secret. */
const harmless = wordsOf('public partition')

export function isSecretName(name: string): boolean {
  const words = name
    .slice(-256)
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z\d]+/)
    .filter((word) => word !== '')
  if (harmlessLast.has(words.at(-1) ?? '')) return false
  if (words.some((word) => harmless.has(word))) return false
  return words.some((word) => secretWords.has(word) || secretWords.has(word.replace(/s$/, '')))
}

function wordsOf(text: string): ReadonlySet<string> {
  return new Set(text.split(' '))
}
