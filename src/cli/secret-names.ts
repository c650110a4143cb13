/**
 * Which names say that a secret stands beside them: of fields, headers, settings, flags and variables.
 *
 * Rule: the words of a name decide, however they are joined: `clientSecret`, `CLIENT_SECRET` and `client-secrets` are one.
 */

const secretWords: ReadonlySet<string> = new Set([
  'password',
  'passwd',
  'passphrase',
  'pwd',
  'secret',
  'token',
  'authorization',
  'authorisation',
  'cookie',
  'credential',
  'signature',
  'key',
])
/** What says where, how long or how many, and not what. Of a public key nothing is secret. */
const harmlessLast: ReadonlySet<string> = new Set([
  ...[
    'file',
    'path',
    'hash',
    'digest',
    'ttl',
    'max',
    'count',
    'total',
    'bytes',
    'seconds',
    'ms',
    'expires',
    'id',
    'ids',
  ],
  ...['issuer', 'name', 'kind', 'space', 'spaces'],
])

export function isSecretName(name: string): boolean {
  const words = name
    .slice(-256)
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z\d]+/)
    .filter((word) => word !== '')
  if (harmlessLast.has(words.at(-1) ?? '')) return false
  if (words.includes('public') || words.includes('partition')) return false
  return words.some(
    (word) => secretWords.has(word) || secretWords.has(word.replace(/s$/, '')) || /^apikeys?$/.test(word),
  )
}
