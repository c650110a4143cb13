/** An identity provider of the bench's own: keys that it makes, the key set and its address as OpenID Connect has them, and tokens by the thousand. */
import { createPrivateKey, type KeyObject, type webcrypto } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { makeKey, signed, type TestKey } from '../../src/identity/jwt/tokens.fixture.ts'

export const algorithms = ['RS256', 'ES256'] as const
export type Algorithm = (typeof algorithms)[number]

/** What it takes to make tokens in another process; private keys, so it goes by IPC and never by a command line. */
export interface Signer {
  readonly issuer: string
  readonly keys: Readonly<Record<Algorithm, { readonly kid: string; readonly jwk: webcrypto.JsonWebKey }>>
}

const audience = 'ringfence'
/** The tokens of a whole run are made by so many people, in turn. */
const peopleCount = 1_000

export class BenchProvider {
  readonly issuer: string
  readonly #server: Server
  readonly #keys: Readonly<Record<Algorithm, TestKey>>

  private constructor(server: Server, keys: Readonly<Record<Algorithm, TestKey>>) {
    this.#server = server
    this.#keys = keys
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const documents: Record<string, object> = {
      '/.well-known/openid-configuration': { issuer: this.issuer, jwks_uri: `${this.issuer}/jwks` },
      '/jwks': { keys: algorithms.map((algorithm) => ({ ...keys[algorithm].jwk, alg: algorithm })) },
    }
    server.on('request', ({ url = '' }, response) => {
      const document = documents[url]
      if (document === undefined) response.writeHead(404).end()
      else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(document))
    })
  }

  static async start(): Promise<BenchProvider> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new BenchProvider(server, { RS256: makeKey('rsa', 'RS256'), ES256: makeKey('ec', 'ES256') })
  }

  get signer(): Signer {
    const [rsa, ec] = [this.#keys.RS256, this.#keys.ES256]
    const of = ({ kid, privateKey }: TestKey) => ({ kid, jwk: privateKey.export({ format: 'jwk' }) })
    return { issuer: this.issuer, keys: { RS256: of(rsa), ES256: of(ec) } }
  }

  /** For the policy of a mesh. */
  get document(): string {
    // JSON is YAML.
    return JSON.stringify({
      apiVersion: 'ringfence.dev/v1alpha1',
      kind: 'IdentityProvider',
      metadata: { name: 'corp' },
      spec: {
        type: 'oidc',
        issuer: this.issuer,
        audiences: [audience],
        algorithms,
        allowPrivate: true,
        claims: { groups: 'groups' },
      },
    })
  }

  stop(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

/** Makes tokens of which no two are alike, an hour long. */
export function tokenMaker({ issuer, keys }: Signer, algorithm: Algorithm): () => string {
  const { kid, jwk } = keys[algorithm]
  const privateKey: KeyObject = createPrivateKey({ key: jwk, format: 'jwk' })
  const key = { kid, algorithm, privateKey } as TestKey
  let made = 0
  return () => {
    const iat = Math.floor(Date.now() / 1000)
    const jti = `${process.pid}-${algorithm}-${made}`
    const sub = `person-${made++ % peopleCount}`
    return signed(key, { iss: issuer, aud: audience, sub, iat, exp: iat + 3600, jti, groups: ['analysts', 'oncall'] })
  }
}
