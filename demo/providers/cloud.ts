/**
 * In the place of AWS: an issuer of tokens that say what those of `sts:GetWebIdentityToken` say, for one role of one account. AWS knows the job by
 * its signature; here it shows a secret. The key is made when it starts and is nowhere but in memory.
 */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { SignJWT } from 'jose'
import { awsClaimsName } from '../../src/identity/aws/web-identity.ts'
import { tokenPath, tokenSeconds } from './clients.ts'
import { isSecret } from './secrets.ts'

export const account = '123456789012'
export const role = `arn:aws:iam::${account}:role/forecast`

const algorithm = 'RS256'

export function cloudIssuer(issuer: string, secret: string): RequestListener {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const kid = randomBytes(6).toString('hex')
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }]
  const token = (audience: string): Promise<string> =>
    new SignJWT({ [awsClaimsName]: { aws_account: account, org_id: 'o-demonstration' } })
      .setProtectedHeader({ alg: algorithm, kid, typ: 'JWT' })
      .setIssuer(issuer)
      .setSubject(role)
      .setAudience(audience)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(`${tokenSeconds} s`)
      .sign(privateKey)
  return (request, response) => {
    const url = new URL(request.url ?? '/', issuer)
    if (url.pathname === '/.well-known/openid-configuration')
      return send(response, 200, { issuer, jwks_uri: `${issuer}/jwks` })
    if (url.pathname === '/jwks') return send(response, 200, { keys })
    if (url.pathname !== tokenPath || request.method !== 'POST') return send(response, 404, {})
    if (!isSecret(bearerOf(request), secret)) return send(response, 403, {})
    token(url.searchParams.get('audience') ?? '').then(
      (made) => send(response, 200, { token: made }),
      () => send(response, 500, {}),
    )
  }
}

function bearerOf({ headers }: IncomingMessage): string {
  return /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
}

function send(response: ServerResponse, status: number, answer: object): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(answer))
}
