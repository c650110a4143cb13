/** Bodies of `application/x-www-form-urlencoded`, as RFC 6749 §3.2 wants them: no parameter stands twice, and one without a value counts as left out. */
import { OauthFault } from './oauth.ts'

const parametersMax = 32

/** @throws OauthFault; it quotes nothing of what was sent */
export function readForm(text: string): Readonly<Record<string, string>> {
  const given = new Map<string, string>()
  let count = 0
  for (const [name, value] of new URLSearchParams(text)) {
    if (++count > parametersMax) throw new OauthFault('invalid_request', 'too many parameters')
    if (given.has(name)) throw new OauthFault('invalid_request', 'a parameter stands twice')
    given.set(name, value)
  }
  return Object.fromEntries([...given].filter(([, value]) => value !== ''))
}
